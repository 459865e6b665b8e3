"""Senders and HELO names in UTF-8 (SMTPUTF8) give the evidence of their ASCII forms."""

from __future__ import annotations

import asyncio

import pytest

from greyd.dns.helo_resolution import HeloResolution, resolve_helo
from greyd.dns.lookup import RecordType
from greyd.dns.spam_signals import sender_no_mx, signals_without_dns
from greyd.rules.request import Request
from tests.fake_dns import FakeDns, address_of

CLIENT = address_of("198.51.100.23")


def request(domain: str) -> Request:
    return Request(
        client_name=b"mail.xn--bcher-kva.example",
        reverse_client_name=b"mail.xn--bcher-kva.example",
        helo_name=domain.encode(),
        sender=f"Älice@{domain}".encode(),
    )


@pytest.mark.parametrize(
    "domain",
    [
        "bücher.example", "BÜCHER.example", "bu\u0308cher.example", "bücher。example",
        "bücher.example.", "xn--bcher-kva.example",
    ],
)  # fmt: skip
def test_either_form_of_a_domain_has_the_same_records(domain: str) -> None:
    dns = FakeDns()
    assert asyncio.run(sender_no_mx(dns, request(domain)))
    nothing = asyncio.run(resolve_helo(dns, request(domain), CLIENT))
    assert nothing is HeloResolution.NOTHING
    dns.add("xn--bcher-kva.example", RecordType.A, "198.51.100.23")
    assert not asyncio.run(sender_no_mx(dns, request(domain)))
    client = asyncio.run(resolve_helo(dns, request(domain), CLIENT))
    assert client is HeloResolution.CLIENT
    assert {name for name, _ in dns.asked} == {b"xn--bcher-kva.example"}
    assert not list(signals_without_dns(request(domain), CLIENT))


@pytest.mark.parametrize("domain", ["i❤.example", "-ü.example", "ü" * 64 + ".example"])
def test_a_domain_without_an_ascii_form_accepts_no_mail(domain: str) -> None:
    dns = FakeDns()
    assert asyncio.run(sender_no_mx(dns, request(domain)))
    assert list(signals_without_dns(request(domain), CLIENT)) == ["helo_not_fqdn"]
