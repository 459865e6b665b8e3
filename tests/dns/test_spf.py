"""SPF: the cases of the RFC 7208 test suite, and what a pass proves."""

from __future__ import annotations

import asyncio
import itertools
import sys
import tracemalloc
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from greyd.dns.lookup import DnsAnswer, DnsError, Lookup, RecordType
from greyd.dns.spf.check_host import SpfResult, check_host
from greyd.dns.spf.limits import MAX_DNS_TERMS, MAX_QUERIES, MAX_RECORD_BYTES
from greyd.dns.spf.record_cache import MAX_CACHED_BYTES
from tests.fake_dns import FakeDns, address_of

SUITE = Path(__file__).parents[1] / "corpus" / "rfc7208" / "rfc7208-tests.yml"


# The suite ----------------------------------------------------------------------------------------


class SuiteDns(Lookup):
    """Serves the suite's zones.

    A record of the old type SPF is one of type TXT where none is given, be it only ``NONE``.
    """

    def __init__(self, zones: dict[str, list[Any]]) -> None:
        self._zones = {name.lower().rstrip("."): entries for name, entries in zones.items()}

    async def query(self, name: bytes, kind: RecordType, aliased: int = 0) -> DnsAnswer:
        entries = self._zones.get(name.decode("latin-1"))
        if entries is None:
            return DnsAnswer(exists=False)
        records = [each for each in entries if each != "TIMEOUT"]
        aliases = [each["CNAME"] for each in records if "CNAME" in each]
        if aliased > 8:
            raise DnsError("CNAME loop")
        if aliases:
            return await self.query(aliases[0].lower().rstrip(".").encode(), kind, aliased + 1)
        values = [each[kind.value] for each in records if kind.value in each]
        if kind is RecordType.TXT and not values:
            values = [each["SPF"] for each in records if "SPF" in each]
        values = [each for each in values if each != "NONE"]
        if not values and "TIMEOUT" in entries:
            raise DnsError("timeout")
        return DnsAnswer(tuple(self._packed(kind, each) for each in values))

    @staticmethod
    def _packed(kind: RecordType, value: Any) -> bytes:
        if kind in {RecordType.A, RecordType.AAAA}:
            return ip_address(value).packed
        if kind is RecordType.MX:
            return str(value[1]).lower().rstrip(".").encode()
        if kind is RecordType.TXT:
            return "".join([value] if isinstance(value, str) else value).encode()
        return str(value).lower().rstrip(".").encode()


def cases() -> list[Any]:
    found = []
    for part in yaml.safe_load_all(SUITE.read_text()):
        for name, case in part["tests"].items():
            found.append(pytest.param(case, part["zonedata"], id=name))
    return found


@pytest.mark.parametrize(("case", "zones"), cases())
def test_a_case_of_the_rfc_s_test_suite(case: dict[str, Any], zones: dict[str, list[Any]]) -> None:
    address = address_of(case["host"])
    sender, helo = case["mailfrom"].encode(), case["helo"].encode()
    found = asyncio.run(check_host(SuiteDns(zones), address, sender, helo))
    wanted = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert found.result in wanted


def test_the_test_suite_is_complete() -> None:
    assert len(cases()) == 203


# Grammar, and what the suite leaves open ----------------------------------------------------------

LONG_NUMBER = "1" * 5000


@pytest.mark.parametrize(
    "record",
    [
        "a/example.com", "mx/example.com", "a/032", "a//", "a:example.com/24/64", "ip4:192.0.2.7/",
        "x=%{c}", "x=%{r}", "x=%{t}", "x=%{d0}", "x=%{d000}", "exp=%{c}.com", "a:example.com%{d",
        "a:%{d}com", "a:%{d}.c_m", "a:%{d}.com-", "a:-", "ptr:", "-exp=example.com", "+x=y",
        "ip6:::ffff:192.0.2.7/129", "ip6:fe80::1%eth0", "a:x." + "a" * 8000 + "!",
    ],
)  # fmt: skip
def test_an_error_after_a_term_that_matches_is_a_permerror_too(
    record: str,
) -> None:
    assert ask(f"ip4:192.0.2.7 {record}").result == "permerror"


