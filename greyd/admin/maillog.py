"""The mail log as greyd and postgrey write it, and what others write beside them.

It reads files, also compressed ones (gzip, bzip2, xz), and ``-``, standard input, in any of these
forms, each file in its own:

    Nov 24 18:05:35 host prog[pid]: text               RFC 3164, journalctl -o short
    2026-11-24T18:05:35.123+01:00 host prog[pid]: text RFC 3339, journalctl -o short-iso
    2026-11-24T18:05:35.123456789Z text                docker logs --timestamps
    text                                               as greyd writes to standard error
    __CURSOR=…                                         journalctl -o export
    {"__CURSOR": …}                                    journalctl -o json
    {"log": …}                                         Docker's json-file

and in each of them greyd's lines of ``--log-format=json``. RFC 3164 knows no year: it is the one
that brings the date closest before the file's last change. Lines of several files come in the
order of their times, as long as each file's do.

A log may be large and holds what strangers sent: it is read a block at a time, what is no line of
the programs wanted is passed over without a look, and too long a line is left out and counted.
"""

from __future__ import annotations

import bz2
import gzip
import heapq
import io
import json
import lzma
import os
import re
import stat
import time
import zlib
from calendar import isleap
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from greyd.admin import AdminError, complain
from greyd.log import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from typing_extensions import Buffer

    Find = Callable[[bytes, int], int]
    """Where in a block, from a place on, the next line may be that is wanted; -1 for nowhere."""

MOST_OCTETS = 16 * 1024
"""Of a line; Postfix cuts its own at 2000."""

_MOST_ENTRY = 1 << 20
"""Octets of a journal's entry, with all of its fields."""


class Line(NamedTuple):
    """A line of the log."""

    when: float
    """Seconds since the epoch; 0 where the line has no date."""
    program: bytes
    """Such as ``greyd`` or ``postfix/smtpd``; empty where the line does not say."""
    text: bytes


class Decision(NamedTuple):
    """A decision of greyd's or postgrey's; octets other than printable ASCII are ``%XX``."""

    when: float
    """Seconds since the epoch; 0 where the line has no date."""
    action: str
    """``pass`` or ``greylist``."""
    reason: str
    """Without what stands in parentheses."""
    detail: str
    """What stands there: ``38s missing``; empty for nothing."""
    delay_seconds: int | None
    """How long mail that passes for the first time has waited."""
    client_name: bytes
    client_address: bytes
    sender: bytes
    """Empty for a bounce."""
    recipient: bytes
    queue_id: bytes
    identity: bytes
    signals: bytes
    """With ``+`` between them."""

    @property
    def missing_seconds(self) -> int | None:
        """How much too early a retry came; None where it was none."""
        missing = _MISSING.search(self.detail)
        return int(missing[1]) if missing else None


@dataclass
class Tally:
    """What was read."""

    octets: int = 0
    """As they stand in the files, compressed or not."""
    too_long: int = 0
    """Lines left out."""
    on_octets: Callable[[int], None] = lambda _: None
    """Is told of octets as they are read."""


def decisions(
    paths: Sequence[str | Path], *, now: float | None = None, tally: Tally | None = None
) -> Iterator[Decision]:
    """Yield the decisions in logs, in the order of their times.

    Args:
        paths: files; ``-`` is standard input.
        now: which year it is where standard input does not say; by default the clock's.
        tally: counts what is read.

    Raises:
        AdminError: a file can't be read.
    """
    for when, _, text in _read(paths, _find_action, now, tally or Tally()):
        if (decision := decision_of(when, text)) is not None:
            yield decision


