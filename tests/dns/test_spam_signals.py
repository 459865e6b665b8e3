"""Signals of spamware in names, HELO and sender."""

from __future__ import annotations

import asyncio

import pytest

from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.spam_signals import helo_no_address, sender_no_mx, signals_without_dns
from greyd.rules.request import Request
from tests.dns.test_identity import request
from tests.fake_dns import FakeDns
from tests.rules.test_hostnames import CLIENT


def marks(**attributes: bytes | None) -> set[str]:
    usual = request("mail.example.com", "mail.example.com")._asdict()
    return set(signals_without_dns(Request(**{**usual, **attributes}), CLIENT))


def test_names_that_agree_show_no_mark() -> None:
    assert marks() == set()


@pytest.mark.parametrize(
    ("attributes", "mark"),
    [
        ({"client_name": b"unknown", "reverse_client_name": b"unknown"}, {"no_ptr"}),
        ({"client_name": b"unknown", "reverse_client_name": b"mail.example.com"}, {"ptr_mismatch"}),
        ({"helo_name": b"localhost"}, {"helo_not_fqdn"}),
        ({"helo_name": b"[198.51.100.23]"}, set()),
        ({"client_name": b"dsl-23.example.com"}, {"generic_name"}),
        (
            {"client_name": b"unknown", "reverse_client_name": b"dsl-2.example.com"},
            {"ptr_mismatch", "generic_name"},
        ),
        ({"client_name": b"unknown", "reverse_client_name": None, "helo_name": None}, set()),
    ],
)
def test_a_mark_is_what_postfix_could_reject_for(
    attributes: dict[str, bytes | None], mark: set[str]
) -> None:
    assert marks(**attributes) == mark


def test_a_helo_needs_an_address_or_exchangers() -> None:
    dns = FakeDns()
    asked = request("x", "mail.example.com")
    assert asyncio.run(helo_no_address(dns, asked))
    dns.add("mail.example.com", RecordType.MX, "mx.example.com")
    dns.fail("mail.example.com", RecordType.AAAA)
    assert not asyncio.run(helo_no_address(dns, asked))
    assert not asyncio.run(helo_no_address(dns, request("x", "localhost")))
    dns.fail("mail.example.com", RecordType.MX)
    with pytest.raises(DnsError):
        asyncio.run(helo_no_address(dns, asked))


def test_a_sender_s_domain_must_take_mail() -> None:
    dns = FakeDns()
    asked = request("x", "x")
    assert asyncio.run(sender_no_mx(dns, asked))
    dns.add("example.com", RecordType.AAAA, "2001:db8::1")
    assert not asyncio.run(sender_no_mx(dns, asked))
    dns.add("example.com", RecordType.MX, "")
    assert asyncio.run(sender_no_mx(dns, asked))
    dns.add("example.com", RecordType.MX, "mx.example.com")
    assert not asyncio.run(sender_no_mx(dns, asked))
    assert not asyncio.run(sender_no_mx(dns, request("x", "x", "")))
