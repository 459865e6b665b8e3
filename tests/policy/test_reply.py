"""From a decision to the action text: postgrey's, to the letter."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments
from greyd.policy.protocol import encode_reply
from greyd.policy.reply import STORE_AWAY, Replies
from greyd.rules.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "9.8.7"


def replies(**options: Any) -> Replies:
    return Replies.from_settings(Settings(**options), VERSION)


def greylisted(
    text: str, recipient: bytes | None = b"r@example.com", etrn: bytes | None = None, **more: Any
) -> bytes:
    request = Request(recipient=recipient, etrn_domain=etrn)
    return replies(greylist_text=text, **more).greylisted(request, 300)


def header(text: str, waited: int = 4321, clock: float = 0.0) -> bytes:
    return replies(header=text, hostname="gw.example.com").prepend_header(waited, clock)


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_default_is_what_postfix_s_users_know() -> None:
    request = Request(recipient=b"bob@example.org", etrn_domain=b"")
    assert replies().greylisted(request, 300) == (
        b"DEFER_IF_PERMIT 4.2.0 Greylisted, see http://postgrey.schweikert.ch/help/example.org.html"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%s %s %r %r", b"300 %s example.com %r"),
        ("%%s %%r %%", b"%300 %example.com %%"),
        ("%t %v %h %d %H", b"%t %v %h %d %H"),
        (r"a\nb $1 \1 \g<0>", rb"a\nb $1 \1 \g<0>"),
        ("100% sure", b"100% sure"),
        ("%r %s", b"example.com 300"),
        ("00", b"00"),
        ("ü %s", "ü 300".encode()),
    ],
)
def test_of_each_variable_the_first_is_replaced(text: str, expected: bytes) -> None:
    assert greylisted(text) == b"DEFER_IF_PERMIT " + expected


def test_the_seconds_are_those_still_to_wait() -> None:
    assert replies(greylist_text="%s").greylisted(Request(recipient=b""), 50).endswith(b" 50")


@pytest.mark.parametrize(
    ("recipient", "domain"),
    [
        (b"noat", b"noat"),
        (b"a@b@c.example", b"c.example"),
        (b"", b""),
        (b"a@", b""),
        (b"a@EXAMPLE.Com", b"EXAMPLE.Com"),
        (b"a@b.example ", b"b.example "),
        (b"a@b%s.example", b"b%s.example"),
        (b"a@b%r.example", b"b%r.example"),
        (b"a@b\\1.example", b"b\\1.example"),
        (b"a@\xc3\xbc.example", b"\xc3\xbc.example"),
    ],
)
def test_the_domain_is_what_follows_the_recipient_s_last_at_sign(
    recipient: bytes, domain: bytes
) -> None:
    assert greylisted("x %r", recipient) == b"DEFER_IF_PERMIT x " + domain


@pytest.mark.parametrize(
    ("etrn", "text", "expected"),
    [
        (None, "left", b"left"),
        (b"", "left", b"4.2.0 left"),
        (b"x", "left", b"4.2.0 left"),
        (b"", " 5 left", b"4.2.0  5 left"),
        (b"", "%s", b"4.2.0 300"),
        (b"", "4.7.1 left", b"4.7.1 left"),
        (b"", "5 left", b"5 left"),
        (b"", "4xx", b"4xx"),
        (None, "4.7.1 left", b"4.7.1 left"),
        (b"", "٤ left", b"4.2.0 " + "٤ left".encode()),
    ],
)
def test_a_status_code_is_put_before_a_text_without_one_where_postfix_knows_them(
    etrn: bytes | None, text: str, expected: bytes
) -> None:
    assert greylisted(text, etrn=etrn) == b"DEFER_IF_PERMIT " + expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("450", b"450 4.2.0 x"),
        ("defer", b"defer 4.2.0 x"),
        ("450 4.7.1", b"450 4.7.1 4.2.0 x"),
        (" x ", b" x  4.2.0 x"),
    ],
)
def test_the_action_is_used_as_it_is(action: str, expected: bytes) -> None:
    assert greylisted("x", etrn=b"", greylist_action=action) == expected


def test_debian_s_text_keeps_the_variable_that_postgrey_does_not_know() -> None:
    text = "Greylisted, see https://postgrey.schweikert.ch/help/%H.html"
    assert greylisted(text) == b"DEFER_IF_PERMIT " + text.encode()


# The header ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_utc")
def test_the_default_header_names_greyd_and_says_how_long() -> None:
    made = replies(hostname="mx.example.org").prepend_header(301, 1_795_401_749)
    assert made == (
        b"PREPEND X-Greylist: delayed 301 seconds by greyd-9.8.7 at mx.example.org;"
        b" Mon, 23 Nov 2026 02:42:29 UTC"
    )


@pytest.mark.usefixtures("in_berlin")
def test_the_date_is_in_the_host_s_time_zone() -> None:
    assert header("%d", clock=1_795_401_749) == b"PREPEND Mon, 23 Nov 2026 03:42:29 CET"


@pytest.mark.usefixtures("in_utc")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%t %v %h %d", b"4321 9.8.7 gw.example.com Thu, 01 Jan 1970 00:00:00 UTC"),
        ("%t %t", b"4321 %t"),
        ("%d|%d", b"Thu, 01 Jan 1970 00:00:00 UTC|%d"),
        ("%s %r", b"%s %r"),
        ("%%t", b"%4321"),
        ("foo", b"foo"),
    ],
)
def test_of_each_variable_in_the_header_the_first_is_replaced(text: str, expected: bytes) -> None:
    assert header(text) == b"PREPEND " + expected


def test_a_header_may_say_that_nothing_was_waited() -> None:
    assert header("%t", waited=0) == b"PREPEND 0"


@pytest.mark.parametrize("option", ["--greylist-text=0", "--greylist-action=0",
                                    "--x-greylist-header=0"])  # fmt: skip
def test_nought_gives_the_default_texts(option: str) -> None:
    given_, _ = from_arguments([option])
    assert Replies.from_settings(merge_settings(given_), VERSION) == replies()


# What a client controls ---------------------------------------------------------------------------

CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


@given(st.binary(max_size=80), st.none() | st.binary(max_size=5))
def test_no_control_character_of_a_request_gets_into_a_reply(
    recipient: bytes, etrn: bytes | None
) -> None:
    reply = greylisted("Wait %s, %r", recipient, etrn)
    assert not CONTROL.search(reply)
    assert encode_reply(reply).count(b"\n") == 2


@pytest.mark.parametrize("recipient", [b"a@b\n\naction=OK", b"a@b\r\n", b"a@\0\x1b[0m\x7f", b"\n"])
def test_a_recipient_can_t_end_the_reply_early(recipient: bytes) -> None:
    reply = encode_reply(greylisted("%r", recipient))
    assert reply.endswith(b"\n\n")
    assert not CONTROL.search(reply[:-2])


def test_a_recipient_that_is_absent_leaves_the_domain_empty() -> None:
    assert greylisted("at %r.", None) == b"DEFER_IF_PERMIT at ."


def test_a_store_that_is_away_is_a_temporary_failure_with_a_code_of_its_own() -> None:
    assert re.match(rb"DEFER_IF_PERMIT 4\.3\.0 ", STORE_AWAY)


def test_without_a_header_mail_that_has_waited_passes_unchanged() -> None:
    assert replies(header="").prepend_header(301, 1_795_401_749) == b"DUNNO"