@pytest.mark.parametrize(
    "record",
    [
        "x=", "all=", "all.x=%{i}", f"x=%{{d{LONG_NUMBER}}}", "A:%{d001}.com", "a:%{D}",
        "mx:%{d}.c-1/0//0", "a:.com", "a:%%", "exists:%{l1r+-}.%{h}", "redirect=%{p}", "exp=%{s}",
        "a:x.com./9", " ",
    ],
)  # fmt: skip
def test_what_the_grammar_allows_is_valid(record: str) -> None:
    assert ask(f"ip4:192.0.2.7 {record}").result == "pass"


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("%{d2}", "example.com"), ("%{d1}.x.com", "com.x.com"), ("%{d127r}", "com.example"),
        (f"%{{d{LONG_NUMBER}}}", "example.com"), ("%{d0001}.x.com", "com.x.com"),
        ("%{s}", "alice@example.com"), ("%{L}%{S}.x.com", "alicealice%40example.com.x.com"),
        ("%{o}.%{i}.%{v}", "example.com.192.0.2.7.in-addr"), ("%{h2r.}", "example.mail"),
        ("%{o1re}.x.com", None), ("%{oe}.com", None), ("%{o_}.x.com", "example.com.x.com"),
        ("%%%_%-.Example.COM.", "% %20.example.com"), ("%{p}", "mx.example.com"),
        ("%{l}." * 127 + "com", "alice." * 41 + "com"),
        ("%{o-}.%{L1r.-}.com", "example.com.alice.com"),
        ("xy.z%{v}." + "%{l}." * 39 + "com", "xy.zin-addr." + "alice." * 39 + "com"),
        ("xyz" + ".%{l}" * 41 + ".com", "xyz" + ".alice" * 41 + ".com"),
        ("a" * 260 + ".%{d}.com", "example.com.com"),
        ("a." * 4000 + "com", "a." * 125 + "com"), ("%{d}." + "a" * 253 + ".com", "com"),
    ],
)  # fmt: skip
def test_macros_are_expanded(spec: str, name: str | None) -> None:
    dns = FakeDns()
    dns.add("example.com", RecordType.TXT, f"v=spf1 exists:{spec} -all")
    dns.add("7.2.0.192.in-addr.arpa", RecordType.PTR, "other.example", "mx.example.com")
    dns.add("mx.example.com", RecordType.A, "192.0.2.7")
    found = check(dns, helo=b"Mail.Example.com")
    if name is None:
        assert found.result == "permerror"
    else:
        assert dns.asked[-1] == (name.encode(), RecordType.A)


def check(dns: Lookup, sender: bytes = b"alice@example.com", **others: Any) -> SpfResult:
    """Evaluate a request of 192.0.2.7, or of another ``client``."""
    address = address_of(others.get("client", "192.0.2.7"))
    helo = others.get("helo", b"mail.example.com")
    return asyncio.run(check_host(dns, address, sender, helo))


@pytest.mark.parametrize(
    "sender", [b"example.com", b"<>", b"alice@", b"@", b"alice@[192.0.2.7]x", b"alice@com", b"\xff"]
)
def test_the_result_for_a_sender_without_a_domain_is_none(sender: bytes) -> None:
    dns = FakeDns()
    dns.add("example.com", RecordType.TXT, "v=spf1 +all")
    assert check(dns, sender).result == "none"


def test_a_dot_at_the_end_of_the_sender_s_domain_is_not_part_of_it() -> None:
    dns = FakeDns()
    dns.add("example.com", RecordType.TXT, "v=spf1 a:%{d}.%{o}.example -all")
    dns.add("example.com.example.com.example", RecordType.A, "192.0.2.7")
    found = check(dns, b"alice@Example.com.")
    assert (found.result, found.domain, found.proves) == ("pass", b"example.com", True)


