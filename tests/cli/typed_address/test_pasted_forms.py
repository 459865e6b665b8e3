"""Addresses as directories, queues, mail headers and spreadsheets write them."""

from __future__ import annotations

import pytest

from greyd.cli.errors import CommandError
from greyd.cli.typed_address import options
from greyd.cli.typed_address.decoration import NotUnderstoodError
from greyd.cli.typed_address.forms import MailAddress, NullSender, recognise

BOB = MailAddress(b"bob", b"example.org")


@pytest.mark.parametrize(
    "text",
    [
        # comments beside the @ (RFC 5322), and spaces
        "bob(comment)@example.org", "bob@(comment)example.org", "bob (work) @example.org",
        "<bob(x)@example.org>", "bob @ example.org", "bob@example.org (Bob Smith)",
        # directories and protocols
        "SMTP:bob@example.org", "smtp:bob@example.org", "sip:bob@example.org",
        "xmpp:bob@example.org", "acct:bob@example.org",
        # groups, columns, lists
        "Friends: bob@example.org;", "A1: bob@example.org", "Kontakt: <bob@example.org>",
        "Sent to: bob@example.org.", "1. bob@example.org", "12) bob@example.org,",
        # escapes of web addresses
        "bob%40example.org", "mailto:bob%40example.org",
    ],
)  # fmt: skip
def test_an_address_is_read_in_the_forms_of_other_programs(text: str) -> None:
    assert recognise(text) == BOB


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Friends: bob@example.org, alice@example.org;", "several addresses"),
        ("1. bob@example.org 2. alice@example.org", "several addresses|not a mail address"),
        ("undisclosed-recipients:;", "group without addresses"),
        ("Undisclosed recipients: ;", "group without addresses"),
        ("192.0.2.0-255", "range of addresses; write networks"),
        ("192.0.2.0-192.0.2.255", "range of addresses"),
        ("2001:db8::1-2001:db8::9", "range of addresses"),
        ("0xC0000207", "a number, not an address"),
        ("192.519", "not a valid IP address"),
        ("-", "not an address"),
    ],
)
def test_what_would_match_nothing_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(NotUnderstoodError, match=reason):
        recognise(text)


@pytest.mark.parametrize(
    "text",
    [
        "smtp.bob@example.org", "bob%example.org@relay.example", "bob%40x@example.org",
        "relay!bob@example.org", "1.bob@example.org", "sip-bob@example.org",
        '"bob(x)"@example.org',
    ],
)  # fmt: skip
def test_a_local_part_that_looks_like_a_prefix_stays(text: str) -> None:
    found = recognise(text)
    assert isinstance(found, MailAddress)
    assert found.text.decode() == text.replace('"', "")


@pytest.mark.parametrize("text", ["MAILER-DAEMON", "mailer-daemon", "<MAILER-DAEMON>", "<>"])
def test_the_null_sender_of_postfixs_queues_is_that_of_bounces(text: str) -> None:
    assert options.read_sender(text, "--sender") == b""
    assert options.read_sender_or_domain(text, "--sender") == NullSender()
    if text != "<>":
        assert options.read_recipient(text, "--recipient") == b"mailer-daemon"
    with pytest.raises(CommandError):
        options.read_domain(text, "--domain")
