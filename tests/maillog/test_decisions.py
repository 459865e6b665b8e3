"""Decisions are parsed from every form of a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.escaping import percent_encode
from greyd.maillog.decisions import LoggedDecision, parse_decision
from greyd.rules.request import Request

if TYPE_CHECKING:
    from pathlib import Path
from tests.maillog.logs import NEW, NOON, logged_by_greyd, read, written


@pytest.mark.parametrize(
    ("prefix", "when"),
    [
        (b"Nov 24 12:00:00 mx1 greyd[7]: ", NOON),
        (b"Nov  4 12:00:00 mx1 postgrey[7]: ", NOON - 20 * 86400),
        (b"Nov 24 12:00:00.250000 mx1 greyd[7]: ", NOON + 0.25),
        (b"2026-11-24T13:00:00.5+01:00 mx1 greyd[7]: ", NOON + 0.5),
        (b"2026-11-24T12:00:00+0000 mx1 greyd: ", NOON),
        (b"2026-11-24T12:00:00.123456789Z ", NOON + 0.123456789),
        (b"", 0.0),
        (b"4XyzAb3kJQz1: ", 0.0),
        (b"Nov 24 12:00:00 mx1 greyd[7]: 0A1B2C3D4E: ", NOON),
    ],
)
def test_a_decision_is_parsed_after_every_usual_head(
    tmp_path: Path, prefix: bytes, when: float
) -> None:
    (decision,) = read(written(tmp_path, prefix + NEW))
    assert decision.when == pytest.approx(when)
    assert decision == LoggedDecision(
        when=decision.when,
        action="greylist",
        reason="new",
        detail="",
        delay_seconds=None,
        client_name=b"mx.example.com",
        client_address=b"192.0.2.7",
        sender=b"alice@example.com",
        recipient=b"bob@example.org",
        queue_id=decision.queue_id,
        identity=b"",
        signals=b"",
    )


def test_lines_that_are_no_decisions_are_skipped(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        b"Nov 24 12:00:00 mx1 postfix/smtpd[1]: connect from mx.example.com[192.0.2.7]",
        b"Nov 24 12:00:00 mx1 greyd[7]: whitelisted: mx.example.com[192.0.2.7]",
        b"Nov 24 12:00:00 mx1 other[7]: it said " + NEW,
        b"",
        b"Nov 24 12:00:01 mx1 greyd[7]: " + NEW,
    )
    assert [each.when for each in read(path)] == [NOON + 1]


@pytest.mark.parametrize(
    ("text", "reason", "detail", "missing", "delay"),
    [
        (b"early-retry (38s missing)", "early-retry", "38s missing", 38, None),
        (b"learning (early-retry (9s missing))", "learning", "early-retry (9s missing)", 9, None),
        (b"triplet found, delay=312", "triplet found", "", None, 312),
        (b"client AWL", "client AWL", "", None, None),
    ],
)
def test_reason_detail_and_delay_are_separate(
    text: bytes, reason: str, detail: str, missing: int | None, delay: int | None
) -> None:
    line = b"action=pass, reason=" + text + b", client_address=::1, recipient=bob@example.org"
    decision = parse_decision(NOON, line)
    assert decision is not None
    assert (decision.reason, decision.detail) == (reason, detail)
    assert (decision.missing_seconds, decision.delay_seconds) == (missing, delay)
    assert (decision.client_address, decision.sender) == (b"::1", b"")


@pytest.mark.parametrize("sender", [b"a, recipient=x@y.z", b'"a, client_name=b"@c', b"a=b, c, =d"])
def test_a_sender_cannot_forge_another_part_of_the_line(sender: bytes) -> None:
    text = NEW.replace(b"alice@example.com", sender) + b", identity=example.com, signals=no_ptr+x"
    decision = parse_decision(NOON, text)
    assert decision is not None
    assert decision.sender == sender
    assert decision.recipient == b"bob@example.org"
    assert (decision.identity, decision.signals) == (b"example.com", b"no_ptr+x")


@given(
    sender=st.binary(max_size=60),
    recipient=st.binary(max_size=60).filter(lambda data: b", " not in data),
    as_json=st.booleans(),
)
def test_every_line_that_greyd_logs_is_parsed_back(
    sender: bytes, recipient: bytes, as_json: bool
) -> None:
    request = Request(
        client_name=b"mx.example.com",
        client_address=b"192.0.2.7",
        sender=sender,
        recipient=b"<" + recipient,
        queue_id=b"0A1B2C3D4E",
    )
    decision = parse_decision(0.0, logged_by_greyd(request, as_json=as_json))
    assert decision is not None
    assert (decision.action, decision.reason) == ("greylist", "early-retry")
    assert (decision.detail, decision.delay_seconds) == ("38s missing", None)
    assert decision.client_address == b"192.0.2.7"
    assert decision.queue_id == b"0A1B2C3D4E"
    assert (decision.identity, decision.signals) == (b"example.com", b"no_ptr+helo_is_ours")
    if not (as_json and b"\\x" in sender + recipient):
        # JSON has a notation of its own for odd bytes, in which the two look alike.
        assert decision.sender == percent_encode(sender)
        assert decision.recipient == percent_encode(b"<" + recipient)


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_without_an_error(data: bytes) -> None:
    parse_decision(0.0, data)
    parse_decision(0.0, b"action=pass, reason=" + data)
    parse_decision(0.0, b'{"action": "pass", ' + data)