def lines(
    paths: Sequence[str | Path],
    *,
    programs: Iterable[bytes],
    now: float | None = None,
    tally: Tally | None = None,
) -> Iterator[Line]:
    """Yield the lines of some programs, and those that may be decisions but name no program.

    A program with a slash stands for all instances of that service: ``postfix/smtpd`` also for
    ``postfix/submission/smtpd`` and ``postfix-in/smtpd``.

    Raises:
        AdminError: a file can't be read.
    """
    names = b"|".join(map(_pattern_of, programs))
    wanted = re.compile(rb"(?:%b)\Z" % names)
    # A program stands before its number or a colon, in the journal at the end of a field.
    near = re.compile(rb"""(?:%b)(?:[:\["]|$)|action(?:=|\\?")""" % names, re.MULTILINE)

    def find(block: bytes, start: int) -> int:
        found = near.search(block, start)
        return found.start() if found else -1

    for line in _read(paths, find, now, tally or Tally()):
        if wanted.match(line.program) if line.program else b"action" in line.text:
            yield line


def decision_of(when: float, text: bytes) -> Decision | None:
    """Return the decision that a line's text tells; None for none."""
    if text[:1] == b"{":
        return _of_json(when, text)
    if (told := _DECISION(text.rstrip())) is None:
        return None
    queue_id, action, reason, detail, delay, name, address, sender, recipient, identity, signals = (
        told.groups(b"")
    )
    return Decision(
        when,
        "pass" if action == b"pass" else "greylist",
        _reasons.get(reason) or _reason(reason),
        detail.decode("ascii", "replace") if detail else "",
        int(delay) if delay else None,
        name,
        address,
        sender,
        recipient,
        queue_id,
        identity,
        signals,
    )


# A stranger chooses the sender, so the last ", recipient=" is the one that greyd wrote; and a
# recipient ends where nothing but what greyd adds is left. Nothing here looks back twice.
_DECISION = re.compile(
    rb"(?:([0-9A-Za-z]{5,30}): )?action=(pass|greylist), reason=([^,(]{1,60}?)"
    rb"(?: \(([^,]{1,100})\))?(?:, delay=(-?[0-9]{1,12}))?"
    rb"(?:, client_name=([^,]*))?(?:, client_address=([^,]*))?"
    rb"(?:, sender=(.*(?=, recipient=)|.*?))?(?:, recipient=(.*?))?"
    rb"(?:, identity=([^ ,]+))?(?:, signals=([a-z0-9_+]+))?(?:, dns=late)?\Z"
).match
_MISSING = re.compile(r"([0-9]{1,12})s missing")
_OUR_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")

_MOST_REASONS = 1000
_reasons: dict[bytes, str] = {}


def _reason(octets: bytes) -> str:
    text = octets.decode("ascii", "replace")
    if len(_reasons) < _MOST_REASONS:
        _reasons[octets] = text
    return text


def _of_json(when: float, text: bytes) -> Decision | None:
    event = _json_in(text)
    if event is None or event.get("action") not in {"pass", "greylist"}:
        return None
    reason, _, detail = str(event.get("reason", "")).partition(" (")
    delay, signals = event.get("delay"), event.get("signals")
    return Decision(
        when=when or _iso_time(event.get("time")),
        action=event["action"],
        reason=reason,
        detail=detail.removesuffix(")"),
        delay_seconds=delay if type(delay) is int else None,
        client_name=_octets(event.get("client_name")),
        client_address=_octets(event.get("client_address")),
        sender=_octets(event.get("sender")),
        recipient=_octets(event.get("recipient")),
        queue_id=_octets(event.get("queue_id")),
        identity=_octets(event.get("identity")),
        signals=b"+".join(map(_octets, signals)) if isinstance(signals, list) else b"",
    )


def _octets(value: object) -> bytes:
    """Return a value of greyd's JSON as its plain lines show it."""
    if not isinstance(value, str):
        return b""
    shown = _OUR_ESCAPE.sub(lambda found: f"%{found[1].upper()}", value)
    return one_line(shown.encode(errors="backslashreplace"))


