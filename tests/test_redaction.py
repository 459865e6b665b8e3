"""Redaction of text that an administrator typed."""

from __future__ import annotations

import pytest

from greyd.redaction import redacted, without_list_keys


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abcdefghij.zen.dq.spamhaus.net", "….zen.dq.spamhaus.net"),
        ("--dnsbl=x=abcdefghij.zen.dq.spamhaus.net=3600", "--dnsbl=x=….zen.dq.spamhaus.net=3600"),
        ("ABCDEFGHIJ.black.mail.abusix.zone", "….black.mail.abusix.zone"),
        ("{key}.zen.dq.spamhaus.net", "{key}.zen.dq.spamhaus.net"),
        ("abcdefghij.example.com", "abcdefghij.example.com"),
        ("zen.dq.spamhaus.net", "zen.dq.spamhaus.net"),
    ],
)
def test_the_key_of_a_dns_list_is_not_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize("text", ["a", "a.", "abcdefgh.", "abcdefgh-", "a" * 70 + "."])
def test_long_text_takes_no_longer_than_its_length(text: str) -> None:
    # With a pattern that backtracks, this takes minutes.
    long = text * (300_000 // len(text))
    assert redacted(long) == long


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dnsbl=abcdefgh12.zen.dq.spamhaus.net=60", "dnsbl={key}.zen.dq.spamhaus.net=60"),
        (
            "a=1, rhsbl=x1234567.dbl.dq.spamhaus.net, b=2",
            "a=1, rhsbl={key}.dbl.dq.spamhaus.net, b=2",
        ),
        ("dnsbl={key}.zen.dq.spamhaus.net", "dnsbl={key}.zen.dq.spamhaus.net"),
        ("dnsbl=zen.spamhaus.org;weight=0.5", "dnsbl=zen.spamhaus.org;weight=0.5"),
        ("delay=60", "delay=60"),
    ],
)
def test_a_setting_is_shown_without_the_key_of_a_list(text: str, shown: str) -> None:
    assert without_list_keys(text) == shown
