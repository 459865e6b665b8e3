"""Which names DNS lists are asked for, and which answers count."""

from __future__ import annotations

import asyncio

import pytest

from greyd.config.vocabulary import Zone
from greyd.dns.lists.listings import (
    DnsListing,
    fetch_address_listing,
    fetch_domain_listing,
    is_listed,
    trust_level,
)
from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.reverse_names import reversed_name
from tests.fake_dns import FakeDns, address_of
from tests.rules.test_hostnames import CLIENT

ZEN = Zone("zen.example", codes=((0x7F000002, 0x7F00000B),))


def test_addresses_are_asked_for_backwards() -> None:
    assert reversed_name(CLIENT) == b"23.100.51.198"
    assert reversed_name(address_of("2001:db8::7")) == b"7" + b".0" * 23 + b".8.b.d.0.1.0.0.2"


@pytest.mark.parametrize(
    ("address", "is_ipv4"),
    [
        ("64:ff9b::198.51.100.23", True), ("::ffff:198.51.100.23", True),
        ("64:ff9b:1::198.51.100.23", False), ("64:ff9b::10.0.0.23", False),
        ("2002:c633:6417::1", False), ("2001:0:4136:e378:8000:63bf:39cc:9be8", False),
    ],
)  # fmt: skip
def test_lists_are_asked_for_the_ipv4_address_of_a_client_that_is_one(
    address: str, *, is_ipv4: bool
) -> None:
    assert (reversed_name(address_of(address)) == b"23.100.51.198") is is_ipv4


def listing(*answers: str, zone: Zone = ZEN) -> int | None:
    dns = FakeDns()
    if answers:
        dns.add(f"23.100.51.198.{zone.name}", RecordType.A, *answers)
    found = asyncio.run(fetch_address_listing(dns, zone, CLIENT))
    return None if found is None else found.code & 0xFF


def test_a_code_that_counts_is_a_listing() -> None:
    assert listing("127.0.0.4") == 4
    assert listing("127.0.0.2", "127.0.0.10") == 10
    assert listing() is None
    assert listing("127.0.0.99") is None
    assert listing("127.0.1.2", zone=Zone("other.example")) == 2


@pytest.mark.parametrize(
    "answer", ["127.255.255.252", "127.255.255.254", "127.255.255.255", "127.0.0.1", "203.0.113.9"]
)
def test_a_list_s_error_is_no_listing(answer: str) -> None:
    with pytest.raises(DnsError, match="an error, not a listing"):
        listing(answer)


@pytest.mark.parametrize(
    ("zone", "answer", "is_listing"),
    [
        # dnswl's answers for resolvers over its limit; other lists may use these codes.
        ("list.dnswl.org", "127.0.10.3", None), ("list.dnswl.org", "127.0.0.255", None),
        ("list.dnswl.org", "127.0.5.2", True), ("list.dnswl.org", "127.0.0.3", True),
        ("wl.example", "127.0.10.3", True), ("notdnswl.org", "127.0.0.255", True),
        # Spamhaus: abused legitimate domains, and the answer to an address.
        ("dbl.spamhaus.org", "127.0.1.102", False), ("dbl.spamhaus.org", "127.0.1.106", False),
        ("dbl.spamhaus.org", "127.0.1.255", None), ("dbl.spamhaus.org", "127.0.1.2", True),
        ("dbl.spamhaus.org", "127.0.1.99", True), ("dbl.spamhaus.org", "127.0.1.107", True),
        ("{key}.dbl.dq.spamhaus.net", "127.0.1.103", False),
        ("{key}.dbl.dq.spamhaus.net", "127.0.1.255", None),
        ("dbl.example", "127.0.1.103", True), ("dbl.example", "127.0.1.255", True),
    ],
)  # fmt: skip
def test_answers_mean_what_the_operator_of_the_list_documents(
    zone: str, answer: str, *, is_listing: bool | None
) -> None:
    if is_listing is None:
        with pytest.raises(DnsError):
            listing(answer, zone=Zone(zone))
    else:
        assert (listing(answer, zone=Zone(zone)) is not None) is is_listing


def test_the_settings_may_count_abused_domains_as_listed() -> None:
    zone = Zone("dbl.spamhaus.org", codes=((0x7F000102, 0x7F00016A),))
    assert listing("127.0.1.104", zone=zone) == 104
    with pytest.raises(DnsError):
        listing("127.0.1.255", zone=zone)


@pytest.mark.parametrize(
    ("weights", "listed"),
    [
        ([0.7, 0.2, 0.1], True), ([0.1, 0.2, 0.7], True), ([0.1] * 10, True), ([0.1] * 9, False),
        ([0.333, 0.333, 0.333], False), ([0.3334, 0.3333, 0.3333], True), ([0.999], False),
        ([1.0], True), ([2.5], True), ([], False), ([1e-9, 0.999999999], True),
    ],
)  # fmt: skip
def test_weights_add_up_exactly_in_any_order(weights: list[float], *, listed: bool) -> None:
    listings = [
        DnsListing(Zone(f"zone{number}.example", weight=weight), 0x7F000002)
        for number, weight in enumerate(weights)
    ]
    assert is_listed(listings) is listed
    assert is_listed(reversed(listings)) is listed
    assert is_listed(listings * 2) is listed, "a zone counts once"


def test_domains_are_asked_for_as_they_are() -> None:
    dns = FakeDns()
    dns.add("bad.example.dbl.example", RecordType.A, "127.0.1.2")
    found = asyncio.run(fetch_domain_listing(dns, Zone("dbl.example"), b"bad.example"))
    assert found is not None
    assert trust_level(found) == 2
    assert found.domain == b"bad.example"