def _json_in(text: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _pattern_of(program: bytes) -> bytes:
    head, slash, tail = program.partition(b"/")
    if not slash:
        return re.escape(program)
    return re.escape(head) + rb"[^\s/\[:]{0,50}(?:/[^\s\[:]{1,50})?/" + re.escape(tail)


def _find_action(block: bytes, start: int) -> int:
    return block.find(b"action", start)


# Files ------------------------------------------------------------------------------------------


def octets_of(paths: Iterable[str | Path]) -> int | None:
    """Return how many octets some files have to read; None where that can't be known."""
    try:
        files = [Path(path).stat() for path in paths]
    except OSError:
        return None
    if not all(stat.S_ISREG(each.st_mode) for each in files):
        return None
    return sum(each.st_size for each in files)


def _read(
    paths: Sequence[str | Path], find: Find, now: float | None, tally: Tally
) -> Iterator[Line]:
    """Yield the lines of several files, by their times."""
    now = time.time() if now is None else now
    files = [_File(str(path), now, tally) for path in paths]
    return _in_order([(file.first_time(), file.lines(find)) for file in files])


def _in_order(sources: Sequence[tuple[float, Iterator[Line]]]) -> Iterator[Line]:
    """Merge what is in order already; a source is asked only when the time of its first has come.

    Where all follow one another, as the rotated files of one machine do, each costs a comparison.
    """
    heap: list[tuple[float, int, Line | None]] = [
        (when, place, None) for place, (when, _) in enumerate(sources)
    ]
    heapq.heapify(heap)
    while heap:
        _, place, line = heapq.heappop(heap)
        next_time = heap[0][0] if heap else float("inf")
        if line is not None:
            yield line
        for line in sources[place][1]:
            if line.when > next_time:
                heapq.heappush(heap, (line.when, place, line))
                break
            yield line


class _File:
    """A file of the log."""

    def __init__(self, path: str, now: float, tally: Tally) -> None:
        self._path = path
        self._now = now
        self._tally = tally
        # Standard input can be opened only once.
        self._stream = self._open(tally) if path == "-" else None

    def first_time(self) -> float:
        """Return when the first line was written that has a date; 0 where none has."""
        if self._stream is not None:
            return _first_time(self._peek(self._stream), _Clock(self._now))
        with self._open(Tally()) as stream:
            return _first_time(self._peek(stream), _Clock(self._now))

    def lines(self, find: Find) -> Iterator[Line]:
        """Yield its lines that ``find`` points at."""
        with self._stream or self._open(self._tally) as stream:
            form = _journal if self._peek(stream).startswith(_EXPORT) else _plain
            yield from form(self._pieces(stream), find, _Clock(self._now), self._tally)

    def _open(self, tally: Tally) -> Stream:
        try:
            # Whoever reads it closes it.
            raw = io.FileIO(0, closefd=False) if self._path == "-" else io.FileIO(self._path)
            status = os.fstat(raw.fileno())
            if stat.S_ISREG(status.st_mode):
                self._now = min(self._now, status.st_mtime)
            return _unpacked(io.BufferedReader(_Counted(raw, tally), _PEEKED))
        except PermissionError:
            raise AdminError(
                f"{self._path}: permission denied; run this as root, or as one of the group adm"
            ) from None
        except OSError as error:
            raise AdminError(f"{self._path}: {error.strerror}") from None

    def _peek(self, stream: Stream) -> bytes:
        try:
            return stream.peek(_PEEKED)
        except _BROKEN:
            return b""

    def _pieces(self, stream: Stream) -> Iterator[bytes]:
        """Yield what the file holds; of a broken one what can be read."""
        while True:
            try:
                piece = stream.read1(_PIECE)
            except _BROKEN as error:
                complain(f"{self._path}: broken, read up to there: {error}")
                return
            if not piece:
                return
            yield piece


Stream: TypeAlias = "io.BufferedReader | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile"

_PEEKED = 1 << 16
_PIECE = 1 << 20
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError)


class _Counted(io.RawIOBase):
    """A raw file that counts what is read of it."""

    def __init__(self, raw: io.FileIO, tally: Tally) -> None:
        self._raw = raw
        self._tally = tally

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        octets = self._raw.readinto(buffer)
        self._tally.octets += octets or 0
        self._tally.on_octets(octets or 0)
        return octets

    def close(self) -> None:
        self._raw.close()
        super().close()


