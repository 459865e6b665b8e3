"""Lines of syslog, the journal and JSON logs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from greyd.maillog.times import HEAD, TimeParser, iso_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Find = Callable[[bytes, int], int]
    """Returns where in a block, from an index on, the next wanted line may be; -1 for nowhere."""


MAX_LINE_BYTES = 16 * 1024
"""Of a line; Postfix cuts its own at 2000."""

_MAX_ENTRY_BYTES = 1 << 20
"""Octets of a journal's entry, with all of its fields."""


class LogLine(NamedTuple):
    """A line of the log."""

    when: float
    """Seconds since the epoch; 0 where the line has no date."""
    program: bytes
    """Such as ``greyd`` or ``postfix/smtpd``; empty where the line does not say."""
    text: bytes


@dataclass
class ReadStatistics:
    """What was read."""

    bytes_read: int = 0
    """As they stand in the files, compressed or not."""
    too_long: int = 0
    """Lines left out."""
    on_bytes: Callable[[int], None] = lambda _: None
    """Is told of octets as they are read."""


def json_in(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a text is; None for anything else."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


# Lines ------------------------------------------------------------------------------------------


def text_lines(
    pieces: Iterable[bytes], find: Find, clock: TimeParser, tally: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the lines of text, or of JSON."""
    for block in _whole_lines(pieces, tally):
        place = find(block, 0)
        while place >= 0:
            start = block.rfind(b"\n", 0, place) + 1
            end = block.find(b"\n", place)
            if end - start > MAX_LINE_BYTES:
                tally.too_long += 1
            else:
                yield _line(block[start:end], clock)
            place = find(block, end)


def _whole_lines(pieces: Iterable[bytes], tally: ReadStatistics) -> Iterator[bytes]:
    """Yield blocks that end with a line's end; too long a line is left out."""
    rest, skipping = b"", False
    for piece in pieces:
        # The end of a line that was too long.
        start = piece.find(b"\n") + 1 if skipping else 0
        if skipping and not start:
            continue
        skipping = False
        if cut := piece.rfind(b"\n", start) + 1:
            yield rest + piece[start:cut]
            rest = piece[cut:]
        else:
            rest += piece[start:]
        if len(rest) > MAX_LINE_BYTES:
            tally.too_long += 1
            rest, skipping = b"", True
    if rest:
        yield rest + b"\n"


def _line(text: bytes, clock: TimeParser) -> LogLine:
    """Return a line; where it has neither date nor program, all of it is text."""
    if text[:1] == b"{":
        return _line_of_json(text)
    if (head := HEAD(text)) is None:
        return LogLine(0.0, b"", text)
    minute, second, fraction, zone, program = head.groups()
    when = clock.time_of(minute, second, fraction, zone)
    return LogLine(when, program or b"", text[head.end() :])


def _line_of_json(text: bytes) -> LogLine:
    """Return the line that the journal, Docker or greyd itself has put into JSON."""
    event = json_in(text) or {}
    if "MESSAGE" in event:
        message, program = event["MESSAGE"], event.get("SYSLOG_IDENTIFIER")
        micros = str(event.get("__REALTIME_TIMESTAMP", ""))
        when = int(micros) / 1e6 if micros.isascii() and micros.isdigit() else 0.0
        return LogLine(when, _encoded(program), _encoded(message))
    if "log" in event:
        return LogLine(iso_time(event.get("time")), b"", _encoded(event["log"]).rstrip())
    return LogLine(iso_time(event.get("time")), b"", text)


def _encoded(value: object) -> bytes:
    """Return text of JSON; the journal gives as a list of numbers what is not UTF-8."""
    if isinstance(value, list):
        return bytes(each for each in value if type(each) is int and 0 <= each < 256)
    return value.encode(errors="backslashreplace") if isinstance(value, str) else b""


EXPORT = b"__CURSOR="
_MESSAGE = re.compile(rb"^MESSAGE=(.*)$", re.MULTILINE)
_IDENTIFIER = re.compile(rb"^SYSLOG_IDENTIFIER=(.*)$", re.MULTILINE)
_MICROSECONDS = re.compile(rb"^__REALTIME_TIMESTAMP=([0-9]{1,18})$", re.MULTILINE)
_BINARY = re.compile(rb"^[A-Z0-9_]{1,64}\n", re.MULTILINE)


def journal_lines(
    pieces: Iterable[bytes], find: Find, _: TimeParser, tally: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the messages of ``journalctl -o export``."""
    for entry in _entries(pieces, tally):
        if find(entry, 0) >= 0 and (message := _MESSAGE.search(entry)):
            when, program = _MICROSECONDS.search(entry), _IDENTIFIER.search(entry)
            yield LogLine(
                int(when[1]) / 1e6 if when else 0.0, program[1] if program else b"", message[1]
            )


def _entries(pieces: Iterable[bytes], tally: ReadStatistics) -> Iterator[bytes]:
    """Yield the journal's entries, without their fields of odd octets; none holds a decision."""
    rest = b""
    for piece in pieces:
        rest += piece
        start = 0
        while found := _entry_at(rest, start):
            entry, start = found
            yield entry
        rest = rest[start:]
        if len(rest) > _MAX_ENTRY_BYTES:
            # Lost until the next one begins.
            tally.too_long += 1
            place = rest.rfind(b"\n\n" + EXPORT)
            rest = rest[place + 2 :] if place >= 0 else rest[-len(EXPORT) - 2 :]
    if _MICROSECONDS.search(rest):
        yield rest


def _entry_at(data: bytes, start: int) -> tuple[bytes, int] | None:
    """Return the entry at a place and where the next begins; None where it is not all there.

    A field of odd octets has no ``=``, but a line's end, its length in eight octets and as many.
    """
    parts, place = [], start
    while (end := data.find(b"\n\n", place)) >= 0:
        odd = _BINARY.search(data, place, end + 1)
        if odd is None:
            parts.append(data[place:end])
            return b"".join(parts), end + 2
        parts.append(data[place : odd.start()])
        size = int.from_bytes(data[odd.end() : odd.end() + 8], "little")
        place = odd.end() + 8 + size
        if place >= len(data):
            return None
    return None


_DATED_LINES = 100


def first_time(head: bytes, clock: TimeParser) -> float:
    """Return the first time in what a file begins with; 0 for none."""
    if head.startswith(EXPORT):
        found = _MICROSECONDS.search(head)
        return int(found[1]) / 1e6 if found else 0.0
    times = (_line(each, clock).when for each in head.split(b"\n")[:_DATED_LINES])
    return next(filter(None, times), 0.0)
