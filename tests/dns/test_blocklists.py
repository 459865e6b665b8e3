"""Which names DNS lists are asked for, and which answers count."""

from __future__ import annotations

import asyncio

import pytest

from greyd.config.vocabulary import Zone
from greyd.dns.blocklists import fetch_address_listing, fetch_domain_listing, trust_level
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


def test_domains_are_asked_for_as_they_are() -> None:
    dns = FakeDns()
    dns.add("bad.example.dbl.example", RecordType.A, "127.0.1.2")
    found = asyncio.run(fetch_domain_listing(dns, Zone("dbl.example"), b"bad.example"))
    assert found is not None
    assert trust_level(found) == 2
