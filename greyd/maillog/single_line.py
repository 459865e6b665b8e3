"""Reads the request behind one log line: a decision of greyd or postgrey, or a rejection.

A date, a host and a program at the beginning are ignored. ``%XX`` escapes are decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.maillog.decisions import parse_decision
from greyd.maillog.errors import MailLogError
from greyd.maillog.lines import parse_json_object
from greyd.maillog.rejections import parse_rejection
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.maillog.decisions import LoggedDecision

MAX_LOG_LINE_BYTES = 16 * 1024

UNKNOWN_LOGIN = b"(not logged)"
"""Stands for the login of a request whose decision shows that the client had one."""

_MAX_WRAPPERS = 3
"""How many times a line may be wrapped in JSON, e.g. by the journal and by a container."""

# The first match is the program's own text: text that the client sent comes after it.
_BEGIN = re.compile(rb"(?:[0-9A-Za-z]{5,30}: )?action=")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """The request behind a log line."""

    attributes: Mapping[str, bytes]
    """The attributes of the policy request that the line contains."""
    is_complete: bool = False
    """Whether the line has all names of the client that the request had."""
    decision: LoggedDecision | None = None
    """The decision in the line; None for a rejection by the mail server."""


def read_log_line(text: str) -> LoggedRequest:
    """Return the request that a line reports.

    Raises:
        MailLogError: the line contains neither a decision nor a rejection by Postfix or Exim.
    """
    line = text.encode(errors="surrogateescape").strip()
    if len(line) <= MAX_LOG_LINE_BYTES:
        for _ in range(_MAX_WRAPPERS):
            if (inner := _unwrap(line)) is None:
                break
            line = inner.strip()
        rejection, (place, decision) = parse_rejection(line), _decision(line)
        # The text that begins first is the program's own; the client chooses the addresses.
        if rejection and (decision is None or rejection.place < place):
            return LoggedRequest(rejection.attributes, rejection.is_complete)
        if decision is not None:
            # greyd logs the HELO name and what else it got, or neither.
            has_names = decision.helo_name is not None
            return LoggedRequest(_attributes(decision), has_names, decision)
    raise MailLogError(
        "--log-line: expected a line of greyd or postgrey (action=…), or a rejection by Postfix"
        " (reject: RCPT from …) or Exim (H=… rejected RCPT …)"
    )


def _unwrap(line: bytes) -> bytes | None:
    """Return the line inside the JSON of the journal or of a container's log, if any."""
    event = parse_json_object(line[line.find(b"{") :]) if b"{" in line else None
    wrapped = event and (event.get("MESSAGE") or event.get("log"))
    if isinstance(wrapped, list):
        # The journal's form for text that is not UTF-8.
        return bytes(each for each in wrapped if type(each) is int and 0 <= each < 256)
    return wrapped.encode(errors="replace") if isinstance(wrapped, str) else None


def _decision(line: bytes) -> tuple[int, LoggedDecision | None]:
    """Return the decision in a line, and where it begins; None if there is none."""
    begin = _BEGIN.search(line)
    for place in (line.find(b"{"), begin.start() if begin else -1):
        decision = parse_decision(0, line[place:]) if place >= 0 else None
        if decision is not None and decision.client_address:
            return place, decision
    return -1, None


def _attributes(decision: LoggedDecision) -> dict[str, bytes]:
    attributes = {
        "client_name": _decode(decision.client_name),
        "client_address": decision.client_address,
        "sender": _decode(decision.sender),
        "recipient": _decode(decision.recipient),
    }
    if decision.helo_name is not None:
        attributes["helo_name"] = decision.helo_name
    if decision.reverse_client_name is not None:
        attributes["reverse_client_name"] = decision.reverse_client_name
    if decision.protocol_name is not None:
        attributes["protocol_name"] = decision.protocol_name
    # The log has neither the login nor the context, but the reason shows that there was one.
    if decision.reason == Reason.AUTHENTICATED.text:
        attributes["sasl_username"] = UNKNOWN_LOGIN
    elif decision.reason == Reason.OUTBOUND.text:
        # Without a detail, the login was one that may use the sender.
        login = UNKNOWN_LOGIN if decision.detail else attributes["sender"]
        attributes |= {"sasl_username": login, "policy_context": b"outbound"}
    return attributes


def _decode(data: bytes) -> bytes:
    """Decode the ``%XX`` escapes that greyd and postgrey write for non-printable bytes."""

    def byte(found: re.Match[bytes]) -> bytes:
        number = int(found[1], 16)
        return found[0] if 0x20 <= number < 0x7F else bytes([number])

    return _ESCAPED.sub(byte, data)