@pytest.mark.parametrize(
    "sender", ["älice@bücher.example", "älice@BÜCHER。example.", "älice@xn--bcher-kva.example"]
)
def test_an_internationalised_domain_is_evaluated_in_its_ascii_form(sender: str) -> None:
    dns = FakeDns()
    dns.add("xn--bcher-kva.example", RecordType.TXT, "v=spf1 a:%{o}.%{d1r}.example -all")
    dns.add("xn--bcher-kva.example.xn--bcher-kva.example", RecordType.A, "192.0.2.7")
    for found in (check(dns, sender.encode()), check(dns, b"", helo=sender.encode()[7:])):
        assert (found.result, found.domain) == ("pass", b"xn--bcher-kva.example")
        assert found.proves


@pytest.mark.parametrize("domain", ["i❤.example", "\N{PILE OF POO}.la", "-ü.example", "ü" * 64])
def test_an_invalid_internationalised_domain_has_no_record(domain: str) -> None:
    dns = FakeDns()
    assert check(dns, f"alice@{domain}".encode()).result == "none"


def test_a_failed_query_is_a_temperror_except_for_the_client_s_names() -> None:
    dns = FakeDns()
    dns.add("example.com", RecordType.TXT, "v=spf1 ptr a:gone.example.com -all")
    dns.fail("7.2.0.192.in-addr.arpa", RecordType.PTR)
    dns.add("gone.example.com", RecordType.A, "192.0.2.8")
    assert check(dns).result == "fail"
    dns.fail("gone.example.com", RecordType.A)
    assert check(dns).result == "temperror"


# What a pass proves -------------------------------------------------------------------------------


def ask(record: str, client: str = "192.0.2.7", **others: str) -> SpfResult:
    """Evaluate a record of example.com's; others are those of ``NAME.example``."""
    dns = FakeDns()
    dns.add("example.com", RecordType.TXT, f"v=spf1 {record}")
    dns.add("example.com", RecordType.A, "192.0.2.7")
    dns.add("example.com", RecordType.MX, "mx.example.com")
    dns.add("mx.example.com", RecordType.A, "192.0.2.7")
    dns.add("7.2.0.192.in-addr.arpa", RecordType.PTR, "mx.example.com")
    dns.add("alice.example", RecordType.A, "192.0.2.7")
    dns.add("192.0.2.7.example", RecordType.A, "192.0.2.7")
    dns.add("192.0.2.7.example", RecordType.TXT, "v=spf1 ip4:192.0.2.7 -all")
    dns.add("mail.example.com", RecordType.MX, "mx.example.com")
    dns.add("alice@example.com.example", RecordType.A, "192.0.2.7")
    dns.add("mx.example.com", RecordType.TXT, "v=spf1 ip4:192.0.2.7 -all")
    dns.add("many.example", RecordType.MX, *(f"h{number}.example" for number in range(3)))
    for number in range(3):
        dns.add(f"h{number}.example", RecordType.A, f"{190 + number}.0.0.1")
    for name, text in others.items():
        dns.add(f"{name}.example", RecordType.TXT, f"v=spf1 {text}")
    return check(dns, client=client)


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
def test_a_pass_of_a_few_addresses_proves_the_identity(record: str, term: bytes) -> None:
    found = ask(record, narrow="ip4:192.0.2.7 -all")
    assert found == SpfResult("pass", b"example.com", proves=True, term=term)


@pytest.mark.parametrize(
    "record",
    [
        "+all", "all", "ip4:192.0.0.0/7 -all", "ip4:0.0.0.0/0", "a/7", "mx/1",
        "exists:example.com", "ptr:example.com", "ptr", "include:wide.example -all",
        "redirect=wide.example", "a:%{i}.example", "include:%{i}.example",
        "redirect=%{i}.example", "a:%{l}.example -all",
        "ip4:192.0.0.0/8 ip4:10.0.0.0/8 ip4:11.0.0.0/8", "include:sums.example ip4:192.0.0.0/8",
        "mx:%{h}", "a:%{s}.example", "include:%{p}", "mx:many.example/8",
        "ip6:2000::/16 ip4:192.0.2.0/3",
        "ptr:nosuch.example +all", "ip4:10.0.0.0/8 ip4:192.0.2.7 ip4:11.0.0.0/8 ip4:12.0.0.0/8",
    ],
)  # fmt: skip
def test_a_pass_of_nearly_all_addresses_proves_nothing(record: str) -> None:
    found = ask(record, wide="?ip4:10.0.0.0/8 +all", sums="ip4:10.0.0.0/8 ip4:11.0.0.0/8 -all")
    assert found.result == "pass"
    assert not found.proves


