"""A client's identity: by its name, and by the SPF record of the sender's domain."""

from __future__ import annotations

import asyncio

import pytest

from greyd.dns.identity import identity_from_name, identity_from_spf
from greyd.dns.lookup import RecordType
from greyd.dns.spf.check_host import SpfResult, check_host
from greyd.rules.evidence import ProvenIdentity
from greyd.rules.request import Request
from tests.fake_dns import FakeDns, address_of
from tests.rules.test_hostnames import CLIENT


def request(name: str, helo: str, sender: str = "alice@example.com") -> Request:
    return Request(
        client_name=name.encode(), helo_name=helo.encode(), sender=sender.encode(),
        reverse_client_name=name.encode(),
    )  # fmt: skip


# By name ------------------------------------------------------------------------------------------


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
        ("unknown", "mail.example.com"),
        ("198-51-100-23.example.com", "mail.example.com"), ("co.uk", "co.uk"),
        ("github.io", "github.io"), ("mail.lan", "mail.lan"),
    ],
)  # fmt: skip
def test_names_that_prove_nothing_make_none(name: str, helo: str) -> None:
    assert identity_from_name(request(name, helo), CLIENT) is None


@pytest.mark.parametrize(
    ("name", "helo"),
    [
        ("mail.example.com", "mail.example.org"), ("mail.example.com", ""),
        ("mail.example.com", "[198.51.100.23]"), ("mail.example.com", "com"),
        ("a.github.io", "b.github.io"),
    ],
)  # fmt: skip
def test_a_name_with_a_helo_of_another_organisation_is_only_a_key(name: str, helo: str) -> None:
    sender = f"alice@{name}"
    found = identity_from_name(request(name, helo, sender), CLIENT)
    assert found is not None
    assert not found.speaks_for_sender
    assert not found.can_earn


@pytest.mark.parametrize(
    ("name", "sender", "earns"),
    [
        # An organisation's own servers.
        ("mx1.example.com", "alice@example.com", True),
        ("mx1.EXAMPLE.com.", "alice@Example.COM", True),
        ("mx1.mail.example.com", "alice@mail.example.com", True),
        ("example.com", "alice@example.com", True),
        # A provider's machines, with mail of its customers.
        ("vmi1234.contaboserver.net", "alice@customer.example.org", False),
        ("vmi1234.contaboserver.net", "root@vmi1234.contaboserver.net", False),
        ("vps-9f8e.vps.ovh.net", "www-data@vps-9f8e.vps.ovh.net", False),
        ("h2987.stratoserver.net", "alice@customer.example.org", False),
        ("srv7.goodsrv.de", "root@srv7.goodsrv.de", False),
        ("hwsrv-1.hostwindsdns.com", "alice@else.org", False),
        ("vps-9f8e.vps.ovh.net", "x@vps-1234.vps.ovh.net", False),
        ("vmi1234.contaboserver.net", "x@mail.vmi1234.contaboserver.net", False),
        ("mx1.example.com", "alice@sales.example.com", False),
        ("mx1.example.com", "", False),
        ("mx1.example.com", "alice", False),
    ],
)  # fmt: skip
def test_a_name_earns_merit_only_for_the_mail_of_its_organisation(
    name: str, sender: str, *, earns: bool
) -> None:
    found = identity_from_name(request(name, name, sender), CLIENT)
    assert found is not None
    assert found.can_earn is earns


@pytest.mark.parametrize(
    ("result", "earns"),
    [
        ("pass", True), ("none", True), ("temperror", True), ("permerror", True),
        ("fail", False), ("softfail", False), ("neutral", False),
    ],
)  # fmt: skip
def test_a_name_earns_no_merit_for_a_domain_whose_spf_record_leaves_the_client_out(
    result: str, *, earns: bool
) -> None:
    asked = request("vps7.example.com", "vps7.example.com", "alice@example.com")
    found = identity_from_name(asked, CLIENT, SpfResult(result, b"example.com"))
    assert found is not None
    # A record that denies the client is a proof that it does not speak for the sender.
    assert (found.organisation, found.speaks_for_sender) == (b"example.com", result != "fail")
    assert found.can_earn is earns


# By SPF -------------------------------------------------------------------------------------------


