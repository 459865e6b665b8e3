"""One line of a mail log that tells of an attempt: greyd's, postgrey's, or Postfix's rejection.

Whatever stands before it (a date, a host, a program) does not matter. Octets that greyd has written
as ``%XX`` are read back.
"""

from __future__ import annotations

import json
import re

from greyd.maillog.decisions import parse_decision
from greyd.maillog.files import MailLogError

MAX_LOG_LINE_BYTES = 64 * 1024

# What stands before it is the program's; what a stranger sends comes after it.
_BEGIN = re.compile(rb"(?:[0-9A-Za-z]{5,30}: )?action=")
_REJECTION = re.compile(
    rb"reject: RCPT from (?P<client_name>[^\s\[]+)\[(?P<client_address>[0-9A-Fa-f.:]+)\]"
    rb".*; from=<(?P<sender>[^>]*)> to=<(?P<recipient>.*?)>"
    rb"(?: proto=\S+)?(?: helo=<(?P<helo_name>.*)>)?"
    rb"(?: sasl_username=(?P<sasl_username>\S+))?\s*\Z"
)
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


def read_log_line(text: str) -> dict[str, bytes]:
    """Return the attributes of the request that a line tells of.

    Raises:
        MailLogError: it is no line of that kind.
    """
    line = text.encode(errors="surrogateescape").strip()
    if len(line) <= MAX_LOG_LINE_BYTES:
        if around := _around(line):
            return read_log_line(around)
        if found := _REJECTION.search(line):
            return {name: value for name, value in found.groupdict().items() if value is not None}
        if attributes := _decision(line):
            return attributes
    raise MailLogError(
        "--log-line: no line of greyd's or postgrey's (action=…) and no rejection of Postfix's"
        " (reject: RCPT from …)"
    )


def _around(line: bytes) -> str | None:
    """Return the line that the journal or a container's log has wrapped in JSON."""
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
            return {
                "client_name": _plain(decision.client_name),
                "client_address": decision.client_address,
                "sender": _plain(decision.sender),
                "recipient": _plain(decision.recipient),
            }
    return None


def _plain(data: bytes) -> bytes:
    """Read back what greyd and postgrey write as ``%XX``: all but printable ASCII."""

    def byte(found: re.Match[bytes]) -> bytes:
        number = int(found[1], 16)
        return found[0] if 0x20 <= number < 0x7F else bytes([number])

    return _ESCAPED.sub(byte, data)
