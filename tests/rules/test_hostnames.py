"""Names of hosts: what is registered, what is generic; marks, lists and overrides."""

from __future__ import annotations

import pytest

from greyd.rules.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, is_fqdn, is_literal, organisation_of
from tests.fake_dns import address_of

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
