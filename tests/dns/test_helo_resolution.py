"""What the HELO name resolves to."""

from __future__ import annotations

import asyncio

import pytest

from greyd.dns.helo_resolution import HeloResolution, resolve_helo
from greyd.dns.lookup import DnsError, RecordType
from greyd.rules.request import Request
from tests.fake_dns import FakeDns, address_of

A, AAAA, MX = RecordType.A, RecordType.AAAA, RecordType.MX
V4, V6 = "192.0.2.7", "2001:db8::7"


def resolve(
    dns: FakeDns, client: str = V4, helo: str = "mail.example.com", name: str = "unknown"
) -> HeloResolution | None:
    asked = Request(helo_name=helo.encode(), client_name=name.encode())
    return asyncio.run(resolve_helo(dns, asked, address_of(client)))


@pytest.mark.parametrize(
    ("records", "client", "resolution"),
    [
        ({A: ["192.0.2.7"]}, V4, "client"),
        ({A: ["192.0.2.8", "192.0.2.7"]}, V4, "client"),
        ({A: ["192.0.2.7"]}, "::ffff:192.0.2.7", "client"),
        ({A: ["192.0.2.7"]}, "64:ff9b::192.0.2.7", "client"),
        ({AAAA: ["2001:db8::7"]}, V6, "client"),
        ({A: ["192.0.2.8"]}, V4, "other"),
        ({A: ["192.0.2.8"], MX: ["mail.example.com"]}, V4, "other"),
        ({AAAA: ["2001:db8::8"]}, V6, "other"),
        ({AAAA: ["2001:db8::7"]}, V4, "incomparable"),
        ({A: ["192.0.2.7"]}, V6, "incomparable"),
        ({MX: ["mx.example.com"]}, V4, "incomparable"),
        ({}, V4, "nothing"),
    ],
)
def test_only_addresses_of_the_clients_family_are_compared(
    records: dict[RecordType, list[str]], client: str, resolution: str
) -> None:
    dns = FakeDns()
    for kind, values in records.items():
        dns.add("mail.example.com", kind, *values)
    assert resolve(dns, client) is HeloResolution(resolution)


@pytest.mark.parametrize("helo", ["localhost", "[192.0.2.7]", "192.0.2.7", "", "a..b", "x_"])
def test_what_is_no_host_name_is_not_queried(helo: str) -> None:
    dns = FakeDns()
    assert resolve(dns, helo=helo) is None
    assert dns.asked == []


@pytest.mark.parametrize("helo", ["mail.example.com", "Mail.Example.COM", "mail.example.com."])
def test_the_confirmed_client_name_is_not_queried(helo: str) -> None:
    dns = FakeDns()
    assert resolve(dns, helo=helo, name="mail.example.com") is HeloResolution.CLIENT
    assert dns.asked == []


@pytest.mark.parametrize(
    ("failing", "known", "resolution"),
    [
        ((A,), {AAAA: "2001:db8::7"}, "incomparable"),
        ((A, AAAA), {MX: "mx.example.com"}, "incomparable"),
        ((AAAA, MX), {A: "192.0.2.8"}, "other"), ((AAAA, MX), {A: "192.0.2.7"}, "client"),
        ((A,), {}, None), ((MX,), {}, None), ((A, AAAA, MX), {}, None),
    ],
)  # fmt: skip
def test_a_failed_query_says_nothing(
    failing: tuple[RecordType, ...], known: dict[RecordType, str], resolution: str | None
) -> None:
    dns = FakeDns()
    for kind in failing:
        dns.fail("mail.example.com", kind)
    for kind, value in known.items():
        dns.add("mail.example.com", kind, value)
    if resolution is None:
        with pytest.raises(DnsError):
            resolve(dns)
    else:
        assert resolve(dns) is HeloResolution(resolution)
