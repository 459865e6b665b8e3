"""Splits mail logs into lines: syslog text, JSON, and the journal's export format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.maillog.times import HEAD, TimeParser, parse_iso_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Find = Callable[[bytes, int], int]
    """Returns the index of the next match in a block, from an index on; -1 for no match."""


MAX_LINE_BYTES = 16 * 1024
"""Longer lines are skipped; Postfix splits its own lines at 2000 bytes."""

_MAX_ENTRY_BYTES = 1 << 20
"""Larger entries of the journal are skipped."""


@dataclass(slots=True)
class LogLine:
    """One line of a log.

    Not frozen: creating a million frozen records takes up to a fifth longer than a million tuples;
    creating a million of these takes 4 % less.
    """

    when: float
    """Unix time; 0 if the line has no date."""
    program: bytes
    """The program, e.g. ``greyd`` or ``postfix/smtpd``; empty if the line does not name one."""
    text: bytes


@dataclass
class ReadStatistics:
    """Counts of the bytes read and of the lines skipped."""

    bytes_read: int = 0
    """Bytes read from the files, before decompression."""
    too_long_count: int = 0
    """Lines and journal entries that were skipped because they are too long."""
    on_bytes: Callable[[int], None] = lambda _: None
    """Called with the number of bytes of each read."""


def parse_json_object(text: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a text; None for anything else."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


# Text and JSON ------------------------------------------------------------------------------------


def text_lines(
    pieces: Iterable[bytes], find: Find, times: TimeParser, statistics: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the wanted lines of a text log, whose lines may be JSON."""
    for block in _whole_lines(pieces, statistics):
        place = find(block, 0)
        while place >= 0:
            start = block.rfind(b"\n", 0, place) + 1
            end = block.find(b"\n", place)
            if end - start > MAX_LINE_BYTES:
                statistics.too_long_count += 1
            else:
                yield _parse_line(block[start:end], times)
            place = find(block, end)


def _whole_lines(pieces: Iterable[bytes], statistics: ReadStatistics) -> Iterator[bytes]:
    """Yield blocks of whole lines; leave out lines that are too long."""
    rest, skipping = b"", False
    for piece in pieces:
        # Skips the rest of a line that is too long.
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
            statistics.too_long_count += 1
            rest, skipping = b"", True
    if rest:
        yield rest + b"\n"


def _parse_line(text: bytes, times: TimeParser) -> LogLine:
    """Parse a line; a line without date and program is all text."""
    if text[:1] == b"{":
        return _parse_json_line(text)
    if (head := HEAD(text)) is None:
        return LogLine(0.0, b"", text)
    minute, second, fraction, zone, program = head.groups()
    when = times.time_of(minute, second, fraction, zone)
    return LogLine(when, program or b"", text[head.end() :])


def _parse_json_line(text: bytes) -> LogLine:
    """Return the line inside the JSON of the journal, of Docker, or of greyd itself."""
    event = parse_json_object(text) or {}
    if "MESSAGE" in event:
        message, program = event["MESSAGE"], event.get("SYSLOG_IDENTIFIER")
        micros = str(event.get("__REALTIME_TIMESTAMP", ""))
        when = int(micros) / 1e6 if micros.isascii() and micros.isdigit() else 0.0
        return LogLine(when, _encoded(program), _encoded(message))
    if "log" in event:
        return LogLine(parse_iso_time(event.get("time")), b"", _encoded(event["log"]).rstrip())
    return LogLine(parse_iso_time(event.get("time")), b"", text)


def _encoded(value: object) -> bytes:
    """Return the bytes of a JSON value: a string, or the journal's list of non-UTF-8 bytes."""
    if isinstance(value, list):
        return bytes(each for each in value if type(each) is int and 0 <= each < 256)
    return value.encode(errors="backslashreplace") if isinstance(value, str) else b""


# The journal --------------------------------------------------------------------------------------

EXPORT = b"__CURSOR="
"""How the output of ``journalctl -o export`` begins."""

_MESSAGE = re.compile(rb"^MESSAGE=(.*)$", re.MULTILINE)
_IDENTIFIER = re.compile(rb"^SYSLOG_IDENTIFIER=(.*)$", re.MULTILINE)
_MICROSECONDS = re.compile(rb"^__REALTIME_TIMESTAMP=([0-9]{1,18})$", re.MULTILINE)
_BINARY_FIELD = re.compile(rb"^[A-Z0-9_]{1,64}\n", re.MULTILINE)


def journal_lines(
    pieces: Iterable[bytes], find: Find, _: TimeParser, statistics: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the wanted messages of ``journalctl -o export``."""
    for entry in _entries(pieces, statistics):
        if find(entry, 0) >= 0 and (message := _MESSAGE.search(entry)):
            when, program = _MICROSECONDS.search(entry), _IDENTIFIER.search(entry)
            yield LogLine(
                int(when[1]) / 1e6 if when else 0.0, program[1] if program else b"", message[1]
            )


def _entries(pieces: Iterable[bytes], statistics: ReadStatistics) -> Iterator[bytes]:
    """Yield the entries without their binary fields, which hold no decisions."""
    rest = b""
    for piece in pieces:
        rest += piece
        start = 0
        while found := _entry_at(rest, start):
            entry, start = found
            yield entry
        rest = rest[start:]
        if len(rest) > _MAX_ENTRY_BYTES:
            # Skips everything up to the next entry.
            statistics.too_long_count += 1
            place = rest.rfind(b"\n\n" + EXPORT)
            rest = rest[place + 2 :] if place >= 0 else rest[-len(EXPORT) - 2 :]
    if _MICROSECONDS.search(rest):
        yield rest


def _entry_at(data: bytes, start: int) -> tuple[bytes, int] | None:
    """Return the entry at ``start`` and the index of the next one; None if it is incomplete.

    In a binary field a newline stands in place of ``=``; the size in eight bytes and the content
    follow it (systemd.io/JOURNAL_EXPORT_FORMATS).
    """
    parts, index = [], start
    while (end := data.find(b"\n\n", index)) >= 0:
        binary = _BINARY_FIELD.search(data, index, end + 1)
        if binary is None:
            parts.append(data[index:end])
            return b"".join(parts), end + 2
        parts.append(data[index : binary.start()])
        size = int.from_bytes(data[binary.end() : binary.end() + 8], "little")
        index = binary.end() + 8 + size
        if index >= len(data):
            return None
    return None


_MAX_LINES_WITHOUT_DATE = 100


def first_time(head: bytes, times: TimeParser) -> float:
    """Return the first Unix time in ``head``, the beginning of a file; 0 if it has none."""
    if head.startswith(EXPORT):
        found = _MICROSECONDS.search(head)
        return int(found[1]) / 1e6 if found else 0.0
    lines = head.split(b"\n")[:_MAX_LINES_WITHOUT_DATE]
    return next(filter(None, (_parse_line(each, times).when for each in lines)), 0.0)
