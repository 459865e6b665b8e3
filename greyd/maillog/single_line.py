"""Reads the request behind one log line: a decision of greyd or postgrey, or Postfix's rejection.

A date, a host and a program at the beginning are ignored. ``%XX`` escapes are decoded.
"""

from __future__ import annotations

import json
import re

from greyd.maillog.decisions import parse_decision
from greyd.maillog.errors import MailLogError

MAX_LOG_LINE_BYTES = 64 * 1024

# The first match is the program's own text: text that the client sent comes after it.
_BEGIN = re.compile(rb"(?:[0-9A-Za-z]{5,30}: )?action=")
_REJECTION = re.compile(
    rb"reject: RCPT from (?P<client_name>[^\s\[]+)\[(?P<client_address>[0-9A-Fa-f.:]+)\]"
    rb".*; from=<(?P<sender>[^>]*)> to=<(?P<recipient>.*?)>"
    rb"(?: proto=\S+)?(?: helo=<(?P<helo_name>.*)>)?"
    rb"(?: sasl_username=(?P<sasl_username>\S+))?\s*\Z"
)
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


def read_log_line(text: str) -> dict[str, bytes]:
    """Return the attributes of the request that a line reports.

    Raises:
        MailLogError: the line contains neither a decision nor a rejection by Postfix.
    """
    line = text.encode(errors="surrogateescape").strip()
    if len(line) <= MAX_LOG_LINE_BYTES:
        if inner := _unwrap(line):
            return read_log_line(inner)
        if found := _REJECTION.search(line):
            return {name: value for name, value in found.groupdict().items() if value is not None}
        if attributes := _decision(line):
            return attributes
    raise MailLogError(
        "--log-line: expected a line of greyd or postgrey (action=…), or a rejection by Postfix"
        " (reject: RCPT from …)"
    )


def _unwrap(line: bytes) -> str | None:
    """Return the line inside the JSON of the journal or of a container's log, if any."""
    try:
        event = json.loads(line[line.index(b"{") :])
    except (ValueError, RecursionError):
        return None
    wrapped = (event.get("MESSAGE") or event.get("log")) if isinstance(event, dict) else None
    return wrapped if isinstance(wrapped, str) else None


def _decision(line: bytes) -> dict[str, bytes] | None:
    begin = _BEGIN.search(line)
    places = [line.find(b"{"), begin.start() if begin else -1]
    for place in places:
        decision = parse_decision(0, line[place:]) if place >= 0 else None
        if decision is not None and decision.client_address:
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
            return attributes
    return None


def _decode(data: bytes) -> bytes:
    """Decode the ``%XX`` escapes that greyd and postgrey write for non-printable bytes."""

    def byte(found: re.Match[bytes]) -> bytes:
        number = int(found[1], 16)
        return found[0] if 0x20 <= number < 0x7F else bytes([number])

    return _ESCAPED.sub(byte, data)