def by_spf(domain: str, sender: str | None = None, helo: str = "") -> ProvenIdentity | None:
    """Return the identity of a client that the SPF record of this domain names."""
    dns = FakeDns()
    dns.add(domain, RecordType.TXT, "v=spf1 ip4:192.0.2.7 -all")
    sender = f"alice@{domain}" if sender is None else sender
    asked = request("unknown", helo, sender)
    client = address_of("192.0.2.7")
    found = asyncio.run(check_host(dns, client, sender.encode(), helo.encode()))
    assert found.proves
    return identity_from_spf(asked, found)


@pytest.mark.parametrize(
    ("domain", "organisation"),
    [
        ("example.com", "example.com"), ("b4711.mail.example.com", "example.com"),
        ("b-4711-.mail.example.com", "example.com"), ("_x.-y.example.co.uk", "example.co.uk"),
        # Below a suffix in the private section, each customer has its own name.
        ("shop.github.io", "shop.github.io"), ("b1.shop.github.io", "shop.github.io"),
        ("x.blogspot.com", "x.blogspot.com"),
        ("b1.xn--bcher-kva.de", "xn--bcher-kva.de"),
        # Below a suffix that is not in the list, the whole name is what SPF proves.
        ("example.invalidtld", "example.invalidtld"), ("a.b.invalidtld", "a.b.invalidtld"),
        ("mail.corp.lan", "mail.corp.lan"),
    ],
)  # fmt: skip
def test_spf_proves_the_organisation_of_a_domain(domain: str, organisation: str) -> None:
    wanted = ProvenIdentity(organisation.encode(), "spf", speaks_for_sender=True)
    assert by_spf(domain) == wanted
    assert wanted.can_earn


@pytest.mark.parametrize(
    ("domain", "name", "helo", "sender", "earns"),
    [
        # A provider's machine with an SPF record of its own.
        ("vps7.hoster.net", "vps7.hoster.net", "vps7.hoster.net", "root@vps7.hoster.net", False),
        ("vps7.hoster.net", "unknown", "VPS7.hoster.net.", "root@VPS7.hoster.net", False),
        ("vps7.hoster.net", "vps7.hoster.net", "localhost", "root@vps7.hoster.net", False),
        ("vps7.hoster.net", "vps7.hoster.net", "vps7.hoster.net", "", False),
        ("vps7.hoster.net", "unknown", "vps7.hoster.net", "", False),
        # A domain of mail, or the organisation's own.
        ("b1.mail.hoster.net", "mx1.hoster.net", "mx1.hoster.net", "x@b1.mail.hoster.net", True),
        ("hoster.net", "mx1.hoster.net", "mx1.hoster.net", "x@hoster.net", True),
        ("hoster.net", "hoster.net", "hoster.net", "x@hoster.net", True),
        ("hoster.net", "hoster.net", "hoster.net", "", True),
        ("shop.github.io", "shop.github.io", "shop.github.io", "x@shop.github.io", True),
    ],
)  # fmt: skip
def test_spf_of_a_machine_s_name_earns_nothing_for_the_organisation(
    domain: str, name: str, helo: str, sender: str, *, earns: bool
) -> None:
    dns = FakeDns()
    dns.add(domain, RecordType.TXT, "v=spf1 ip4:192.0.2.7 -all")
    asked = request(name, helo, sender)
    client = address_of("192.0.2.7")
    found = asyncio.run(check_host(dns, client, sender.encode(), helo.lower().encode()))
    identity = identity_from_spf(asked, found)
    assert identity is not None
    assert identity.can_earn is earns


@pytest.mark.parametrize("domain", ["co.uk", "github.io", "blogspot.com", "xn--55qx5d.cn"])
def test_spf_of_a_public_suffix_proves_nothing(domain: str) -> None:
    assert by_spf(domain) is None


def test_spf_in_the_other_form_of_a_domain_is_the_same_identity() -> None:
    dns = FakeDns()
    dns.add("b1.xn--bcher-kva.de", RecordType.TXT, "v=spf1 ip4:192.0.2.7 -all")
    sender = "älice@b1.BÜCHER.de".encode()
    found = asyncio.run(check_host(dns, address_of("192.0.2.7"), sender, b""))
    identity = identity_from_spf(Request(sender=sender), found)
    assert identity == ProvenIdentity(b"xn--bcher-kva.de", "spf", speaks_for_sender=True)


def test_the_helo_name_stands_for_a_bounce_and_speaks_for_no_sender() -> None:
    found = by_spf("mx7.mail.example.com", sender="", helo="mx7.mail.example.com")
    assert found == ProvenIdentity(
        b"example.com", "spf", speaks_for_sender=False, may_be_customer=True
    )
