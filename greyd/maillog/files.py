"""Opens log files, plain or compressed, and merges their lines by time."""

from __future__ import annotations

import contextlib
import heapq
import io
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from greyd.maillog.errors import MailLogError
from greyd.maillog.lines import EXPORT, first_time, journal_lines, text_lines
from greyd.maillog.sources.byte_arrays import with_strings
from greyd.maillog.sources.compression import (
    DAMAGE_ERRORS,
    decompressed,
    is_compressed,
    size_limit,
    unsupported_form,
)
from greyd.maillog.sources.encodings import as_utf8, utf16_form
from greyd.maillog.sources.journal import JOURNAL, open_journal
from greyd.maillog.sources.line_ends import with_line_feeds
from greyd.maillog.sources.slashed_dates import is_day_first, slashed_date
from greyd.maillog.statistics import ReadStatistics
from greyd.maillog.times import TimeParser
from greyd.terminal import print_error

if TYPE_CHECKING:
    import gzip
    from collections.abc import Iterator, Sequence

    from typing_extensions import Buffer

    from greyd.maillog.heads import LogLine
    from greyd.maillog.lines import Find


def read_files(
    paths: Sequence[str | Path], find: Find, now: float | None, statistics: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the wanted lines of several files, ordered by time.

    A file that cannot be read is named on standard error and in the statistics.

    Raises:
        MailLogError: a file does not exist, or no file can be read.
    """
    now = time.time() if now is None else now
    sources = []
    for path in map(str, paths):
        try:
            file = _LogFile(path, now, statistics)
            sources.append((file.first_time(), file.lines(find)))
        except MailLogError as error:
            if len(paths) == 1 or not (path.startswith(JOURNAL) or os.path.lexists(path)):
                raise
            print_error(f"{error}; reading the others")
            statistics.add_unread_file(path, str(error), is_partial=False)
    if paths and not sources:
        raise MailLogError("none of the files can be read")
    return _in_order(sources)


def _in_order(sources: Sequence[tuple[float, Iterator[LogLine]]]) -> Iterator[LogLine]:
    """Merge sources whose lines are ordered by time; open each source when its first line is next.

    Rotated files of one machine do not overlap, so a line costs one comparison.
    """
    heap: list[tuple[float, int, LogLine | None]] = [
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


class _LogFile:
    """One log file, plain or compressed, or standard input, or the journal."""

    def __init__(self, path: str, now: float, statistics: ReadStatistics) -> None:
        self._path = path
        self._now = now
        self._statistics = statistics
        self._is_day_first: bool | None = None
        # What another program writes can be opened only once.
        self._stream = self._open(statistics) if _is_stream(path) else None

    def first_time(self) -> float:
        """Return the Unix time of the first line with a date; 0 if no line has one.

        Raises:
            MailLogError: the file cannot be read.
        """
        if self._stream is not None:
            return self._first_time(self._stream)
        with self._open(ReadStatistics()) as stream:
            return self._first_time(stream)

    def _first_time(self, stream: Stream) -> float:
        head = self._peek(stream)
        if is_compressed(head):
            raise MailLogError(f"{self._path}: compressed twice; decompress it once")
        if what := unsupported_form(head, self._path):
            raise MailLogError(f"{self._path}: {what}")
        head = b"".join(self._as_utf8(iter([head]), head))
        self._statistics.add_sample(self._path, head)
        self._is_day_first = self._find_order_of_dates(head)
        return first_time(head, self._time_parser())

    def _find_order_of_dates(self, head: bytes) -> bool | None:
        """Return whether dates such as 10/11/2026 begin with the day; None if unknown.

        A pipe can be read only once, so only its beginning counts.
        """
        if (example := slashed_date(head)) is None:
            return None
        found = is_day_first([head], self._now)
        if found is None and self._stream is None:
            with self._open(ReadStatistics()) as stream:
                pieces = self._pieces_to_search(stream)
                found = is_day_first(self._as_utf8(pieces, head), self._now)
        if found is None:
            print_error(
                f"{self._path}: {example} may begin with the day or the month, and no other line"
                " shows which; such dates count as none"
            )
        return found

    def _pieces_to_search(self, stream: Stream) -> Iterator[bytes]:
        """Yield the file's content, at most ``_MAX_SEARCHED_BYTES``, up to a damage."""
        size = 0
        with contextlib.suppress(*DAMAGE_ERRORS):
            while size < _MAX_SEARCHED_BYTES and (piece := stream.read1(_READ_BYTES)):
                size += len(piece)
                yield piece

    def _time_parser(self) -> TimeParser:
        return TimeParser(self._now, is_day_first=self._is_day_first)

    def lines(self, find: Find) -> Iterator[LogLine]:
        """Yield the lines that ``find`` finds."""
        with self._stream or self._open(self._statistics) as stream:
            head = self._peek(stream)
            form = journal_lines if head.startswith(EXPORT) else text_lines
            pieces = self._as_utf8(self._pieces(stream), head)
            if form is text_lines:
                utf8_head = b"".join(self._as_utf8(iter([head]), head))
                pieces = with_strings(with_line_feeds(pieces, utf8_head))
            yield from form(pieces, find, self._time_parser(), self._statistics)

    @staticmethod
    def _as_utf8(pieces: Iterator[bytes], head: bytes) -> Iterator[bytes]:
        codec = utf16_form(head)
        return as_utf8(pieces, codec) if codec else pieces

    def _open(self, statistics: ReadStatistics) -> Stream:
        if self._path.startswith(JOURNAL):
            return io.BufferedReader(
                _CountingFile(open_journal(self._path), statistics), _PEEK_BYTES
            )
        try:
            # The BufferedReader below closes this file.
            raw = io.FileIO(0, closefd=False) if self._path == "-" else io.FileIO(self._path)
            status = os.fstat(raw.fileno())
            if stat.S_ISREG(status.st_mode):
                self._now = min(self._now, status.st_mtime)
            return decompressed(io.BufferedReader(_CountingFile(raw, statistics), _PEEK_BYTES))
        except MailLogError as error:
            raise MailLogError(f"{self._path}: {error}") from None
        except PermissionError:
            raise MailLogError(
                f"{self._path}: permission denied; run this as root, or as a user in the group adm"
            ) from None
        except IsADirectoryError:
            raise MailLogError(
                f"{self._path}: Is a directory; name the files in it, e.g. {self._path}/mail.log"
            ) from None
        except OSError as error:
            raise MailLogError(f"{self._path}: {error.strerror}") from None

    def _peek(self, stream: Stream) -> bytes:
        try:
            return stream.peek(_PEEK_BYTES)
        except DAMAGE_ERRORS:
            return b""

    def _pieces(self, stream: Stream) -> Iterator[bytes]:
        """Yield the file's content in blocks; end with a message where the file is damaged."""
        size, start = 0, self._statistics.bytes_read
        while True:
            try:
                piece = stream.read1(_READ_BYTES)
            except DAMAGE_ERRORS as error:
                self._stop(f"damaged, read only up to the damage: {error}")
                return
            if not piece:
                return
            size += len(piece)
            # Another file may be read at the same time, so this may be the limit for both.
            if size > size_limit(self._statistics.bytes_read - start):
                self._stop(f"read only the first {size >> 20:,} MiB of its decompressed content")
                return
            yield piece

    def _stop(self, reason: str) -> None:
        print_error(f"{self._path}: {reason}")
        self._statistics.add_unread_file(self._path, reason, is_partial=True)


def _is_stream(path: str) -> bool:
    """Whether a source is standard input, the journal, or a pipe such as ``<(zcat mail.log.2)``."""
    if path == "-" or path.startswith(JOURNAL):
        return True
    try:
        kind = Path(path).stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


Stream: TypeAlias = "io.BufferedReader | gzip.GzipFile"

_PEEK_BYTES = 1 << 16
_READ_BYTES = 1 << 20
_MAX_SEARCHED_BYTES = 256 << 20
"""Maximum length of the part of a file that is searched for the order of its dates."""


class _CountingFile(io.RawIOBase):
    """A raw file that counts the bytes read from it."""

    def __init__(self, raw: io.RawIOBase, statistics: ReadStatistics) -> None:
        self._raw = raw
        self._statistics = statistics

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        data: int | None = self._raw.readinto(buffer)
        self._statistics.bytes_read += data or 0
        self._statistics.on_bytes(data or 0)
        return data

    def close(self) -> None:
        self._raw.close()
        super().close()
