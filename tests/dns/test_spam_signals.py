"""Signals of spamware in names, HELO and sender."""

from __future__ import annotations

import asyncio

import pytest

from greyd.dns.helo_resolution import HeloResolution
from greyd.dns.lookup import RecordType
from greyd.dns.spam_signals import helo_signal, sender_no_mx, signals_without_dns
from greyd.rules.request import Request
from tests.dns.test_identity import request
from tests.fake_dns import FakeDns, address_of
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
        ({"protocol_name": b"SMTP"}, {"plain_helo"}),
        ({"protocol_name": b"ESMTP"}, set()),
        ({"protocol_name": b""}, set()),
        ({"protocol_name": None}, set()),
        ({"protocol_name": b"LMTP"}, set()),
    ],
)
def test_a_mark_is_what_postfix_could_reject_for(
    attributes: dict[str, bytes | None], mark: set[str]
) -> None:
    assert marks(**attributes) == mark


WRONG, PRIVATE = "helo_wrong_literal", "helo_private_literal"


@pytest.mark.parametrize(
    ("literal", "client", "signal"),
    [
        ("[198.51.100.23]", "198.51.100.23", ""), ("[198.51.100.24]", "198.51.100.23", WRONG),
        ("[203.0.113.9]", "10.0.0.7", WRONG), ("[10.0.0.7]", "10.0.0.7", ""),
        # A server behind NAT may know no other address of its own.
        ("[10.0.0.1]", "198.51.100.23", PRIVATE), ("[172.31.255.1]", "198.51.100.23", PRIVATE),
        ("[172.32.0.1]", "198.51.100.23", WRONG), ("[192.168.1.2]", "198.51.100.23", PRIVATE),
        ("[192.169.1.2]", "198.51.100.23", WRONG), ("[127.0.0.1]", "198.51.100.23", PRIVATE),
        ("[169.254.7.7]", "198.51.100.23", PRIVATE), ("[100.64.0.1]", "198.51.100.23", PRIVATE),
        ("[100.128.0.1]", "198.51.100.23", WRONG), ("[224.0.0.1]", "198.51.100.23", WRONG),
        ("[10.0.0.1]", "10.0.0.7", PRIVATE), ("[10.0.0.1]", "2001:db8::7", PRIVATE),
        ("[IPv6:::ffff:10.0.0.1]", "198.51.100.23", PRIVATE), ("[::1]", "2001:db8::7", PRIVATE),
        ("[IPv6:fd12:3456::7]", "2001:db8::7", PRIVATE), ("[10.0.0]", "198.51.100.23", WRONG),
        ("[999.1.2.3]", "198.51.100.23", WRONG), ("[1.2.3]", "198.51.100.23", WRONG),
        ("[198.51.100.23]", "::ffff:198.51.100.23", ""),
        ("[198.51.100.23]", "64:ff9b::198.51.100.23", ""),
        ("[198.51.100.24]", "64:ff9b::198.51.100.23", WRONG),
        ("[IPv6:::ffff:198.51.100.23]", "198.51.100.23", ""),
        ("[IPv6:64:ff9b::c633:6417]", "198.51.100.23", ""),
        ("[IPv6:2001:db8::7]", "2001:db8::7", ""), ("[IPV6:2001:DB8::7]", "2001:db8::7", ""),
        ("[IPv6:2001:db8:0:0:0:0:0:7]", "2001:db8::7", ""),
        ("[2001:db8::7]", "2001:db8::7", ""), ("[IPv6:2001:db8::8]", "2001:db8::7", WRONG),
        ("[IPv6:fe80::1]", "2001:db8::7", PRIVATE), ("[198.51.100.23]", "2001:db8::7", WRONG),
        ("[IPv6:2001:db8::7]", "198.51.100.23", WRONG),
        # A site's own NAT64 hides the IPv4 address.
        ("[198.51.100.23]", "64:ff9b:1::7", ""), ("[IPv6:2001:db8::8]", "64:ff9b:1::7", WRONG),
        # Other signals say enough about what is no literal.
        ("198.51.100.24", "198.51.100.23", ""), ("[]", "198.51.100.23", ""),
        ("[mail.example.com]", "198.51.100.23", ""),
        ("mail.example.com", "198.51.100.23", ""),
    ],
)  # fmt: skip
def test_an_address_literal_must_be_the_clients_address(
    literal: str, client: str, signal: str
) -> None:
    asked = request("mail.example.com", literal)
    shown = set(signals_without_dns(asked, address_of(client)))
    assert {each for each in shown if "literal" in each} == ({signal} if signal else set())


def test_a_helo_needs_an_address_that_is_the_clients() -> None:
    asked, client = request("mail.example.com", "mx.example.net"), address_of("192.0.2.7")
    assert helo_signal(HeloResolution.NOTHING, asked, client) == "helo_no_address"
    assert helo_signal(HeloResolution.OTHER, asked, client) == "helo_other_address"
    for resolution in (HeloResolution.CLIENT, HeloResolution.INCOMPARABLE, None):
        assert helo_signal(resolution, asked, client) is None


@pytest.mark.parametrize(
    ("name", "helo", "shown"),
    [
        ("out7.example.com", "mail.example.com", False),
        ("out7.mail.example.com", "example.com", False),
        ("out7.example.com", "mail.example.net", True),
        ("out7.example.com", "gmail.com", True),
        ("unknown", "mail.example.com", True),
        ("192-0-2-7.dsl.example.com", "mail.example.com", True),
        ("out7.example.com", "com", True),
    ],
)
def test_a_pool_may_share_a_helo_name_of_its_own_organisation(
    name: str, helo: str, shown: bool
) -> None:
    signal = helo_signal(HeloResolution.OTHER, request(name, helo), address_of("192.0.2.7"))
    assert (signal == "helo_other_address") is shown
    # Its own organisation does not excuse a name that does not exist.
    nothing = helo_signal(HeloResolution.NOTHING, request(name, helo), address_of("192.0.2.7"))
    assert nothing == "helo_no_address"


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
