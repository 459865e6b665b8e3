"""Decisions are parsed from every form of a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.escaping import percent_encode
from greyd.maillog.decisions import LoggedDecision, parse_decision
from greyd.maillog.single_line import read_log_line
from greyd.rules.evidence import Evidence, ProvenIdentity
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


_NAMES = [
    b"mail.example.com", b"[192.0.2.7]", b"[IPv6:2001:db8::1]", b"", b"UNKNOWN", b"_x-1.example",
    b"a, recipient=victim@example.org", b"a, sender=b@example.net, recipient=c@example.net",
    b"a, signals=no_ptr", b"x, identity=example.com", b"a=b", b", helo=other", b"a b\tc",
    b"%41%2C", b"\x00\x07\x1b[31m", b"b\xc3\xbccher.example", b"\xff\xfe", b'"quoted"',
    b"a+b\\xfc", b"a" * 512,
]  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("helo_name", _NAMES)
@pytest.mark.parametrize("reverse_client_name", [*_NAMES[:2], *_NAMES[-9:], None])
def test_no_name_of_a_client_can_forge_another_part_of_the_line(
    helo_name: bytes, reverse_client_name: bytes | None, as_json: bool
) -> None:
    request = Request(
        client_name=b"unknown",
        client_address=b"192.0.2.7",
        sender=b"alice@example.com",
        recipient=b"bob@example.org",
        helo_name=helo_name,
        reverse_client_name=reverse_client_name,
    )
    line = logged_by_greyd(request, as_json=as_json)
    decision = parse_decision(0.0, line)
    assert decision is not None
    assert (decision.helo_name, decision.reverse_client_name) == (helo_name, reverse_client_name)
    assert (decision.sender, decision.recipient) == (b"alice@example.com", b"bob@example.org")
    assert (decision.identity, decision.signals) == (b"example.com", b"no_ptr+helo_is_ours")
    assert all(0x20 <= byte < 0x7F for byte in line.rstrip(b"\n"))
    attributes = dict(read_log_line(line.decode()).attributes)
    assert attributes.get("helo_name") == helo_name
    assert attributes.get("reverse_client_name") == reverse_client_name


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        (Evidence(), (b"", b"", b"", b"", b"")),
        (Evidence(signals=("no_ptr",), unsure=True), (b"", b"", b"no_ptr", b"late", b"")),
        (Evidence(resolver_off=True), (b"", b"", b"", b"off", b"")),
        (
            Evidence(
                identities=(
                    ProvenIdentity(b"example.com", "spf", True),
                    ProvenIdentity(b"example.net", "name", False),
                ),
                sources_off=("zen.example.org", "dbl.example.org"),
            ),
            (b"example.com", b"example.net", b"", b"", b"zen.example.org+dbl.example.org"),
        ),
    ],
)
@pytest.mark.parametrize(
    "names",
    [
        {},
        {"helo_name": b"pc", "reverse_client_name": b"x.example"},
        {"helo_name": b"pc", "protocol_name": b"SMTP"},
        {"helo_name": b"pc", "reverse_client_name": b"unknown", "protocol_name": b"SMTP"},
    ],
)
def test_the_evidence_of_a_decision_is_read_back(
    evidence: Evidence, expected: tuple[bytes, ...], names: dict[str, bytes], as_json: bool
) -> None:
    request = Request(
        client_name=b"unknown", client_address=b"::1", sender=b"", recipient=b"bob@example.org",
        **names,
    )  # fmt: skip
    decision = parse_decision(0.0, logged_by_greyd(request, as_json=as_json, evidence=evidence))
    assert decision is not None
    assert decision.recipient == b"bob@example.org"
    assert decision.helo_name == names.get("helo_name")
    assert decision.reverse_client_name == names.get("reverse_client_name")
    assert decision.protocol_name == names.get("protocol_name")
    assert expected == (
        decision.identity, decision.other_identities, decision.signals, decision.dns,
        decision.dns_off,
    )  # fmt: skip


@pytest.mark.parametrize("field", ["helo", "reverse_client_name", "identity", "dns_off", "x"])
def test_a_recipient_cannot_forge_a_field_of_a_line_that_has_none(field: str) -> None:
    recipient = b'"a, %b=x"@example.org' % field.encode()
    line = NEW.replace(b"bob@example.org", recipient)
    decision = parse_decision(NOON, line)
    assert decision is not None
    assert (decision.recipient, decision.helo_name, decision.identity) == (recipient, None, b"")


@pytest.mark.parametrize("recipient", [b"a, helo=x", b"a, signals=x", b"a, identity=b, dns=late"])
def test_a_recipient_cannot_forge_the_fields_after_it(recipient: bytes) -> None:
    request = Request(
        client_name=b"mx.example.com",
        client_address=b"192.0.2.7",
        sender=b"alice@example.com",
        recipient=recipient,
        helo_name=b"mx.example.com",
    )
    decision = parse_decision(0.0, logged_by_greyd(request, as_json=False))
    assert decision is not None
    assert (decision.recipient, decision.helo_name) == (recipient, b"mx.example.com")


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_without_an_error(data: bytes) -> None:
    parse_decision(0.0, data)
    parse_decision(0.0, b"action=pass, reason=" + data)
    parse_decision(0.0, b'{"action": "pass", ' + data)


@pytest.mark.parametrize(
    ("logged", "address"),
    [
        (b"192.0.2.7", b"192.0.2.7"),
        (b"192.0.2.7/32", b"192.0.2.7"),
        (b"2001:db8::7", b"2001:db8::7"),
        (b"2001:db8::7/128", b"2001:db8::7"),
        (b"", b""),
    ],
)
def test_the_prefix_length_of_a_client_address_is_removed(logged: bytes, address: bytes) -> None:
    line = NEW.replace(b"192.0.2.7", logged)
    decision = parse_decision(NOON, line)
    assert decision is not None
    assert (decision.client_address, decision.recipient) == (address, b"bob@example.org")
    as_json = json.dumps(
        {"action": "pass", "reason": "new", "client_address": logged.decode()}
    ).encode()
    decision = parse_decision(NOON, as_json)
    assert decision is not None
    assert decision.client_address == address