@pytest.mark.parametrize(
    ("record", "proves"),
    [
        ("ip6:2001:db8::/32", True), ("ip6:2001::/16", True), ("ip6:2000::/15", False),
        ("ip6:2000::/16 ip6:2001::/16", False), ("ip4:0.0.0.0/0 ip6:2001:db8::7", True),
    ],
)  # fmt: skip
def test_ipv4_and_ipv6_networks_are_counted_separately(record: str, *, proves: bool) -> None:
    found = ask(record, client="2001:db8::7")
    assert (found.result, found.proves) == ("pass", proves)


@pytest.mark.parametrize("record", ["-ip4:192.0.2.7", "~all", "?a", "bad:term", "ip4:192.0.2.7/33"])
def test_a_result_other_than_pass_proves_nothing(record: str) -> None:
    assert not ask(record).proves


def test_the_null_sender_stands_for_the_postmaster_of_the_helo_name() -> None:
    dns = FakeDns()
    dns.add("mail.example.com", RecordType.TXT, "v=spf1 exists:%{l}.%{o}.example -all")
    dns.add("postmaster.mail.example.com.example", RecordType.A, "127.0.0.2")
    found = check(dns, b"", helo=b"Mail.Example.com.")
    assert (found.result, found.domain) == ("pass", b"mail.example.com")


# Bounds -------------------------------------------------------------------------------------------


class Endless(Lookup):
    """Answers every question with as much as asks for more."""

    def __init__(self, text: bytes = b"") -> None:
        self.text = text
        self.asked = 0

    async def query(self, name: bytes, kind: RecordType) -> DnsAnswer:
        self.asked += 1
        assert name == name.lower()
        assert len(name) <= 253
        if kind is RecordType.TXT:
            return DnsAnswer((b"v=spf1 " + self.text,))
        if kind in {RecordType.MX, RecordType.PTR}:
            return DnsAnswer(tuple(b"h%d.example.com" % number for number in range(10)))
        return DnsAnswer((b"\0" * (4 if kind is RecordType.A else 16),))


@pytest.mark.parametrize(
    "text",
    [
        b"mx " * 2000, b"ptr:%{p}.example.com " * 300, b"include:%{p}.example.com " * 12,
        b"a:%{p}.example.com mx:%{p}.x.com " * 20 + b"redirect=%{d}", b"exists:%{s}.com " * 99,
    ],
)  # fmt: skip
def test_no_record_causes_more_queries_than_the_limit(text: bytes) -> None:
    dns = Endless(text)
    assert check(dns).result in {"permerror", "fail", "neutral", "pass"}
    assert dns.asked <= MAX_QUERIES


def test_ten_mail_exchangers_for_each_of_ten_terms_reach_the_limit() -> None:
    dns = Endless(b"mx " * MAX_DNS_TERMS)
    assert check(dns).result == "neutral"
    assert dns.asked == MAX_QUERIES


@pytest.mark.parametrize(
    ("terms", "result"),
    [
        ("a:no.example a:nor.example", "pass"),
        ("a:no.example exists:nor.example ptr", "permerror"),
        # The three hosts of the MX have no address of IPv6: one term that found nothing.
        ("mx:many.example a:no.example", "pass"), ("mx:many.example a:no.example a", "permerror"),
        ("ptr:%{p}.example", "pass"), ("a:%{p}.example a mx:no.example", "permerror"),
    ],
)  # fmt: skip
def test_two_terms_may_find_nothing(terms: str, result: str) -> None:
    found = ask(f"{terms} ip6:2001:db8::7 -all", client="2001:db8::7")
    assert found.result == result


