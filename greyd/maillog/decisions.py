"""Parses the decisions in log lines of greyd and postgrey."""

from __future__ import annotations

import re
from dataclasses import dataclass

from greyd.escaping import decode_name, percent_encode
from greyd.maillog.json_lines import parse_json_object
from greyd.maillog.times import parse_iso_time


@dataclass(slots=True)
class LoggedDecision:
    """A decision of greyd or postgrey; bytes other than printable ASCII are written as ``%XX``.

    Not frozen: creating a million frozen records takes a fifth longer.
    """

    when: float
    """Unix time; 0 if the line has no date."""
    action: str
    """``pass`` or ``greylist``."""
    reason: str
    """The reason, without the part in parentheses."""
    detail: str
    """The part in parentheses, e.g. ``38s missing``; empty if there is none."""
    delay_seconds: int | None
    """How long the mail had waited, if this is its first pass; otherwise None."""
    client_name: bytes
    client_address: bytes
    sender: bytes
    """Empty for a bounce."""
    recipient: bytes
    queue_id: bytes
    identity: bytes
    signals: bytes
    """Joined by ``+``."""
    helo_name: bytes | None = None
    """As received, without escapes; None if the line does not have it."""
    reverse_client_name: bytes | None = None
    """As received; None if the line does not have it, e.g. as it equals the client's name."""
    other_identities: bytes = b""
    """Joined by ``+``."""
    dns: bytes = b""
    """``late`` or ``off`` if DNS did not answer."""
    dns_off: bytes = b""
    """The DNS lists that were out of order, joined by ``+``."""
    protocol_name: bytes | None = None
    """``SMTP`` if the client sent HELO; None if the line does not have it, e.g. for EHLO."""

    @property
    def missing_seconds(self) -> int | None:
        """How many seconds too early a retry came; None if it is not an early retry."""
        missing = _MISSING.search(self.detail)
        return int(missing[1]) if missing else None


def parse_decision(when: float, text: bytes) -> LoggedDecision | None:
    """Return the decision in the text of a line; None if there is none."""
    if text[:1] == b"{":
        return _parse_json(when, text)
    text = text.rstrip()
    if not text[-1:].isalpha() or text[-2:-1] in (b"\\", b"^"):
        text = _without_junk(text)
    if (parts := _DECISION(text)) is None:
        return None
    (
        queue_id, action, reason, detail, delay, name, address, sender, recipient, helo, reverse,
        protocol, identity, others, signals, dns, dns_off,
    ) = parts.groups()  # fmt: skip
    return LoggedDecision(
        when,
        "pass" if action == b"pass" else "greylist",
        _reasons.get(reason) or _reason(reason),
        detail.decode("ascii", "replace") if detail else "",
        int(delay) if delay else None,
        name or b"",
        address or b"",
        sender or b"",
        # What follows the recipient in a wrapper only joins it if it is the last field.
        _address(recipient)
        if recipient and b'"' in text and parts.end(9) == parts.end()
        else recipient or b"",
        queue_id or b"",
        identity or b"",
        signals or b"",
        None if helo is None else decode_name(helo),
        None if reverse is None else decode_name(reverse),
        others or b"",
        dns or b"",
        dns_off or b"",
        protocol,
    )


def is_cut(decision: LoggedDecision, text: bytes) -> bool:
    """Whether a line lacks its end, e.g. as a terminal wrapped it, and so has no recipient."""
    return (
        decision.action == "greylist" and not text.startswith(b"{") and b", recipient=" not in text
    )


# The client chooses the sender, so only the last ", recipient=" is certainly greyd's own. The
# recipient ends where only fields that greyd appends follow; these contain neither quotes nor "@",
# so no recipient with a domain looks as if it had them. The pattern takes linear time.
_DECISION = re.compile(
    rb"(?:([0-9A-Za-z]{5,30}): )?action=(pass|greylist), reason=([^,(]{1,60}?)"
    rb"(?: \(([^,]{1,100})\))?(?:, delay=(-?[0-9]{1,12}))?"
    # Some versions of postgrey log the address with its prefix length: 192.0.2.7/32.
    rb"(?:, client_name=([^,]*))?(?:, client_address=([^,/]*)(?:/[0-9]{1,3})?)?"
    rb"(?:, sender=(.*(?=, recipient=)|.*?))?(?:, recipient=(.*?))?"
    rb"(?:, helo=([\w.:\[\]%-]*))?(?:, reverse_client_name=([\w.:\[\]%-]*))?(?:, protocol=(SMTP))?"
    rb'(?:, identity=([^ ,@"]+))?(?:, other_identities=([^ ,@"]+))?'
    rb"(?:, signals=([a-z0-9_+]+))?(?:, dns=(late|off))?"
    rb'(?:, dns_off=([^ ,@"]+))?\Z'
).match
_CLOSING_MARKS = b"\"'`}])>,;| \t\r"
_ends_with_escape = re.compile(
    rb"(?:[#\\]0[0-3][0-7]|\\x[01][0-9a-fA-F]|\\[nrt]|\^[A-Z]|</[a-z]{1,8})\Z"
).search
"""Matches an escaped control character, e.g. rsyslog's ``#015``, and the tag of a table's cell."""

