"""SPF: the cases of the RFC 7208 test suite, and what a pass proves."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from greyd.dns import Answer, DnsError, Kind, Lookup
from greyd.dns.spf import MOST_OCTETS, SpfResult, check_host
from greyd.greylist import parse_address
from tests.names import FakeDns

SUITE = Path(__file__).parent / "corpus" / "rfc7208" / "rfc7208-tests.yml"


# The suite ----------------------------------------------------------------------------------------


class SuiteDns(Lookup):
    """Serves the suite's zones.

    A record of the old type SPF is one of type TXT where none is given, be it only ``NONE``.
    """

    def __init__(self, zones: dict[str, list[Any]]) -> None:
        self._zones = {name.lower().rstrip("."): entries for name, entries in zones.items()}

    async def query(self, name: bytes, kind: Kind, aliased: int = 0) -> Answer:
        entries = self._zones.get(name.decode("latin-1"))
        if entries is None:
            return Answer(exists=False)
        records = [each for each in entries if each != "TIMEOUT"]
        aliases = [each["CNAME"] for each in records if "CNAME" in each]
        if aliased > 8:
            raise DnsError("CNAME loop")
        if aliases:
            return await self.query(aliases[0].lower().rstrip(".").encode(), kind, aliased + 1)
        values = [each[kind.value] for each in records if kind.value in each]
        if kind is Kind.TXT and not values:
            values = [each["SPF"] for each in records if "SPF" in each]
        values = [each for each in values if each != "NONE"]
        if not values and "TIMEOUT" in entries:
            raise DnsError("timeout")
        return Answer(tuple(self._packed(kind, each) for each in values))

    @staticmethod
    def _packed(kind: Kind, value: Any) -> bytes:
        if kind in {Kind.A, Kind.AAAA}:
            return ip_address(value).packed
        if kind is Kind.MX:
            return str(value[1]).lower().rstrip(".").encode()
        if kind is Kind.TXT:
            return "".join([value] if isinstance(value, str) else value).encode()
        return str(value).lower().rstrip(".").encode()


def cases() -> list[Any]:
    found = []
    for part in yaml.safe_load_all(SUITE.read_text()):
        for name, case in part["tests"].items():
            found.append(pytest.param(case, part["zonedata"], id=name))
    return found


@pytest.mark.parametrize(("case", "zones"), cases())
def test_the_suite_s_case(case: dict[str, Any], zones: dict[str, list[Any]]) -> None:
    address = parse_address(case["host"].encode())
    assert address is not None
    sender, helo = case["mailfrom"].encode(), case["helo"].encode()
    found = asyncio.run(check_host(SuiteDns(zones), address, sender, helo))
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert found.result in wanted


def test_the_suite_is_whole() -> None:
    assert len(cases()) > 200


# What a pass proves -------------------------------------------------------------------------------

SENDER = b"alice@example.com"


def ask(record: str, client: str = "192.0.2.7", **others: str) -> SpfResult:
    """Evaluate a record of example.com's; others are those of ``NAME.example``."""
    dns = FakeDns()
    dns.add("example.com", Kind.TXT, f"v=spf1 {record}")
    dns.add("example.com", Kind.A, "192.0.2.7")
    dns.add("example.com", Kind.MX, "mx.example.com")
    dns.add("mx.example.com", Kind.A, "192.0.2.7")
    dns.add("7.2.0.192.in-addr.arpa", Kind.PTR, "mx.example.com")
    dns.add("alice.example", Kind.A, "192.0.2.7")
    dns.add("192.0.2.7.example", Kind.A, "192.0.2.7")
    dns.add("192.0.2.7.example", Kind.TXT, "v=spf1 ip4:192.0.2.7 -all")
    for name, text in others.items():
        dns.add(f"{name}.example", Kind.TXT, f"v=spf1 {text}")
    address = parse_address(client.encode())
    assert address is not None
    return asyncio.run(check_host(dns, address, SENDER, b"mail.example.com"))


@pytest.mark.parametrize(
    ("record", "term"),
    [
        ("ip4:192.0.2.0/24 -all", b"ip4:192.0.2.0/24"),
        ("ip4:192.0.0.0/8", b"ip4:192.0.0.0/8"),
        ("a -all", b"a"),
        ("mx/24 -all", b"mx/24"),
        ("a:%{d} -all", b"a:%{d}"),
        ("include:narrow.example -all", b"ip4:192.0.2.7"),
        ("redirect=narrow.example", b"ip4:192.0.2.7"),
    ],
)
def test_a_pass_of_some_addresses_proves_who_sends(record: str, term: bytes) -> None:
    found = ask(record, narrow="ip4:192.0.2.7 -all")
    assert found == ("pass", b"example.com", True, term)


