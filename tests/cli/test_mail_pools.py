"""``greyd list``: waiting mail from several networks, and the commands that let it pass."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from typing import TYPE_CHECKING

import pytest

from greyd.cli.entries.pools.mail_pools import MailPools
from greyd.cli.entries.pools.organisations import (
    MAX_ADDRESSES,
    MAX_KNOWN_ADDRESSES,
    NetworkOrganisations,
    UnknownReason,
    sampled_addresses,
)
from greyd.config.settings import Settings
from greyd.dns.lookup import RecordType
from greyd.dns.reverse_names import pointer_name
from greyd.rules.entries import StoredEntry, interpret
from greyd.rules.keys import request_keys
from greyd.rules.records import Triplet
from greyd.rules.transaction import Record
from tests.commands import fill, run_here
from tests.dns_server import Zone, dns_server
from tests.evidence import evidence_for
from tests.fake_dns import FakeDns, address_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_700_000_000
SETTINGS = Settings()


def triplet(
    address: str,
    sender: str = "a@big.example",
    recipient: str = "b@example.org",
    *,
    passed_at: int | None = None,
    identity: bytes = b"",
    settings: Settings = SETTINGS,
) -> StoredEntry:
    evidence = evidence_for(identity) if identity else None
    keys = request_keys(
        address_of(address), sender.encode(), recipient.encode(), settings, evidence
    )
    key = keys.identities[0].triplet if identity else keys.triplet
    first = NOW - 900 if passed_at else NOW - 60
    record = Triplet(first, NOW - 60, passed_at).dump()
    entry = interpret(Record(key, record, 9999), NOW, settings)
    assert entry is not None
    return entry


def organisations_from(dns: FakeDns) -> NetworkOrganisations:
    return NetworkOrganisations(lambda: contextlib.nullcontext(dns))


def lines(
    *entries: StoredEntry, settings: Settings = SETTINGS, dns: FakeDns | None = None
) -> list[str]:
    pools = MailPools(settings, organisations_from(dns or FakeDns()))
    pools.add(entries)
    return list(asyncio.run(pools.lines()))


def dns_of(hosts: dict[str, str], *, confirmed: bool = True) -> FakeDns:
    """Return a DNS in which each address has the name; ``?`` stands for no answer."""
    dns = FakeDns()
    for address, name in hosts.items():
        pointer = pointer_name(address_of(address)).decode()
        if name == "?":
            dns.fail(pointer, RecordType.PTR)
        else:
            dns.add(pointer, RecordType.PTR, name)
            dns.add(name.lower(), RecordType.A, address if confirmed else "203.0.113.99")
    return dns


POOL = [triplet("192.0.2.1"), triplet("198.51.100.1")]
FIRST, SECOND = ("192.0.2.25", "192.0.2.128"), ("198.51.100.25", "198.51.100.128")
"""The addresses of the networks whose names are looked up."""


def test_a_mail_from_several_networks_gets_the_commands_that_let_it_pass() -> None:
    _, head, unknown, now, always = lines(*POOL)
    assert head == "a@big.example to b@example.org, from 2 networks"
    assert unknown == "  organisation unknown: hosts in these networks have no confirmed names"
    assert now == "  now: greyd release --sender a@big.example --recipient b@example.org"
    assert always == (
        "  always, if you know the sender: greyd whitelist add 192.0.2.0/24 198.51.100.0/24"
        " --reason 'mail of big.example'"
    )


@pytest.mark.parametrize(
    "entries",
    [
        [triplet("192.0.2.1")],
        [triplet("192.0.2.1"), triplet("192.0.2.99")],
        [triplet("192.0.2.1"), triplet("198.51.100.1", recipient="c@example.org")],
        [triplet("192.0.2.1"), triplet("198.51.100.1", sender="c@big.example")],
        [triplet("192.0.2.1"), triplet("198.51.100.1", passed_at=NOW)],
        [triplet("192.0.2.1", sender=""), triplet("198.51.100.1", sender="")],
        [
            triplet("192.0.2.1"),
            triplet("198.51.100.1"),
            triplet("203.0.113.1", identity=b"big.example"),
        ],
    ],
    ids=["one", "one network", "two recipients", "two senders", "passed", "bounces", "an identity"],
)
def test_other_mail_is_no_pool(entries: list[StoredEntry]) -> None:
    assert lines(*entries) == []


def test_hashes_are_no_pool() -> None:
    private = Settings(privacy=True)
    found = [triplet(each, settings=private) for each in ("192.0.2.1", "198.51.100.1")]
    assert lines(*found, settings=private) == []


def test_many_networks_and_many_pools_are_counted_and_not_proposed() -> None:
    many = [triplet(f"192.0.{n}.1") for n in range(9)]
    assert not any("whitelist add" in line for line in lines(*many))
    others = [
        triplet(f"192.0.{n}.1", sender=f"s{mail}@big.example") for mail in range(5) for n in (1, 2)
    ]
    assert lines(*others)[-1] == "… and 2 more mails"


def test_a_name_from_the_network_is_quoted() -> None:
    odd = [triplet(each, sender="a'$(x) @big.example") for each in ("192.0.2.1", "198.51.100.1")]
    command = next(line for line in lines(*odd) if "release" in line).partition("now: ")[2]
    assert shlex.split(command)[3] == "a'$(x) @big.example"


def test_a_pool_of_an_organisation_is_named_and_whitelisted_by_its_domain() -> None:
    dns = dns_of({FIRST[0]: "out1.us.mailer.com", SECOND[1]: "out2.eu.mailer.com"})
    _, head, now, always = lines(*POOL, dns=dns)
    assert head == "a@big.example to b@example.org, from 2 networks of mailer.com"
    assert now == "  now: greyd release --sender a@big.example --recipient b@example.org"
    assert always == (
        "  always, if you trust mailer.com: greyd whitelist add mailer.com"
        " --reason 'retries from 2 networks'"
    )


def test_pools_of_one_organisation_stand_together_and_share_the_whitelist_entry() -> None:
    dns = dns_of({FIRST[0]: "out1.mailer.com", SECOND[0]: "out2.mailer.com"})
    mails = [
        triplet(address, sender=sender)
        for sender in ("one@big.example", "two@other.example")
        for address in ("192.0.2.1", "198.51.100.1")
    ]
    _, first, _, second, _, always = lines(*mails, dns=dns)
    assert first == "one@big.example to b@example.org, from 2 networks of mailer.com"
    assert second == "two@other.example to b@example.org, from 2 networks of mailer.com"
    assert "greyd whitelist add mailer.com " in always


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ({FIRST[0]: "a.mailer.com", SECOND[0]: "b.mailer.com"}, b"mailer.com"),
        ({FIRST[1]: "a.mailer.com", SECOND[1]: "b.mailer.com"}, b"mailer.com"),
        ({FIRST[0]: "mailer.com", SECOND[0]: "mx.mailer.com"}, b"mailer.com"),
        ({FIRST[0]: "a.mailer.co.uk", SECOND[0]: "b.mailer.co.uk"}, b"mailer.co.uk"),
        ({FIRST[0]: "a.shop.github.io", SECOND[0]: "b.shop.github.io"}, b"shop.github.io"),
        # One unanswered address of a network does not matter if the other one has a name.
        (
            {FIRST[0]: "a.mailer.com", FIRST[1]: "?", SECOND[0]: "b.mailer.com", SECOND[1]: "?"},
            b"mailer.com",
        ),
        ({}, UnknownReason.NO_NAMES),
        ({FIRST[0]: "mx1.lan", SECOND[0]: "mx2.lan"}, UnknownReason.NO_NAMES),
        ({FIRST[0]: "co.uk", SECOND[0]: "github.io"}, UnknownReason.NO_NAMES),
        ({FIRST[0]: "a.mailer.com", FIRST[1]: "b.mailer.com"}, UnknownReason.ONE_NETWORK),
        ({FIRST[0]: "?", SECOND[0]: "?"}, UnknownReason.NO_ANSWER),
        ({FIRST[0]: "a.mailer.com", SECOND[0]: "?"}, UnknownReason.NO_ANSWER),
        ({FIRST[0]: "a.mailer.com", SECOND[0]: "b.other.com"}, UnknownReason.SEVERAL),
        ({FIRST[0]: "a.mailer.co.uk", SECOND[0]: "b.other.co.uk"}, UnknownReason.SEVERAL),
        ({FIRST[0]: "a.shop.github.io", SECOND[0]: "b.x.github.io"}, UnknownReason.SEVERAL),
        (
            {FIRST[0]: "a.mailer.com", FIRST[1]: "b.other.com", SECOND[0]: "c.mailer.com"},
            UnknownReason.SEVERAL,
        ),
        (
            {FIRST[0]: "dsl-192-0-2-25.isp.com", SECOND[0]: "dsl-198-51-100-25.isp.com"},
            UnknownReason.GENERIC,
        ),
        ({FIRST[0]: "vmi1234567.hoster.com", SECOND[0]: "mx.hoster.com"}, UnknownReason.GENERIC),
    ],
)
def test_the_organisation_is_known_if_hosts_in_two_networks_have_names_in_its_domain(
    hosts: dict[str, str], expected: bytes | UnknownReason
) -> None:
    networks = [b"192.0.2.0/24", b"198.51.100.0/24"]
    assert asyncio.run(organisations_from(dns_of(hosts)).find([networks])) == [expected]


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ([b"2001:db8::/64", b"2001:db8:1::/64"], UnknownReason.TOO_LARGE),
        # The IPv4 networks count, wherever they are in the list.
        ([b"2001:db8:%d::/64" % n for n in range(5)] + [b"192.0.2.0/24"], UnknownReason.NO_NAMES),
    ],
)
def test_names_in_ipv6_networks_are_not_looked_up(
    networks: list[bytes], expected: UnknownReason
) -> None:
    assert asyncio.run(organisations_from(FakeDns()).find([networks])) == [expected]


def test_a_name_that_does_not_resolve_back_names_nobody() -> None:
    dns = dns_of({FIRST[0]: "a.mailer.com", SECOND[0]: "b.mailer.com"}, confirmed=False)
    assert not any("mailer.com" in line for line in lines(*POOL, dns=dns))


def test_the_pools_of_known_organisations_come_first() -> None:
    dns = dns_of({"203.0.113.25": "out1.mailer.com", "198.51.100.128": "out2.mailer.com"})
    unknown = [triplet(f"10.0.{n}.1", sender="x@spam.example") for n in range(3)]
    known = [triplet(each) for each in ("203.0.113.1", "198.51.100.1")]
    heads = [line for line in lines(*unknown, *known, dns=dns) if " to b@" in line]
    assert [line.partition("@")[0] for line in heads] == ["a", "x"]


def test_a_name_whose_address_is_unknown_is_no_answer() -> None:
    dns = dns_of({FIRST[0]: "a.mailer.com", SECOND[0]: "b.mailer.com"})
    dns.fail("b.mailer.com", RecordType.A)
    assert "  organisation unknown: no answer from DNS" in lines(*POOL, dns=dns)


def test_customers_lines_and_rented_servers_are_never_proposed_for_the_whitelist() -> None:
    hosts = {FIRST[0]: "vmi1234567.hoster.com", SECOND[0]: "vmi1234568.hoster.com"}
    _, _, unknown, now = lines(*POOL, dns=dns_of(hosts))
    assert unknown.endswith("names of customers' lines or rented servers")
    assert now.startswith("  now: greyd release")


def test_a_domain_under_which_customers_have_names_is_not_proposed() -> None:
    hosts = {FIRST[0]: "mx1.amazonaws.com", SECOND[0]: "mx2.amazonaws.com"}
    *_, last = lines(*POOL, dns=dns_of(hosts))
    assert last.startswith("  no whitelist entry: amazonaws.com also matches names of")


def test_a_resolver_that_does_not_answer_does_not_hold_up_the_listing() -> None:
    dns = dns_of({FIRST[0]: "a.mailer.com"})
    dns.silent |= {pointer_name(address_of(each)) for each in (*FIRST[1:], *SECOND)}
    assert "  organisation unknown: no answer from DNS" in lines(*POOL, dns=dns)


def test_no_address_is_looked_up_twice_for_a_listing_that_repeats() -> None:
    async def asked() -> FakeDns:
        dns = dns_of({FIRST[0]: "a.mailer.com", SECOND[0]: "?"})
        organisations = organisations_from(dns)
        for _ in range(3):
            await organisations.find([[b"192.0.2.0/24", b"198.51.100.0/24"]])
        return dns

    pointers = [name for name, kind in asyncio.run(asked()).asked if kind is RecordType.PTR]
    assert len(pointers) == len(set(pointers)) == 4


def test_the_number_of_lookups_is_limited() -> None:
    async def asked(listing_count: int) -> tuple[int, bytes | UnknownReason]:
        dns = FakeDns()
        organisations = organisations_from(dns)
        for at in range(listing_count):
            networks = [b"10.%d.%d.0/24" % (at, each) for each in range(30)]
            pools = [networks[first : first + 3] for first in range(0, 30, 3)]
            *_, last = await organisations.find(pools)
        return len(dns.asked), last

    assert asyncio.run(asked(1)) == (MAX_ADDRESSES, UnknownReason.NOT_ASKED)
    assert asyncio.run(asked(60)) == (MAX_KNOWN_ADDRESSES, UnknownReason.NOT_ASKED)


@pytest.mark.parametrize(
    ("network", "addresses"),
    [
        (b"192.0.2.0/24", ["192.0.2.25", "192.0.2.128"]),
        (b"192.0.2.64/28", ["192.0.2.65", "192.0.2.72"]),
        (b"192.0.2.6/31", ["192.0.2.6", "192.0.2.7"]),
        (b"192.0.2.7", ["192.0.2.7"]),
        (b"192.0.2.7/32", ["192.0.2.7"]),
        (b"10.0.0.0/8", ["10.25.153.153", "10.128.0.0"]),
        (b"2001:db8::7", ["2001:db8::7"]),
        (b"2001:db8::/64", []),
        (b"nothing", []),
    ],
)
def test_a_few_addresses_of_each_network_are_looked_up(
    network: bytes, addresses: list[str]
) -> None:
    assert sampled_addresses(network) == [address_of(each) for each in addresses]


def test_a_name_from_the_dns_reaches_no_shell_and_no_terminal() -> None:
    hosts = {FIRST[0]: "a.x\x1b[31m;$(id).com", SECOND[0]: "b.x\x1b[31m;$(id).com"}
    found = lines(*POOL, dns=dns_of(hosts))
    assert not any("\x1b" in line or "$(id)" in line for line in found)


@pytest.mark.parametrize(
    ("options", "columns", "is_asked"),
    [([], 120, True), (["--keys"], 120, False), ([], None, False), (["--json"], 120, False)],
)
def test_only_a_listing_on_a_terminal_asks_the_server_s_resolver(
    options: list[str], columns: int | None, is_asked: bool, tmp_path: Path
) -> None:
    now = int(time.time())
    addresses = map(address_of, ("192.0.2.1", "198.51.100.1"))
    keys = [request_keys(each, b"a@big.example", b"b@x.org", SETTINGS) for each in addresses]
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {each.triplet: Triplet(now - 60, now - 60, None).dump() for each in keys})
    zone: Zone = {
        "25.2.0.192.in-addr.arpa": ["300 PTR out1.mailer.com."],
        "25.100.51.198.in-addr.arpa": ["300 PTR out2.mailer.com."],
        "out1.mailer.com": ["300 A 192.0.2.25"],
        "out2.mailer.com": ["300 A 198.51.100.25"],
    }
    with dns_server(zone) as server:
        done = run_here(
            "list",
            f"--store={url}",
            *options,
            columns=columns,
            GREYD_RESOLVER=server.address,
            GREYD_RUN_DIR=str(tmp_path),
        )
        asked = dict(server.asked)
    assert done.returncode == 0, done.stderr
    assert ("greyd whitelist add mailer.com" in done.stdout) is is_asked
    assert bool(asked) is is_asked
