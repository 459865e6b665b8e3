"""Reads the request behind one log line: a decision of greyd or postgrey, or a rejection.

A date, a host and a program at the beginning are ignored. ``%XX`` escapes are decoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from greyd.maillog.dates import starts_with_date
from greyd.maillog.decisions import parse_decision
from greyd.maillog.errors import MailLogError
from greyd.maillog.heads import cleaned
from greyd.maillog.json_lines import parse_json_object, wrapped_lines
from greyd.maillog.rejections import parse_rejection
from greyd.maillog.sources.encodings import as_utf8, utf16_form
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greyd.maillog.decisions import LoggedDecision

MAX_LOG_LINE_BYTES = 16 * 1024

MAX_ROWS = 100
"""A line that a terminal wrapped into more rows is refused."""

UNKNOWN_LOGIN = b"(not logged)"
"""Stands for the login of a request whose decision shows that the client had one."""

_MAX_UNCERTAIN_BREAKS = 8
"""The number of line breaks for which both ways of joining a wrapped line are tried."""

_MAX_WRAPPERS = 3
"""How many times a line may be wrapped in JSON, e.g. by the journal and by a container."""

# The first match is the program's own text: text that the client sent comes after it.
_BEGIN = re.compile(rb"(?:[0-9A-Za-z]{5,30}: )?action=")
_MARK = re.compile(rb"action=|\"action\"|RCPT|last message repeated")
_REPEATED = re.compile(rb"message repeated [0-9]{1,9} times?: ?\[ ?")
_LAST_MESSAGE = re.compile(rb"last message repeated [0-9]")
_EARLIER = re.compile(rb"reject(?:_warning)?: (CONNECT|EHLO|HELO|MAIL|VRFY|ETRN|AUTH) from")
_ENDS_FIELD = re.compile(rb".*[,;]\s*\Z").match
_BEGINS_FIELD = re.compile(rb"(?:from|to|helo|F)=<|proto=").match
_CLOSING_QUOTE = re.compile(rb"\"(?=[,;\s]|\Z)")
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
    """Return the request that a line reports; a terminal may have wrapped the line.

    Raises:
        MailLogError: the text contains neither a decision nor a rejection by Postfix or Exim, or
            it contains several of them.
    """
    data = text.encode(errors="surrogateescape").strip()
    if len(data) > MAX_LOG_LINE_BYTES:
        raise MailLogError(f"--log-line: longer than {MAX_LOG_LINE_BYTES:,} bytes")
    data = cleaned(_from_utf16(data))
    rows = [row for each in data.splitlines() if (row := each.rstrip())]
    if len(rows) > MAX_ROWS or sum(_begins_line(each) for each in rows) > 1:
        raise MailLogError("--log-line: these are several lines; give one of them")
    requests = [request for line in _unwrapped(rows) if (request := _read(line))]
    if not requests:
        raise MailLogError(_refusal(data))
    # Of several ways to join the rows, prefer the one with the most attributes and fewest spaces.
    return max(requests, key=_field_count)


def _from_utf16(data: bytes) -> bytes:
    codec = utf16_form(data)
    return b"".join(as_utf8([data], codec)) if codec else data


def _begins_line(row: bytes) -> bool:
    """Whether a row begins with a date, and contains a whole request."""
    return starts_with_date(row) and _read(row) is not None


def _unwrapped(rows: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the lines that a terminal may have wrapped into rows, those with fewest spaces first.

    A terminal breaks lines anywhere. If it broke a line at a space, the copied text often lacks it.
    """
    if not rows:
        return
    if all(each.startswith(b">") for each in rows):
        # Quoted in a mail.
        rows = [each[1:].lstrip() for each in rows]
    first, rest = rows[0], [each.lstrip() for each in rows[1:]]
    before = [first, *rest][:-1]
    is_space = [_ENDS_FIELD(a) or _BEGINS_FIELD(b) for a, b in zip(before, rest, strict=True)]
    uncertain = [place for place, known in enumerate(is_space) if not known]
    uncertain = uncertain[:_MAX_UNCERTAIN_BREAKS]
    choices = product((False, True), repeat=len(uncertain))
    for chosen in sorted(choices, key=lambda each: each.count(True)):
        spaces = [bool(each) for each in is_space]
        for place, space in zip(uncertain, chosen, strict=True):
            spaces[place] = space
        line = first
        for row, space in zip(rest, spaces, strict=True):
            line += b" " + row if space else row
        yield line.strip()


def _field_count(request: LoggedRequest) -> int:
    """Return the number of a request's attributes, plus its decision's optional fields."""
    count = sum(1 for name, value in request.attributes.items() if value or name == "sender")
    decision = request.decision
    if decision is None:
        return count
    fields = (
        decision.detail, decision.delay_seconds, decision.identity, decision.other_identities,
        decision.signals, decision.dns, decision.dns_off, decision.queue_id,
    )  # fmt: skip
    return count + sum(1 for each in fields if each)


def _refusal(data: bytes) -> str:
    """Return why a text contains no request."""
    if _LAST_MESSAGE.search(data):
        return (
            "--log-line: this line only counts repetitions; give the line before it, which has the"
            " request"
        )
    if found := _EARLIER.search(data):
        return (
            f"--log-line: a rejection of {found[1].decode()} has no recipient; give a line with"
            " RCPT"
        )
    return (
        "--log-line: expected a line of greyd or postgrey (action=…), or a rejection by Postfix"
        " (reject: RCPT from …) or Exim (H=… rejected RCPT …)"
    )


def _read(text: bytes) -> LoggedRequest | None:
    """Return the request in one line; None if it has none."""
    line = text.strip()
    for _ in range(_MAX_WRAPPERS):
        if (inner := _unwrap(line)) is None:
            break
        line = inner.strip()
    line = cleaned(line)
    if repeated := _REPEATED.search(line):
        line = line[repeated.end() :].rstrip().removesuffix(b"]")
    rejection, (place, decision) = parse_rejection(line), _decision(line)
    # The first match is the program's own text; the client chooses what is in the addresses.
    if rejection and (decision is None or rejection.place < place):
        return LoggedRequest(rejection.attributes, rejection.is_complete)
    if decision is None:
        return None
    # greyd logs either the HELO name and all further attributes, or none of these.
    has_names = decision.helo_name is not None
    return LoggedRequest(_attributes(decision), has_names, decision)


def _unwrap(line: bytes) -> bytes | None:
    """Return the line inside the JSON of the journal or of a container's log, if any."""
    begin = line.find(b"{")
    event = parse_json_object(line[begin : line.rfind(b"}") + 1]) if begin >= 0 else None
    if event is None:
        return None
    texts = [each.text for each in wrapped_lines(event)]
    if {"action", "shadow"} & event.keys():
        return None
    return next((each for each in texts if _MARK.search(each)), None)


def _decision(line: bytes) -> tuple[int, LoggedDecision | None]:
    """Return the decision in a line, and where it begins; None if there is none."""
    begin, brace = _BEGIN.search(line), line.find(b"{")
    ends = ((brace, line.rfind(b"}") + 1), (begin.start() if begin else -1, len(line)))
    if (
        begin
        and line.count(b'"', 0, begin.start()) % 2
        and (closing := _CLOSING_QUOTE.search(line, begin.start()))
    ):
        line = line[: closing.start()]
    for place, end in ends:
        decision = parse_decision(0, line[place:end]) if place >= 0 else None
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
