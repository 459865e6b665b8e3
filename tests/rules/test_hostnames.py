"""Names of hosts: what is registered, what is generic; marks, lists and overrides."""

from __future__ import annotations

import asyncio

import pytest

from greyd.config.vocabulary import Zone
from greyd.dns.blocklists import fetch_address_listing, fetch_domain_listing, trust_level
from greyd.dns.identity import ProvenIdentity, identity_from_name
from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.reverse_names import reversed_name
from greyd.dns.spam_signals import helo_no_address, sender_no_mx, signals_without_dns
from greyd.rules.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, is_fqdn, is_literal, organisation_of
from greyd.rules.request import Request
from greyd.whitelist.dns_override import read_override
from greyd.whitelist.entries import WhitelistFile
from tests.fake_dns import FakeDns, address_of

CLIENT = address_of("198.51.100.23")


# Names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "organisation"),
    [
        ("mail.example.com", "example.com"), ("example.com", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"), ("co.uk", ""), ("com", ""), ("localhost", ""),
        ("mail.example.invalidtld", ""), ("", ""), ("..", ""), ("192.0.2.7", ""),
        ("mx.some.github.io", "some.github.io"),
    ],
)  # fmt: skip
def test_an_organisation_is_what_somebody_registered(name: str, organisation: str) -> None:
    assert organisation_of(name.encode()) == organisation.encode()


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("mail.example.com", True), ("mail_1.example.com", True), ("localhost", False), ("", False),
        ("-a.example.com", False), ("a..com", False), ("192.0.2.7", False),
        ("x" * 64 + ".com", False),
        ("a." * 130 + "com", False), ("a b.com", False), ("mail.example.com\n", False),
    ],
)  # fmt: skip
def test_a_fully_qualified_name_has_labels_as_hosts_have(name: str, *, good: bool) -> None:
    assert is_fqdn(name.encode()) is good


@pytest.mark.parametrize(
    ("helo", "good"), [("[192.0.2.7]", True), ("[ipv6:2001:db8::7]", True), ("192.0.2.7", False)]
)
def test_an_address_literal_stands_in_brackets(helo: str, *, good: bool) -> None:
    assert is_literal(helo.encode()) is good


@pytest.mark.parametrize(
    ("name", "client"),
    [
        ("198-51-100-23.example.com", "198.51.100.23"),
        ("ip-23.100.51.198.example.com", "198.51.100.23"),
        ("host198051100023.example.com", "198.51.100.23"),
        ("c6336417.example.com", "198.51.100.23"),
        ("p100-73.example.com", "198.51.100.73"),
        ("73-100.example.com", "198.51.100.73"),
        ("dyn-17.example.com", "198.51.100.23"),
        ("pool.isp.example.com", "198.51.100.23"),
        ("adsl17.example.com", "198.51.100.23"),
        ("customer-7.isp.example.com", "198.51.100.23"),
        ("x.dhcp.example.com", "198.51.100.23"),
        ("20010db8000000000000000000000007.example.com", "2001:db8::7"),
        ("2001-0db8-0000-0000-0000-0000-0000-0007.example.com", "2001:db8::7"),
    ],
)
def test_a_line_s_name_is_generic(name: str, client: str) -> None:
    assert is_generic(name.encode(), address_of(client))


@pytest.mark.parametrize(
    "name",
    [
        "mail.example.com", "mx1.example.com", "mail-yb0-f190.google.com", "smtp23.example.com",
        "mail.dynamic.com", "mout.kundenserver.de", "homer.example.com", "splendid.example.com",
        "o1.email.example.com", "mail-am6eur05on2100.outbound.protection.outlook.com",
        "natalie.example.com", "static.example.com", "out1-23.example.com",
    ],
)  # fmt: skip
def test_a_mail_server_s_name_is_not(name: str) -> None:
    assert not is_generic(name.encode(), CLIENT)


def test_the_domain_of_an_address_is_what_follows_its_last_at_sign() -> None:
    assert domain_of(b"a@b@Example.COM.") == b"example.com"
    assert domain_of(b"") == domain_of(b"alice") == b""


# Identity by name ---------------------------------------------------------------------------------


def request(name: str, helo: str, sender: str = "alice@example.com") -> Request:
    return Request(
        client_name=name.encode(), helo_name=helo.encode(), sender=sender.encode(),
        reverse_client_name=name.encode(),
    )  # fmt: skip


def test_a_confirmed_name_and_its_helo_make_an_identity() -> None:
    own = identity_from_name(request("mx7.mail.example.com", "OUT.Example.com"), CLIENT)
    assert own == ProvenIdentity(b"example.com", "name", speaks_for_sender=True)
    stranger = identity_from_name(
        request("mx7.mail.example.com", "out.example.com", "a@else.org"), CLIENT
    )
    assert stranger == ProvenIdentity(b"example.com", "name", speaks_for_sender=False)


@pytest.mark.parametrize(
    ("name", "helo"),
    [
        ("unknown", "mail.example.com"), ("mail.example.com", "mail.example.org"),
        ("mail.example.com", ""), ("mail.example.com", "[198.51.100.23]"),
        ("198-51-100-23.example.com", "mail.example.com"), ("co.uk", "co.uk"),
    ],
)  # fmt: skip
def test_names_that_prove_nothing_make_none(name: str, helo: str) -> None:
    assert identity_from_name(request(name, helo), CLIENT) is None


# Lists --------------------------------------------------------------------------------------------

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


# Marks --------------------------------------------------------------------------------------------


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


# The override -------------------------------------------------------------------------------------

FILE = b"""\
# comments begin a line
dripemail.example  OK           //This domain belongs to somebody
.sub.example       ok
192.0.2            OK
10.20              permit_for_now
203.0.113.7        DUNNO
198.51.100.0/25    554
mlsend.example     REJECT
alone.example
"""


def test_an_override_is_read_as_postfix_reads_an_access_table() -> None:
    clients = read_override([WhitelistFile("rbl_override", FILE)])

    def spared(name: str, client: str) -> bool:
        return clients.match(name.encode(), address_of(client)) is not None

    assert spared("mail.dripemail.example", "192.0.3.1")
    assert spared("a.sub.example", "192.0.3.1")
    assert spared("unknown", "192.0.2.200")
    assert spared("unknown", "198.51.100.23")
    assert not spared("unknown", "203.0.113.7")
    assert not spared("mlsend.example", "10.20.0.1")
    assert [diagnostic.line for diagnostic in clients.diagnostics] == [5, 8, 9]
    assert str(clients.diagnostics[2]) == (
        'rbl_override:9: "alone.example" – skipped: the action is not OK, PERMIT, DUNNO or'
        " a number; write a domain or an address, then OK"
    )
