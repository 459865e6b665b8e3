"""Both forms of an internationalised domain are one mail domain to the rules and the commands."""

from __future__ import annotations

import hashlib

import pytest

from greyd.cli.entries.selection import parse_selection
from greyd.config.settings import Settings
from greyd.rules.control import ExpectedMail, ExpectWindow, window_key
from greyd.rules.correspondence.keys import correspondence_key
from greyd.rules.entries import interpret
from greyd.rules.keys import Keys, request_keys
from greyd.rules.transaction import Record
from tests.evidence import evidence_for
from tests.fake_dns import address_of

CLIENT = address_of("192.0.2.7")
FORMS = [
    "bücher.example", "BÜCHER.example", "bu\u0308cher.Example", "bücher。example",
    "xn--bcher-kva.example", "XN--BCHER-KVA.example",
]  # fmt: skip
SETTINGS = [Settings(), Settings(privacy=True), Settings(privacy=True, privacy_key=b"k" * 32)]


def keys(sender: str, recipient: str, settings: Settings) -> Keys:
    evidence = evidence_for(b"xn--bcher-kva.example")
    return request_keys(CLIENT, sender.encode(), recipient.encode(), settings, evidence)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("settings", SETTINGS, ids=["plain", "hashed", "keyed"])
def test_both_forms_have_the_same_keys(form: str, settings: Settings) -> None:
    wanted = keys("info+x@xn--bcher-kva.example", "ünal@xn--bcher-kva.example", settings)
    found = keys(f"info@{form}", f"ünal@{form}", settings)
    if settings is SETTINGS[1]:
        # Imported from postgrey, a hash without a secret cannot be converted.
        found = found._replace(triplet=wanted.triplet)
    assert found == wanted
    assert correspondence_key(
        f"info@{form}".encode(), f"ünal@{form}".encode(), settings
    ) == correspondence_key(
        b"info@xn--bcher-kva.example", "ünal@xn--bcher-kva.example".encode(), settings
    )


@pytest.mark.parametrize(
    ("sender", "recipient", "triplet"),
    [
        ("Info@EXAMPLE.com", "Bob@xn--bcher-kva.example",
         b"{192.0.2.0}/info@example.com/bob@xn--bcher-kva.example"),
        ("info@xn--a.example", "bob@EXAMPLE.org.",
         b"{192.0.2.0}/info@xn--a.example/bob@example.org."),
        ("a@b@example.com", "bob", b"{192.0.2.0}/a@b@example.com/bob"),
        # What has no ASCII form keeps its bytes.
        ("info@i❤.example", "bob@example.org",
         "{192.0.2.0}/info@i❤.example/bob@example.org".encode()),
        ("bücher.example", "bücher", "{192.0.2.0}/bücher.example/bücher".encode()),
        ("bücher@example.com", "ü@example.org",
         "{192.0.2.0}/bücher@example.com/ü@example.org".encode()),
    ],
)  # fmt: skip
def test_other_keys_are_what_they_were(sender: str, recipient: str, triplet: bytes) -> None:
    found = request_keys(CLIENT, sender.encode(), recipient.encode(), Settings())
    assert found.triplet == triplet


def test_an_ascii_key_of_a_hashed_store_is_what_it_was() -> None:
    # The SHA-1 of 192.0.2.0/info@example.com/bob@example.org, as postgrey stores it.
    found = request_keys(CLIENT, b"info@example.com", b"bob@example.org", Settings(privacy=True))
    assert found.triplet == b"/74c2a3e785545d170d53bd4ce7ffeb556ea21bd8"


def test_a_hash_without_a_secret_is_that_of_postgrey_for_internationalised_domains_too() -> None:
    sender, recipient = "a@bücher.example".encode(), "ü@münchen.example".encode()
    found = request_keys(CLIENT, sender, recipient, Settings(privacy=True))
    text = b"192.0.2.0/" + sender + b"/" + recipient
    assert found.triplet == b"/" + hashlib.sha1(text).hexdigest().encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("other", FORMS)
def test_expected_mail_passes_in_either_form(form: str, other: str) -> None:
    for settings in SETTINGS:
        for recipient in (f"ünal@{form}", f"@{form}"):
            window = ExpectWindow(window_key(recipient, settings), "xn--bcher-kva.example", 100)
            expected = ExpectedMail([window], settings)
            mail = (f"info@mail.{other}".encode(), f"ünal@{other}".encode())
            assert expected.windows_for(*mail, 50)
            assert not expected.windows_for(b"info@example.com", mail[1], 50)
            assert not expected.windows_for(mail[0], b"bob@example.org", 50)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stored", FORMS)
def test_entries_are_selected_in_either_form(form: str, stored: str) -> None:
    now = 1_700_000_000
    sender, recipient = f"info@{stored}".encode(), f"bob@{stored}".encode()
    current = request_keys(CLIENT, sender, recipient, Settings()).triplet
    # Version 0.1.0 stored the domain as the client sent it.
    for key in (current, (b"{192.0.2.0}/" + sender + b"/" + recipient).lower()):
        entry = interpret(Record(key, b"%d" % now, 60), now, Settings())
        assert entry is not None
        for text in (f"info@{form}", form, f"@{form}", f"<info@{form}>"):
            assert parse_selection(None, text, None).matches(entry, Settings())
        for text in (f"bob@{form}", form, f"@{form}"):
            assert parse_selection(None, None, text).matches(entry, Settings())
        assert not parse_selection(None, f"bob@{form}", None).matches(entry, Settings())
        assert not parse_selection(None, "info@bucher.example", None).matches(entry, Settings())


@pytest.mark.parametrize("form", FORMS)
def test_a_client_is_selected_by_either_form_of_its_name(form: str) -> None:
    identity = keys("info@example.com", "bob@example.org", Settings()).identities[0].identity
    entry = interpret(Record(identity, b"7,1700000000,1", 60), 1_700_000_000, Settings())
    assert entry is not None
    assert parse_selection(form, None, None).matches(entry, Settings())
