"""One line of a mail log that tells of an attempt: greyd's, postgrey's, or Postfix's rejection.

Whatever stands before it (a date, a host, a program) does not matter. Octets that greyd has written
as ``%XX`` are read back.
"""

from __future__ import annotations

import json
import re

from greyd.admin import AdminError

MOST_OCTETS = 64 * 1024

# A stranger chooses the sender: the last ", recipient=" is greyd's own.
_DECISION = re.compile(
    rb"action=(?:pass|greylist), reason=.*?"
    rb"(?:, client_name=(?P<client_name>[^,]*))?, client_address=(?P<client_address>[^,\s]*)"
    rb"(?:, sender=(?P<sender>.*(?=, recipient=)|.*?))?(?:, recipient=(?P<recipient>.*?))?"
    rb"(?:, identity=[^ ,]+)?(?:, signals=[a-z0-9_+]+)?(?:, dns=late)?\s*\Z"
)
_REJECTION = re.compile(
    rb"reject: RCPT from (?P<client_name>[^\s\[]+)\[(?P<client_address>[0-9A-Fa-f.:]+)\]"
    rb".*; from=<(?P<sender>[^>]*)> to=<(?P<recipient>.*?)>"
    rb"(?: proto=\S+)?(?: helo=<(?P<helo_name>.*)>)?"
    rb"(?: sasl_username=(?P<sasl_username>\S+))?\s*\Z"
)
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


def read_line(text: str) -> dict[str, bytes]:
    """Return the attributes of the request that a line tells of.

    Raises:
        AdminError: it is no line of that kind.
    """
    line = text.encode(errors="surrogateescape").strip()
    if len(line) <= MOST_OCTETS:
        if (event := _json_in(line)) is not None:
            return event
        if found := _DECISION.search(line):
            return {name: _plain(value or b"") for name, value in found.groupdict().items()}
        if found := _REJECTION.search(line):
            return {name: value for name, value in found.groupdict().items() if value is not None}
    raise AdminError(
        "--log-line: no line of greyd's or postgrey's (action=…) and no rejection of Postfix's"
        " (reject: RCPT from …)"
    )


def _json_in(line: bytes) -> dict[str, bytes] | None:
    """Return what an object of JSON tells: greyd's own, or the journal's around a line."""
    try:
        event = json.loads(line[line.index(b"{") :])
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    for name in ("MESSAGE", "log"):
        if isinstance(event.get(name), str):
            return read_line(event[name])
    if "action" not in event or "client_address" not in event:
        return None
    names = ("client_name", "client_address", "sender", "recipient")
    return {name: _octets(event.get(name)) for name in names}


def _octets(value: object) -> bytes:
    """Return what greyd's JSON tells of an attribute; one that was empty is left out there."""
    if not isinstance(value, str):
        return b""
    text = re.sub(r"\\x([89a-f][0-9a-f])", lambda found: chr(0xDC00 + int(found[1], 16)), value)
    return text.encode(errors="surrogateescape")


def _plain(octets: bytes) -> bytes:
    """Read back what greyd and postgrey write as ``%XX``: all but printable ASCII."""

    def octet(found: re.Match[bytes]) -> bytes:
        number = int(found[1], 16)
        return found[0] if 0x20 <= number < 0x7F else bytes([number])

    return _ESCAPED.sub(octet, octets)
