"""Clients that claim the site's own domains, and those that do so rightfully."""

from __future__ import annotations

from typing import Any

import pytest

from greyd.dns.helo_resolution import HeloResolution
from greyd.dns.own_domain_claims import own_domain_signals
from greyd.dns.spf.check_host import SpfResult
from greyd.rules.own_domains import OwnDomains
from greyd.rules.request import Request
from tests.fake_dns import address_of

STRANGER = Request(
    client_address=b"198.51.100.23", client_name=b"mail.stranger.net",
    reverse_client_name=b"mail.stranger.net", helo_name=b"mail.stranger.net",
    sender=b"alice@stranger.net", recipient=b"bob@example.org",
)  # fmt: skip
OWN = OwnDomains(["example.com"], hostname="mx1.site.example")


def result(name: str, domain: str = "stranger.net", *, proves: bool | None = None) -> SpfResult:
    return SpfResult(name, domain.encode(), proves=(name == "pass") if proves is None else proves)


NONE = result("none", "example.org")


def shown(
    client: str = "198.51.100.23",
    helo: HeloResolution | None = HeloResolution.OTHER,
    spf: SpfResult | None = NONE,
    **attributes: Any,
) -> list[str]:
    request = STRANGER._replace(**attributes)
    return list(own_domain_signals(request, address_of(client), OWN, helo, spf))


def test_a_stranger_who_claims_nothing_shows_no_signal() -> None:
    assert shown() == []


@pytest.mark.parametrize(
    "helo",
    [b"example.org", b"mail.example.org", b"EXAMPLE.org", b"www.example.com", b"mx1.site.example"],
)
@pytest.mark.parametrize(
    "resolution", [HeloResolution.OTHER, HeloResolution.NOTHING, HeloResolution.INCOMPARABLE]
)
def test_a_stranger_whose_helo_is_ours_shows_it(helo: bytes, resolution: HeloResolution) -> None:
    assert shown(helo=resolution, helo_name=helo) == ["helo_own_domain"]
    assert shown(helo=resolution, helo_name=helo, client_name=b"unknown") == ["helo_own_domain"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"helo": HeloResolution.CLIENT},
        {"helo": None},
        {"client_name": b"lists.example.org"},
        {"client_name": b"www.cs.example.org"},
        {"spf": result("pass", "example.org")},
        {"spf": result("pass", "bounces.example.org")},
        {"client": "127.0.0.1"},
        {"client": "10.1.2.3"},
        {"client": "192.168.1.9"},
        {"client": "fd00::1"},
        {"client": "::1"},
        {"client": "fe80::1"},
    ],
)
def test_a_client_of_the_organisation_may_use_its_name(attributes: dict[str, Any]) -> None:
    assert shown(helo_name=b"mail.example.org", **attributes) == []


@pytest.mark.parametrize(
    "attributes",
    [
        {"spf": result("pass", "stranger.net")},
        {"spf": result("pass", "example.org", proves=False)},
        {"client_name": b"mail.notexample.org"},
        {"client_name": b"198-51-100-23.example.org"},
        {"client_name": b"dsl-17.example.org"},
        {"client": "2001:db8::23"},
        {"client": "172.32.0.1"},
    ],
)
def test_what_proves_nothing_about_the_organisation_is_no_excuse(
    attributes: dict[str, Any],
) -> None:
    assert shown(helo_name=b"mail.example.org", **attributes) == ["helo_own_domain"]


@pytest.mark.parametrize("sender", [b"bob@example.org", b"ceo@EXAMPLE.org", b"x@example.com"])
@pytest.mark.parametrize("name", ["none", "neutral", "softfail", "fail", "permerror"])
def test_a_sender_of_ours_without_an_spf_pass_is_a_signal(sender: bytes, name: str) -> None:
    domain = sender.decode().lower().partition("@")[2]
    assert shown(sender=sender, spf=result(name, domain)) == ["sender_own_domain"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"spf": result("pass", "example.org")},
        {"spf": result("pass", "example.org", proves=False)},
        {"spf": result("temperror", "example.org")},
        {"spf": None},
        {"client_name": b"www.example.org"},
        {"client": "10.1.2.3"},
        {"sender": b""},
        {"sender": b"x@bounces.example.org"},
        {"sender": b"x@notexample.org"},
        {"recipient": b"bob@example.net"},
    ],
)
def test_our_own_mail_and_mail_of_others_is_not(attributes: dict[str, Any]) -> None:
    assert shown(**{"sender": b"ann@example.org", **attributes}) == []


def test_both_claims_are_shown() -> None:
    both = shown(helo_name=b"example.org", sender=b"bob@example.org")
    assert both == ["helo_own_domain", "sender_own_domain"]