@pytest.mark.parametrize(
    ("terms", "result"),
    [
        ("mx:far.example " * 10, "pass"), ("mx:far.example " * 11, "permerror"),
        ("a:%{p} " + "mx:far.example " * 8, "pass"),
        ("a:%{p} " + "mx:far.example " * 9, "permerror"),
        ("ptr:x.com a:%{p} " + "mx:far.example " * 8, "pass"),
    ],
)  # fmt: skip
def test_ten_terms_may_query_and_the_client_s_name_counts_once(terms: str, result: str) -> None:
    dns = FakeDns()
    dns.add("example.com", RecordType.TXT, f"v=spf1 {terms} ip4:192.0.2.7 -all")
    dns.add("far.example", RecordType.MX, "h.example")
    dns.add("h.example", RecordType.A, "192.0.2.8")
    dns.add("7.2.0.192.in-addr.arpa", RecordType.PTR, "h.example")
    dns.add("unknown", RecordType.A, "192.0.2.8")
    assert check(dns).result == result


def test_an_eleventh_mail_exchanger_is_an_error_and_an_eleventh_name_is_ignored() -> None:
    dns = FakeDns()
    names = [f"h{number}.example.com" for number in range(11)]
    dns.add("example.com", RecordType.TXT, "v=spf1 ptr -all")
    dns.add("7.2.0.192.in-addr.arpa", RecordType.PTR, *names)
    dns.add("h10.example.com", RecordType.A, "192.0.2.7")
    assert check(dns).result == "fail"
    dns.add("h9.example.com", RecordType.A, "192.0.2.7")
    assert check(dns).result == "pass"
    dns.add("example.com", RecordType.TXT, "v=spf1 mx -all")
    dns.add("example.com", RecordType.MX, *names)
    assert check(dns).result == "permerror"


MANY_DOTS = b"." * 498
"""A local part of empty parts: its macros expand to nothing, and take long to take apart."""