@pytest.mark.parametrize(
    "record",
    [
        "+all", "all", "ip4:192.0.0.0/7 -all", "ip4:0.0.0.0/0", "a/7", "mx/1",
        "exists:example.com", "ptr:example.com", "ptr", "include:wide.example -all",
        "redirect=wide.example", "a:%{i}.example", "include:%{i}.example",
        "redirect=%{i}.example", "a:%{l}.example -all",
        "ip4:192.0.0.0/8 ip4:10.0.0.0/8 ip4:11.0.0.0/8", "include:sums.example ip4:192.0.0.0/8",
        "ptr:nosuch.example +all", "ip4:10.0.0.0/8 ip4:192.0.2.7 ip4:11.0.0.0/8 ip4:12.0.0.0/8",
    ],
)  # fmt: skip
def test_a_pass_of_nearly_everybody_proves_nothing(record: str) -> None:
    found = ask(record, wide="?ip4:10.0.0.0/8 +all", sums="ip4:10.0.0.0/8 ip4:11.0.0.0/8 -all")
    assert found.result == "pass"
    assert not found.proves


@pytest.mark.parametrize(
    ("record", "proves"),
    [("ip6:2001:db8::/32", True), ("ip6:2000::/15", False), ("ip6:2000::/16 ip6:2001::/16", False)],
)
def test_networks_of_ipv6_are_judged_too(record: str, *, proves: bool) -> None:
    found = ask(record, client="2001:db8::7")
    assert (found.result, found.proves) == ("pass", proves)


@pytest.mark.parametrize("record", ["-ip4:192.0.2.7", "~all", "?a", "bad:term", "ip4:192.0.2.7/33"])
def test_what_is_no_pass_proves_nothing(record: str) -> None:
    assert not ask(record).proves


def test_the_null_sender_is_the_helo_s_postmaster() -> None:
    dns = FakeDns()
    dns.add("mail.example.com", Kind.TXT, "v=spf1 exists:%{l}.%{o}.example -all")
    dns.add("postmaster.mail.example.com.example", Kind.A, "127.0.0.2")
    address = parse_address(b"192.0.2.7")
    assert address is not None
    found = asyncio.run(check_host(dns, address, b"", b"Mail.Example.com"))
    assert (found.result, found.domain) == ("pass", b"mail.example.com")


# Bounds -------------------------------------------------------------------------------------------


class Endless(Lookup):
    """Answers every question with as much as asks for more."""

    def __init__(self, text: bytes = b"") -> None:
        self.text = text
        self.asked = 0

    async def query(self, name: bytes, kind: Kind) -> Answer:  # noqa: ARG002 - all names are alike
        self.asked += 1
        assert self.asked < 1000
        if kind is Kind.TXT:
            return Answer((b"v=spf1 " + self.text,))
        if kind in {Kind.MX, Kind.PTR}:
            return Answer(tuple(b"h%d.example.com" % number for number in range(10)))
        return Answer((b"\0" * (4 if kind is Kind.A else 16),))


@pytest.mark.parametrize(
    "text",
    [
        b"mx " * 2000, b"ptr:%{p}.example.com " * 300, b"include:%{p}.example.com " * 12,
        b"a:%{p}.example.com mx:%{p}.x.com " * 20 + b"redirect=%{d}", b"exists:%{s}.com " * 99,
    ],
)  # fmt: skip
def test_no_record_makes_it_ask_more_than_some_hundred_questions(text: bytes) -> None:
    dns = Endless(text)
    address = parse_address(b"192.0.2.7")
    assert address is not None
    found = asyncio.run(check_host(dns, address, SENDER, b"mail.example.com"))
    assert found.result in {"permerror", "fail", "neutral", "pass"}
    assert dns.asked <= 1 + 11 * 10 + 12


def test_a_record_that_is_too_long_is_an_error() -> None:
    text = "ip4:192.0.2.7 " * (MOST_OCTETS // 14)
    assert ask(text).result == "permerror"
    assert ask(text[:-70]).result == "pass"


octets = st.binary(max_size=80)
words = st.lists(
    st.sampled_from(
        ["a", "mx", "ptr", "all", "ip4:", "ip6:", "include:", "exists:", "redirect=", "exp=",
         "%{i}", "%{d9r-}", "%{S}", "%%", "%", "/24", "//64", "192.0.2.7", "::1", ".",
         "example.com", " ", "-"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(st.one_of(words.map(str.encode), octets), octets, octets)
def test_whatever_comes_there_is_a_result(text: bytes, sender: bytes, helo: bytes) -> None:
    address = parse_address(b"2001:db8::7")
    assert address is not None
    found = asyncio.run(check_host(Endless(text), address, sender, helo))
    assert found.result in {
        "pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"
    }  # fmt: skip
