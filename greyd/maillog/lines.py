"""Splits mail logs into lines: syslog text, JSON, and the journal's export format."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from greyd.maillog.dates import MAX_HEAD_BYTES, find_date
from greyd.maillog.heads import LogLine, cleaned, mentions_decision, message_of, parse_line
from greyd.maillog.json_lines import parse_json_object, wrapped_lines
from greyd.maillog.repetitions import line_before, repeated_times, repetition_of
from greyd.maillog.sources.wrapped_rows import RowJoiner, line_under_head, may_be_wrapped
from greyd.maillog.times import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from greyd.maillog.statistics import ReadStatistics
    from greyd.maillog.times import TimeParser

    Find = Callable[[bytes, int], int]
    """Returns the index of the next match in a block, from an index on; -1 for no match."""


MAX_LINE_BYTES = 16 * 1024
"""Longer lines are skipped; Postfix splits its own lines at 2000 bytes."""

_MAX_ENTRY_BYTES = 1 << 20
"""Larger entries of the journal are skipped."""

_CONTEXT_BYTES = 1 << 16
"""How far back to search for the line that a repetition repeats, or for an earlier line's date."""


# Text and JSON ------------------------------------------------------------------------------------


def text_lines(
    pieces: Iterable[bytes], find: Find, times: TimeParser, statistics: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the wanted lines of a text log, whose lines may be JSON."""
    last = held = b""
    joiner = RowJoiner()
    for each in chain(_whole_lines(pieces, statistics), [b""]):
        block, held = held + cleaned(each), b""
        place = find(block, 0)
        while place >= 0:
            start = block.rfind(b"\n", 0, place) + 1
            end = block.find(b"\n", place)
            is_wrapped = may_be_wrapped(block, start, end)
            if is_wrapped and each and joiner.needs_next_block(block, start, end):
                block, held = block[:start], block[start:]
                break
            if end - start > MAX_LINE_BYTES:
                statistics.too_long_count += 1
            else:
                text = block[start:end]
                if is_wrapped and (joined := joiner.join(block, start, end)):
                    text, end = joined.text, joined.end
                if text.count(b"action=") > 1:
                    _count_others(text, statistics)
                line = parse_line(text, times)
                if line is not None and line.when and line.count == 1:
                    yield line
                else:
                    before = _context(last, block, start)
                    yield from _unusual_lines(line, text, before, times, statistics)
            place = find(block, end)
        last = block[-_CONTEXT_BYTES:]


_WHOLE_DECISION = re.compile(
    rb"(?<![\w.=<-])action=(?:pass|greylist), reason=[^\n]{1,2000}?recipient=[^\s\"\\,;<&]{0,320}"
)


def _count_others(text: bytes, statistics: ReadStatistics) -> None:
    """Count all decisions in a line but the first: only one is read.

    A collector may write a line twice into its JSON, e.g. with and without its head.
    """
    decisions = dict.fromkeys(found[0] for found in _WHOLE_DECISION.finditer(text))
    for each in list(decisions)[1:]:
        statistics.add_unread(each)


def _context(last: bytes, block: bytes, start: int) -> bytes:
    """Return as much of what precedes a line as may be needed."""
    if start >= _CONTEXT_BYTES:
        return block[start - _CONTEXT_BYTES : start]
    return last[start - _CONTEXT_BYTES :] + block[:start]


def _unusual_lines(
    line: LogLine | None, text: bytes, before: bytes, times: TimeParser, statistics: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the lines that stand for repetitions, and lines without a date."""
    if line is None:
        if repetition := repetition_of(text):
            line = line_before(repetition, before, times)
            if line is None:
                return
            first, line.when, line.count = line.when, find_date(text, times), repetition.count
        else:
            if mentions_decision(text):
                statistics.add_unread(text)
            return
    elif line.count > 1:
        first = _time_of_text(line.text, before, times)
    else:
        if not line.when:
            line = line_under_head(text, before, times) or line
        line.when = line.when or _time_of_record(text, before, times)
        yield line
        return
    for when in repeated_times(first, line.when, line.count):
        yield LogLine(when, line.program, line.text)


def _time_of_text(text: bytes, before: bytes, times: TimeParser) -> float:
    """Return the Unix time of the last line that contains a text; 0 if there is none."""
    place = before.rfind(text)
    if place < 0:
        return 0.0
    start, end = before.rfind(b"\n", 0, place) + 1, before.find(b"\n", place)
    line = parse_line(before[start:end], times)
    return line.when if line else 0.0


_REALTIME = re.compile(rb"__REALTIME_TIMESTAMP\"?\s?[=:]\s?\"?([0-9]{1,18})")
_START_OF_RECORD = re.compile(rb"^[^\s].*$", re.MULTILINE)


def _time_of_record(text: bytes, before: bytes, times: TimeParser) -> float:
    """Return the Unix time of an indented line's record: journalctl -o verbose and json-pretty."""
    if not text[:1].isspace():
        return 0.0
    starts = list(_START_OF_RECORD.finditer(before[-MAX_HEAD_BYTES * 2 :]))
    if not starts:
        return 0.0
    record = before[-MAX_HEAD_BYTES * 2 :][starts[-1].start() :]
    if found := _REALTIME.search(record):
        return int(found[1]) / 1e6
    return find_date(starts[-1][0], times)


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


# The journal --------------------------------------------------------------------------------------

EXPORT = b"__CURSOR="
"""How the output of ``journalctl -o export`` begins."""

_MESSAGE = re.compile(rb"^MESSAGE=(.*)$", re.MULTILINE)
_IDENTIFIER = re.compile(rb"^SYSLOG_IDENTIFIER=(.*)$", re.MULTILINE)
_MICROSECONDS = re.compile(rb"^__REALTIME_TIMESTAMP=([0-9]{1,18})$", re.MULTILINE)
_BINARY_FIELD = re.compile(rb"^([A-Z0-9_]{1,64})\n", re.MULTILINE)


def journal_lines(
    pieces: Iterable[bytes], find: Find, times: TimeParser, statistics: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the wanted messages of ``journalctl -o export``."""
    for entry in _entries(pieces, statistics):
        if find(entry, 0) < 0 or not (message := _MESSAGE.search(entry)):
            continue
        time, program = _MICROSECONDS.search(entry), _IDENTIFIER.search(entry)
        name = program[1] if program else b""
        when = int(time[1]) / 1e6 if time else 0.0
        # In a container's journal, the message has a head of its own.
        line = LogLine(when, name, message[1])
        if not name.startswith(b"postfix"):
            inner = message_of(message[1], times)
            if inner is None:
                if mentions_decision(message[1]):
                    statistics.add_unread(message[1])
                continue
            line = LogLine(when or inner.when, inner.program or name, inner.text, inner.count)
        for each in repeated_times(0.0, line.when, line.count):
            yield LogLine(each, line.program, line.text)


def _entries(pieces: Iterable[bytes], statistics: ReadStatistics) -> Iterator[bytes]:
    """Yield the entries; of binary fields, only one-line messages, e.g. with colours."""
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
        begin = binary.end() + 8
        index = begin + int.from_bytes(data[binary.end() : begin], "little")
        if index >= len(data):
            return None
        message = data[begin:index].rstrip()
        if binary[1] == b"MESSAGE" and b"\n" not in message:
            parts.append(b"MESSAGE=%b\n" % message)
    return None


_MAX_LINES_WITHOUT_DATE = 100


def first_time(head: bytes, times: TimeParser) -> float:
    """Return the first Unix time in ``head``, the beginning of a file; 0 if it has none."""
    if head.startswith(EXPORT):
        found = _MICROSECONDS.search(head)
        return int(found[1]) / 1e6 if found else 0.0
    lines = head.split(b"\n")[:_MAX_LINES_WITHOUT_DATE]
    return next(filter(None, (_time_of_line(cleaned(each), times) for each in lines)), 0.0)


def _time_of_line(text: bytes, times: TimeParser) -> float:
    if head := HEAD(text):
        minute, second, fraction, zone, _ = head.groups()
        return times.time_of(minute, second, fraction, zone)
    if text[:1] == b"{" and (event := parse_json_object(text)):
        return next((each.when for each in wrapped_lines(event) if each.when), 0.0)
    return find_date(text, times)