_ADDRESS = re.compile(
    rb"((?:\"(?:[^\"\\]|\\.)*\"|[^@\"]*)@(?:\[[^\]\s]{1,60}\]|[\w.%\x80-\xff-]+))[\"'})>,;|\s\\\]]"
).match


def _without_junk(text: bytes) -> bytes:
    """Return a line's text without what follows it in a wrapper, e.g. ``"}`` or ``#015``."""
    own, size = text, -1
    while len(own) != size:
        size = len(own)
        own = own.rstrip(_CLOSING_MARKS)
        if escape := _ends_with_escape(own, max(len(own) - 10, 0)):
            own = own[: escape.start()]
    # The closing marks of a literal or a quoted name belong to the text.
    first = text[len(own) : len(own) + 1]
    if first == b"]" and own.rfind(b"[") > own.rfind(b"]"):
        return own + b"]"
    if first == b'"' and own.count(b'"') % 2:
        return own + b'"'
    return own


def _address(recipient: bytes) -> bytes:
    """Return a recipient without the fields that a table or another program appended."""
    found = _ADDRESS(recipient)
    return found[1] if found else recipient


_MISSING = re.compile(r"([0-9]{1,12})s missing")
_OUR_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")

_MAX_REASONS = 1000
_reasons: dict[bytes, str] = {}


def _reason(data: bytes) -> str:
    text = data.decode("ascii", "replace")
    if len(_reasons) < _MAX_REASONS:
        _reasons[data] = text
    return text


def _parse_json(when: float, text: bytes) -> LoggedDecision | None:
    event = parse_json_object(text[: text.rfind(b"}") + 1])
    # A tuple, because a value that has no hash is not in a set: it raises TypeError.
    if event is None or event.get("action") not in ("pass", "greylist"):
        return None
    reason, _, detail = _text(event.get("reason")).partition(" (")
    delay = event.get("delay")
    return LoggedDecision(
        when=when or parse_iso_time(event.get("time")),
        action=event["action"],
        reason=reason,
        detail=detail.removesuffix(")"),
        delay_seconds=delay if type(delay) is int else None,
        client_name=_bytes(event.get("client_name")),
        client_address=_bytes(event.get("client_address")).partition(b"/")[0],
        sender=_bytes(event.get("sender")),
        recipient=_bytes(event.get("recipient")),
        queue_id=_bytes(event.get("queue_id")),
        identity=_bytes(event.get("identity")),
        signals=_joined(event.get("signals")),
        helo_name=_name(event.get("helo")),
        reverse_client_name=_name(event.get("reverse_client_name")),
        other_identities=_joined(event.get("other_identities")),
        dns=_bytes(event.get("dns")),
        dns_off=_joined(event.get("dns_off")),
        protocol_name=_bytes(event.get("protocol")) or None,
    )


def _text(value: object) -> str:
    """Return a string of a JSON line without surrogates, which no encoding accepts."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _joined(values: object) -> bytes:
    """Return a list of a JSON line in the form of greyd's text lines: joined by ``+``."""
    return b"+".join(map(_bytes, values)) if isinstance(values, list) else b""


def _name(value: object) -> bytes | None:
    """Return the bytes of a name in a JSON line; None without one."""
    return decode_name(value.encode(errors="replace")) if isinstance(value, str) else None


def _bytes(value: object) -> bytes:
    """Convert a value of a JSON line to the form of greyd's text lines."""
    if not isinstance(value, str):
        return b""
    shown = _OUR_ESCAPE.sub(lambda found: f"%{found[1].upper()}", value)
    return percent_encode(shown.encode(errors="backslashreplace"))
