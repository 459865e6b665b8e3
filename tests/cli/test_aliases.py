"""The forms in which entries name an address, and the neighbours that are other addresses."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from greyd.cli.entries.aliases import AddressAliases
from greyd.cli.typed_address.forms import DomainName, MailAddress
from greyd.rules.correspondence.address_forms import normalise_sender
from greyd.rules.correspondence.keys import correspondent_form, user_form

local_parts = st.from_regex(r"\A[a-z][a-z0-9.]{0,8}[a-z0-9]\Z").map(str.encode)
tags = st.from_regex(r"\A[a-z0-9]{1,6}\Z").map(str.encode)
DOMAIN = b"example.org"


@given(local_parts, tags)
def test_the_form_of_an_address_in_keys_is_one_of_its_forms(local: bytes, tag: bytes) -> None:
    aliases = AddressAliases(MailAddress(local, DOMAIN))
    for address in (
        local + b"@" + DOMAIN,
        local.upper() + b"@EXAMPLE.ORG",
        local + b"+" + tag + b"@" + DOMAIN,
        b"prvs=0123456789=" + local + b"@" + DOMAIN,
    ):
        for stored in (
            address, normalise_sender(address), user_form(address), correspondent_form(address),
        ):  # fmt: skip
            assert aliases.include(stored), stored
    assert aliases.include(b"list-" + local + b"=" + DOMAIN + b"@lists.example")
    assert aliases.include(b"srs0=ab=cd=" + DOMAIN + b"=" + local + b"@fwd.example")


@given(local_parts, local_parts)
def test_another_address_is_not_one_of_its_forms(local: bytes, other: bytes) -> None:
    assume(other != local)
    aliases = AddressAliases(MailAddress(local, DOMAIN))
    for stored in (
        other + b"@" + DOMAIN,
        local + b"@example.com",
        local + b"@sub.example.org",
        b"list-" + other + b"=" + DOMAIN + b"@lists.example",
        b"srs0=ab=cd=" + DOMAIN + b"=" + other + b"@fwd.example",
    ):
        assert not aliases.include(stored), stored


@pytest.mark.parametrize(
    ("stored", "included"),
    [
        (b"a@example.org", True),
        (b"a@mail.example.org", True),
        (b"@example.org", True),
        (b"a@badexample.org", False),
        (b"a@example.org.example", False),
        (b"a@example.com", False),
    ],
)
def test_a_domain_includes_its_subdomains(stored: bytes, included: bool) -> None:
    assert AddressAliases(DomainName(DOMAIN)).include(stored) is included


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        (b"expects mail to bob@example.org until", True),
        (b"BOB@EXAMPLE.ORG", True),
        (b"bob+x@example.org", True),
        (b"jim.bob@example.org", False),
        (b"bob@example.org.example", False),
        (b"bob@example.organic", False),
    ],
)
def test_a_text_mentions_an_address_or_another_one(text: bytes, mentioned: bool) -> None:
    assert AddressAliases(MailAddress(b"bob", DOMAIN)).are_mentioned_in(text) is mentioned
