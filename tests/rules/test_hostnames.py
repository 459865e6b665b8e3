"""Host names: their syntax, and the domains that somebody registered."""

from __future__ import annotations

import pytest

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


def test_the_domain_of_an_address_is_what_follows_its_last_at_sign() -> None:
    assert domain_of(b"a@b@Example.COM.") == b"example.com"
    assert domain_of(b"") == domain_of(b"alice") == b""
