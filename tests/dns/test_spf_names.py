"""SPF for names that the DNS is not asked for: no query has failed, so none is a temperror."""

from __future__ import annotations

import asyncio

import pytest

from greyd.config.vocabulary import Endpoint
from greyd.dns.resolver import Resolver
from greyd.dns.spam_signals import sender_no_mx
from greyd.dns.spf.check_host import SpfResult, check_host
from greyd.rules.request import Request
from tests.dns_server import SERVFAIL, Zone, dns_server
from tests.fake_dns import address_of

ZONE: Zone = {
    "passes.example": ['60 TXT "v=spf1 exists:%{l}.x.example exists:%{h}.x.example ip4:192.0.2.7"'],
    "fails.example": ['60 TXT "v=spf1 exists:%{l}.x.example exists:%{h}.x.example -all"'],
    "user.x.example": ["60 A 127.0.0.2"],
    "include.example": ['60 TXT "v=spf1 include:%{l}.x.example -all"'],
    "redirect.example": ['60 TXT "v=spf1 redirect=%{s}"'],
    "literal.example": ['60 TXT "v=spf1 a:a+b.example mx:c!d.example ip4:192.0.2.7 -all"'],
    "mx.example": ['60 TXT "v=spf1 mx ip4:192.0.2.7 -all"', "60 MX 10 a+b.example."],
    "ptr.example": ['60 TXT "v=spf1 ptr exists:%{p}.x.example ip4:192.0.2.7 -all"'],
    "7.2.0.192.in-addr.arpa": ["60 PTR a+b.example.", "60 PTR ptr\\@c.example."],
    "gone.example": SERVFAIL,
    "gone.x.example": SERVFAIL,
}


def check_all(*requests: tuple[bytes, bytes]) -> list[SpfResult]:
    """Evaluate senders and HELO names for 192.0.2.7 with a real resolver."""

    async def run(port: int) -> list[SpfResult]:
        resolver = Resolver([Endpoint("127.0.0.1", port)])
        client = address_of("192.0.2.7")
        try:
            return [await check_host(resolver, client, *each) for each in requests]
        finally:
            await resolver.close()

    with dns_server(ZONE) as server:
        return asyncio.run(run(int(server.address.rpartition(":")[2])))


UNUSUAL = [
    b"bounce+bob=example.org", b"prvs=1234=bob", b"o'neil", b"bob&co", b"SRS0=a=b=c.d=e", b'"a b"',
    b"a,b", b"a!b%c", b"{bob}", b"bob#1", b"b\xc3\xbccher", b"\xff", b"a\x00b", b"a..b", b".a",
    b"x" * 64, b"x" * 600, b"a\\.b", b"a@b", b"~", b"*", b"a/b", b"-", b"_",
]  # fmt: skip


@pytest.mark.parametrize(
    "helo", [b"mail.example.com", b"[192.0.2.7]", b"", b"a b", b"\xc3\xa9.com"]
)
def test_a_term_whose_name_cannot_be_queried_does_not_match(helo: bytes) -> None:
    for domain, result in {
        b"passes.example": "pass", b"fails.example": "fail", b"literal.example": "pass",
        b"mx.example": "pass", b"ptr.example": "pass",
        # An include or a redirect to a name without a record (RFC 7208, 5.2 and 6.1).
        b"include.example": "permerror", b"redirect.example": "permerror",
    }.items():  # fmt: skip
        found = check_all(*((local + b"@" + domain, helo) for local in UNUSUAL))
        assert {each.result for each in found} == {result}


def test_a_term_whose_name_can_be_queried_matches() -> None:
    found = check_all((b"user@fails.example", b""), (b"user@passes.example", b"user"))
    assert [each.result for each in found] == ["pass", "pass"]
    assert not any(each.proves for each in found)


@pytest.mark.parametrize(
    "domain",
    [
        b"[192.0.2.7]", b"[IPv6:2001:db8::7]", b"[", b"localhost", b"com", b"", b".", b"..",
        b"192.0.2.7", b"exam!ple.com", b"a b.example", b"a+b.example", b"a..example", b".example",
        b"x" * 64 + b".example", b"x." * 127 + b"example", b"a\\.b.example", b"a\x00b.example",
        b"\xff.example", b"a,b.example", b"<example.com>", b"example.com>", b"*.example",
        b"_a.example", b"-a.example", b"a-.example", b"a/b.example", b"passes.example..",
        b"a.onion", b"a.localhost", b"a.local", b"a.invalid", b"xn--.example", b"xn--a.example",
    ],
)  # fmt: skip
def test_a_domain_without_a_record_has_none_be_it_valid_or_not(domain: bytes) -> None:
    found = check_all((b"alice@" + domain, b"mail.example.com"), (b"", domain))
    assert [each.result for each in found] == ["none", "none"]


def test_a_query_that_failed_is_a_temperror() -> None:
    found = check_all(
        (b"alice@gone.example", b""), (b"", b"gone.example"), (b"gone@fails.example", b"")
    )
    assert {each.result for each in found} == {"temperror"}


def test_a_sender_s_domain_that_cannot_be_queried_accepts_no_mail() -> None:
    senders = [b"a@x+y.example", b"a@x!y.example", b"a@\xff.example", b"a@x..example", b"a@x y.com"]

    async def run(port: int) -> list[bool]:
        resolver = Resolver([Endpoint("127.0.0.1", port)])
        try:
            return [await sender_no_mx(resolver, Request(sender=each)) for each in senders]
        finally:
            await resolver.close()

    with dns_server(ZONE) as server:
        assert all(asyncio.run(run(server.port)))
        assert not server.asked
