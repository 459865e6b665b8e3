"""The site's own domains, as a client claims them in HELO and sender."""

from __future__ import annotations

import pytest

from greyd.rules.own_domains import OwnDomains

OWN = OwnDomains(["example.com", "bücher.example"], hostname="mx1.site.example")
RECIPIENT = b"bob@example.org"


@pytest.mark.parametrize(
    ("helo", "domain"),
    [
        ("example.org", "example.org"), ("Example.ORG.", "example.org"),
        ("mail.example.org", "example.org"), ("a.b.example.org", "example.org"),
        ("example.com", "example.com"), ("www.example.com", "example.com"),
        ("mx1.site.example", "mx1.site.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        # Neighbours that claim nothing.
        ("notexample.org", ""), ("example.org.evil.net", ""), ("org", ""), ("localhost", ""),
        ("mx2.site.example", ""), ("site.example", ""), ("[192.0.2.7]", ""), ("", ""), (".", ""),
        ("-.example.org", ""), ("gmail.com", ""),
    ],
)  # fmt: skip
def test_a_helo_claims_an_own_domain_if_it_is_or_is_below_it(helo: str, domain: str) -> None:
    assert OWN.claimed_by_helo(helo.encode(), RECIPIENT) == domain.encode()


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("bob@example.org", "example.org"), ("ANN@Example.Org", "example.org"),
        ("x@example.com", "example.com"), ("x@bounces.example.com", "example.com"),
        ("x@bücher.example", "xn--bcher-kva.example"),
        # A service may send for a name below the recipient's domain.
        ("x@bounces.example.org", ""), ("x@org", ""), ("x@example.net", ""),
        ("", ""), ("x@[192.0.2.7]", ""), ("example.org@example.net", ""),
        # Postfix completes these with this site's domain.
        ("postmaster", "example.org"), ("ann%example.org", "example.org"),
        ("example.org!ann", "example.org"), ("ann%example.net@example.net", ""),
    ],
)  # fmt: skip
def test_a_sender_claims_an_own_domain_if_it_is_one(sender: str, domain: str) -> None:
    assert OWN.claimed_by_sender(sender.encode(), RECIPIENT) == domain.encode()


def test_without_an_option_only_the_recipients_domain_is_own() -> None:
    own = OwnDomains(hostname="mail")
    assert own.claimed_by_helo(b"mail.example.org", RECIPIENT) == b"example.org"
    assert own.claimed_by_helo(b"mail", RECIPIENT) == b""
    assert own.claimed_by_helo(b"mail.example.com", RECIPIENT) == b""
    assert own.claimed_by_helo(b"mail.example.org", b"postmaster") == b""
    assert own.claimed_by_sender(b"ann", b"postmaster") == b""