def filled(unit: bytes, tail: bytes = b"redirect=%{o}") -> bytes:
    """Return a record of as many units as it has room for."""
    return unit * ((MAX_RECORD_BYTES - 40 - len(tail)) // len(unit)) + tail


def in_one_name(*units: bytes) -> bytes:
    """Return a record with as many macros in a name as may be, which leads back to itself."""
    return b"redirect=" + b"".join(itertools.islice(itertools.cycle(units), 126)) + b"%{o}"


DELIMITERS = [
    b"%{L1r" + bytes(each) + b"}"
    for count in range(1, 8)
    for each in itertools.combinations(b".-+,/_=", count)
]

WORST = {
    "macros of nothing": filled(b"%{l1r}", b"").join([b"redirect=", b"%{o}"]),
    "HELO's macros of nothing": filled(b"%{h1}", b"").join([b"redirect=", b"%{o}"]),
    "percent signs": filled(b"%%", b"").join([b"redirect=", b"%{o}"]),
    "as many macros as may be": in_one_name(b"%{l1r}"),
    "escaped macros": in_one_name(b"%{L1r}", b"%{H1}", b"%{S499r}"),
    "delimiters": in_one_name(*DELIMITERS),
    "macros of ten names": b" ".join([b"exists:" + b"%{L1r}" * 12 + b"x.example.com"] * 10),
    "networks": filled(b"ip4:1.2.3.4 "),
    "networks of IPv6": filled(b"ip6:2001:db8:1:2:3:4:5:6/128 "),
    "short networks": filled(b"-ip6::: "),
    "modifiers": filled(b"a= "), "longer modifiers": filled(b"abcd=x "),
    "macros in modifiers": filled(b"a=%%%%%%%%%%%%%%%% "), "blanks": filled(b" "),
    "a long name": b"a:" + b"x" * 7900 + b".com redirect=%{o}",
    "many slashes": b"a:" + b"/" * 7900, "many addresses": b"a/24//64 " * 10 + b"redirect=%{o}",
    "exchangers with many addresses": b"mx/24//64 " * 10 + b"redirect=%{o}",
    "exchangers with nine addresses": b"mx/24//64 " * 10 + b"redirect=%{o}",
    "names of the client": b"ptr:%{p}.example.com " * 10, "itself": b"include:%{o} " * 12,
    "of everything": b"ip4:1.2.3.4 " * 150 + b"a= " * 30 + b"x=%{L1r}%{H1} " * 6 + b"redirect=%{o}",
}  # fmt: skip


class Crowded(Endless):
    """Has as many addresses for each name as the resolver takes; other TXT records too."""

    def __init__(self, text: bytes, *, is_always_new: bool = False, addresses: int = 256) -> None:
        super().__init__(text)
        self._is_always_new = is_always_new
        self._addresses = addresses

    async def query(self, name: bytes, kind: RecordType) -> DnsAnswer:
        answer = await super().query(name, kind)
        if kind is RecordType.TXT:
            new = b" n%d=" % self.asked if self._is_always_new else b""
            return DnsAnswer((answer.values[0] + new, *[b"x" * 30] * 255))
        many = kind in {RecordType.A, RecordType.AAAA}
        return DnsAnswer(answer.values * self._addresses) if many else answer


@dataclass
class Work:
    """What an evaluation has done, in lines and calls: seconds depend on who else is busy."""

    steps: int = 0
    longest_turn: int = 0
    _since: int = 0

    def count(self, _frame: object, event: str, _argument: object) -> Any:
        self.steps += event in {"line", "c_call"}
        return self.count

    async def watch(self) -> None:
        """Note how much is done without letting others work."""
        while True:
            self.longest_turn = max(self.longest_turn, self.steps - self._since)
            self._since = self.steps
            await asyncio.sleep(0)


async def _measured(dns: Lookup, sender: bytes, helo: bytes, client: str) -> tuple[SpfResult, Work]:
    work = Work()
    watching = asyncio.ensure_future(work.watch())
    await asyncio.sleep(0)
    before = sys.gettrace()
    sys.settrace(work.count)
    sys.setprofile(work.count)
    try:
        found = await check_host(dns, address_of(client), sender, helo)
        await asyncio.sleep(0)
    finally:
        sys.setprofile(None)
        sys.settrace(before)
    watching.cancel()
    return found, work


MAX_STEPS = 130_000
"""Some 10 ms; 4 connections keep others waiting for less than half of 100 ms."""
MAX_STEPS_OF_TURN = 70_000
MAX_STEPS_FROM_CACHE = 20_000
"""Of a record that has been parsed before."""


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("is_always_new", [False, True], ids=["one record", "new records"])
@pytest.mark.parametrize("name", WORST)
def test_no_record_keeps_a_processor_busy(name: str, *, is_always_new: bool, client: str) -> None:
    dns = Crowded(WORST[name], is_always_new=is_always_new, addresses=9 if "nine" in name else 256)
    for most in (MAX_STEPS, MAX_STEPS if is_always_new else MAX_STEPS_FROM_CACHE):
        sender = MANY_DOTS + b"@x.example.com"
        found, work = asyncio.run(_measured(dns, sender, b"x" + b"." * 500, client))
        assert not found.proves
        assert work.steps < most
        assert work.longest_turn < MAX_STEPS_OF_TURN


def test_other_requests_are_answered_before_each_further_record() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def run() -> SpfResult:
        working = asyncio.ensure_future(others())
        found = await check_host(
            Endless(b"redirect=%{o}"), address_of("192.0.2.7"), b"a@x.example.com", b""
        )
        working.cancel()
        return found

    assert asyncio.run(run()).result == "permerror"
    assert turns >= MAX_DNS_TERMS


@pytest.mark.parametrize(
    ("record", "others", "result"),
    [
        # Bytes, terms and macros of all records together; the last of them may still be there.
        ("ip4:1.2.3.4 " * 600, 2, "pass"), ("ip4:1.2.3.4 " * 600, 3, "permerror"),
        ("x=" + "y" * 8000, 3, "pass"), ("x=" + "y" * 8000, 5, "permerror"),
        ("x=%{i} " * 127, 0, "pass"), ("x=%{i} " * 129, 0, "permerror"),
        ("x=%%" * 64, 1, "pass"), ("x=%%" * 64, 2, "permerror"),
        ("x= " * 1990, 0, "pass"), ("x= " * 2000, 0, "permerror"),
        # In a record that is no longer needed nothing counts.
        ("ip4:192.0.2.7 redirect=n0.example", 9, "pass"),
    ],
)  # fmt: skip
def test_limits_hold_for_all_records_together(record: str, others: int, result: str) -> None:
    dns = FakeDns()
    includes = " ".join(f"include:n{number}.example" for number in range(others))
    dns.add("example.com", RecordType.TXT, f"v=spf1 {record} {includes} ip4:192.0.2.7 -all")
    for number in range(others):
        dns.add(f"n{number}.example", RecordType.TXT, f"v=spf1 {record} -all")
    assert check(dns).result == result


@pytest.mark.parametrize(
    ("addresses", "result"), [(111, "pass"), (112, "permerror"), (256, "permerror")]
)
@pytest.mark.parametrize("term", ["a:h{}.example", "a:h{}.example/25"])
def test_the_number_of_addresses_is_limited(term: str, addresses: int, result: str) -> None:
    dns = FakeDns()
    terms = " ".join(term.format(number) for number in range(9))
    dns.add("example.com", RecordType.TXT, f"v=spf1 {terms} ip4:192.0.2.7 -all")
    for number in range(9):
        many = [f"10.{number}.{each}.1" for each in range(addresses)]
        dns.add(f"h{number}.example", RecordType.A, *many)
    assert check(dns).result == result


def test_a_record_is_parsed_once_whether_valid_or_invalid() -> None:
    for text in (filled(b"ip4:1.2.3.4 ", b""), filled(b"ip6:::1 ", b"ip4:nonsense")):
        dns = Endless(text)
        steps = []
        for _ in range(2):
            sender = b"alice@x.example.com"
            _, work = asyncio.run(_measured(dns, sender, b"x.example.com", "192.0.2.7"))
            steps.append(work.steps)
        assert steps[1] < steps[0] / 2


def test_the_size_of_cached_records_is_bounded() -> None:
    tracemalloc.start()
    try:
        for number in range(120):
            check(Endless(b"n%d= " % number + filled(b"ip4:1.2.3.4 ", b"")))
            check(Endless(b"n%d= " % number + filled(b"x=%{i} ", b"")))
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # All of them would take some 25 MB.
    assert kept_bytes < 2 * MAX_CACHED_BYTES


def test_a_name_is_expanded_no_further_than_needed() -> None:
    text = b"a:" + b"%{l}" * 127 + b".com"
    tracemalloc.start()
    try:
        check(Endless(text), b"a" * 500 + b"@example.com")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Names as written out would be 64 KB, put together anew for each macro.
    assert peak_bytes < 200_000


def test_the_text_of_a_term_is_shortened() -> None:
    dns = FakeDns()
    dns.add("example.com", RecordType.TXT, "v=spf1 a:" + "%{h}" * 127 + "example.com")
    dns.add("example.com", RecordType.A, "192.0.2.7")
    assert check(dns, helo=b"").term == b"a:" + b"%{h}" * 63 + b"%"


def test_a_record_that_is_too_long_is_an_error() -> None:
    text = "ip4:192.0.2.7 " * (MAX_RECORD_BYTES // 14)
    assert ask(text).result == "permerror"
    assert ask(text[:-70]).result == "pass"


data = st.binary(max_size=80)
words = st.lists(
    st.sampled_from(
        ["a", "mx", "ptr", "all", "ip4:", "ip6:", "include:", "exists:", "redirect=", "exp=",
         "%{i}", "%{d9r-}", "%{S}", "%{p}", "%{H}.", "mx:", "ptr:",
         "%%", "%", "/24", "//64", "192.0.2.7", "::1", ".",
         "example.com", " ", "-"]
    ),
    max_size=30,
).map("".join)  # fmt: skip


@given(st.one_of(words.map(str.encode), data), data, data)
def test_any_input_gives_a_result(text: bytes, sender: bytes, helo: bytes) -> None:
    dns = Endless(text)
    found = check(dns, sender, client="2001:db8::7", helo=helo)
    assert dns.asked <= MAX_QUERIES
    assert found.result in {
        "pass", "fail", "softfail", "neutral", "none", "temperror", "permerror"
    }  # fmt: skip