def _unpacked(file: io.BufferedReader) -> Stream:
    magic = file.peek(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file)
    return file


# Lines ------------------------------------------------------------------------------------------


def _plain(pieces: Iterable[bytes], find: Find, clock: _Clock, tally: Tally) -> Iterator[Line]:
    """Yield the lines of text, or of JSON."""
    for block in _whole_lines(pieces, tally):
        place = find(block, 0)
        while place >= 0:
            start = block.rfind(b"\n", 0, place) + 1
            end = block.find(b"\n", place)
            if end - start > MOST_OCTETS:
                tally.too_long += 1
            else:
                yield _line(block[start:end], clock)
            place = find(block, end)


def _whole_lines(pieces: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
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
        if len(rest) > MOST_OCTETS:
            tally.too_long += 1
            rest, skipping = b"", True
    if rest:
        yield rest + b"\n"


def _line(text: bytes, clock: _Clock) -> Line:
    """Return a line; where it has neither date nor program, all of it is text."""
    if text[:1] == b"{":
        return _line_of_json(text)
    if (head := _HEAD(text)) is None:
        return Line(0.0, b"", text)
    minute, second, fraction, zone, program = head.groups()
    when = clock.time_of(minute, second, fraction, zone)
    return Line(when, program or b"", text[head.end() :])


_HEAD = re.compile(
    rb"([A-Z][a-z][a-z] [ 0-3]?[0-9] [0-2][0-9]:[0-5][0-9]"
    rb"|[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]):([0-6][0-9])([.,][0-9]{1,9})?"
    rb"(Z|[+-][0-2][0-9]:?[0-5][0-9])? "
    # The host, and the program with its number.
    rb"(?:[^\s{]\S{0,254} ([^\s\[:]{1,100})(?:\[[0-9]{0,10}\])?: )?"
).match


def _line_of_json(text: bytes) -> Line:
    """Return the line that the journal, Docker or greyd itself has put into JSON."""
    event = _json_in(text) or {}
    if "MESSAGE" in event:
        message, program = event["MESSAGE"], event.get("SYSLOG_IDENTIFIER")
        micros = str(event.get("__REALTIME_TIMESTAMP", ""))
        when = int(micros) / 1e6 if micros.isascii() and micros.isdigit() else 0.0
        return Line(when, _encoded(program), _encoded(message))
    if "log" in event:
        return Line(_iso_time(event.get("time")), b"", _encoded(event["log"]).rstrip())
    return Line(_iso_time(event.get("time")), b"", text)


def _encoded(value: object) -> bytes:
    """Return text of JSON; the journal gives as a list of numbers what is not UTF-8."""
    if isinstance(value, list):
        return bytes(each for each in value if type(each) is int and 0 <= each < 256)
    return value.encode(errors="backslashreplace") if isinstance(value, str) else b""


_EXPORT = b"__CURSOR="
_MESSAGE = re.compile(rb"^MESSAGE=(.*)$", re.MULTILINE)
_IDENTIFIER = re.compile(rb"^SYSLOG_IDENTIFIER=(.*)$", re.MULTILINE)
_MICROSECONDS = re.compile(rb"^__REALTIME_TIMESTAMP=([0-9]{1,18})$", re.MULTILINE)
_BINARY = re.compile(rb"^[A-Z0-9_]{1,64}\n", re.MULTILINE)


def _journal(pieces: Iterable[bytes], find: Find, _: _Clock, tally: Tally) -> Iterator[Line]:
    """Yield the messages of ``journalctl -o export``."""
    for entry in _entries(pieces, tally):
        if find(entry, 0) >= 0 and (message := _MESSAGE.search(entry)):
            when, program = _MICROSECONDS.search(entry), _IDENTIFIER.search(entry)
            yield Line(
                int(when[1]) / 1e6 if when else 0.0, program[1] if program else b"", message[1]
            )


def _entries(pieces: Iterable[bytes], tally: Tally) -> Iterator[bytes]:
    """Yield the journal's entries, without their fields of odd octets; none holds a decision."""
    rest = b""
    for piece in pieces:
        rest += piece
        start = 0
        while found := _entry_at(rest, start):
            entry, start = found
            yield entry
        rest = rest[start:]
        if len(rest) > _MOST_ENTRY:
            # Lost until the next one begins.
            tally.too_long += 1
            place = rest.rfind(b"\n\n" + _EXPORT)
            rest = rest[place + 2 :] if place >= 0 else rest[-len(_EXPORT) - 2 :]
    if _MICROSECONDS.search(rest):
        yield rest


def _entry_at(octets: bytes, start: int) -> tuple[bytes, int] | None:
    """Return the entry at a place and where the next begins; None where it is not all there.

    A field of odd octets has no ``=``, but a line's end, its length in eight octets and as many.
    """
    parts, place = [], start
    while (end := octets.find(b"\n\n", place)) >= 0:
        odd = _BINARY.search(octets, place, end + 1)
        if odd is None:
            parts.append(octets[place:end])
            return b"".join(parts), end + 2
        parts.append(octets[place : odd.start()])
        size = int.from_bytes(octets[odd.end() : odd.end() + 8], "little")
        place = odd.end() + 8 + size
        if place >= len(octets):
            return None
    return None


# Times ------------------------------------------------------------------------------------------


class _Clock:
    """Reads the times of a file, each minute once."""

    _MOST_MINUTES = 100_000

    def __init__(self, now: float) -> None:
        self._now = now
        self._minutes: dict[bytes, float] = {}

    def time_of(
        self, minute: bytes, second: bytes, fraction: bytes | None, zone: bytes | None
    ) -> float:
        """Return a time in seconds since the epoch; 0 where there is no such day."""
        key = minute + zone if zone else minute
        began = self._minutes.get(key)
        if began is None:
            if len(self._minutes) >= self._MOST_MINUTES:
                self._minutes.clear()
            began = self._minutes[key] = self._read(minute.decode(), (zone or b"").decode())
        if not began:
            return 0.0
        return began + int(second) + (float(b"." + fraction[1:]) if fraction else 0.0)

    def _read(self, minute: str, zone: str) -> float:
        try:
            if minute[0].isdigit():
                return datetime.fromisoformat(minute.replace(" ", "T") + zone).timestamp()
            return self._without_year(minute)
        except (ValueError, OverflowError):
            return 0.0

    def _without_year(self, minute: str) -> float:
        """Return the time in the last year in which it is not later than the file, or a day."""
        # RFC 3164 has no zone: its times are this machine's, and so are those compared here.
        latest = datetime.fromtimestamp(self._now + 86400)  # noqa: DTZ006
        month = _MONTHS.index(minute[:3]) + 1
        day, clock = int(minute[4:6]), minute[-5:]
        for year in range(latest.year, latest.year - 9, -1):
            if month == 2 and day == 29 and not isleap(year):
                continue
            when = datetime(year, month, day, int(clock[:2]), int(clock[3:]))  # noqa: DTZ001
            if when <= latest:
                return when.timestamp()
        return 0.0


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DATED_LINES = 100


def _first_time(head: bytes, clock: _Clock) -> float:
    """Return the first time in what a file begins with; 0 for none."""
    if head.startswith(_EXPORT):
        found = _MICROSECONDS.search(head)
        return int(found[1]) / 1e6 if found else 0.0
    times = (_line(each, clock).when for each in head.split(b"\n")[:_DATED_LINES])
    return next(filter(None, times), 0.0)


def _iso_time(text: object) -> float:
    """Return the time that greyd's JSON and Docker's write, in seconds since the epoch."""
    if not isinstance(text, str) or (head := _HEAD(text.encode() + b" ")) is None:
        return 0.0
    minute, second, fraction, zone, _ = head.groups()
    return _Clock(0.0).time_of(minute, second, fraction, zone)
