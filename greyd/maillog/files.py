"""Reads log files, plain or compressed, and merges them by time."""

from __future__ import annotations

import bz2
import gzip
import heapq
import io
import lzma
import os
import stat
import time
import zlib
from typing import TYPE_CHECKING, TypeAlias

from greyd.maillog.errors import MailLogError
from greyd.maillog.lines import (
    EXPORT,
    LogLine,
    ReadStatistics,
    first_time,
    journal_lines,
    text_lines,
)
from greyd.maillog.times import TimeParser
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from typing_extensions import Buffer

    from greyd.maillog.lines import Find


def read_files(
    paths: Sequence[str | Path], find: Find, now: float | None, statistics: ReadStatistics
) -> Iterator[LogLine]:
    """Yield the wanted lines of several files, ordered by time.

    Raises:
        MailLogError: a file cannot be read.
    """
    now = time.time() if now is None else now
    files = [_LogFile(str(path), now, statistics) for path in paths]
    return _in_order([(file.first_time(), file.lines(find)) for file in files])


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
    """One log file, plain or compressed, or standard input."""

    def __init__(self, path: str, now: float, statistics: ReadStatistics) -> None:
        self._path = path
        self._now = now
        self._statistics = statistics
        # Standard input can be opened only once.
        self._stream = self._open(statistics) if path == "-" else None

    def first_time(self) -> float:
        """Return the Unix time of the first line with a date; 0 if no line has one."""
        if self._stream is not None:
            return first_time(self._peek(self._stream), TimeParser(self._now))
        with self._open(ReadStatistics()) as stream:
            return first_time(self._peek(stream), TimeParser(self._now))

    def lines(self, find: Find) -> Iterator[LogLine]:
        """Yield the lines that ``find`` finds."""
        with self._stream or self._open(self._statistics) as stream:
            form = journal_lines if self._peek(stream).startswith(EXPORT) else text_lines
            yield from form(self._pieces(stream), find, TimeParser(self._now), self._statistics)

    def _open(self, statistics: ReadStatistics) -> Stream:
        try:
            # The BufferedReader below closes this file.
            raw = io.FileIO(0, closefd=False) if self._path == "-" else io.FileIO(self._path)
            status = os.fstat(raw.fileno())
            if stat.S_ISREG(status.st_mode):
                self._now = min(self._now, status.st_mtime)
            return _decompressed(io.BufferedReader(_CountingFile(raw, statistics), _PEEK_BYTES))
        except PermissionError:
            raise MailLogError(
                f"{self._path}: permission denied; run this as root, or as a user in the group adm"
            ) from None
        except OSError as error:
            raise MailLogError(f"{self._path}: {error.strerror}") from None

    def _peek(self, stream: Stream) -> bytes:
        try:
            return stream.peek(_PEEK_BYTES)
        except _DAMAGE_ERRORS:
            return b""

    def _pieces(self, stream: Stream) -> Iterator[bytes]:
        """Yield the file's content in blocks; end with a message where the file is damaged."""
        while True:
            try:
                piece = stream.read1(_READ_BYTES)
            except _DAMAGE_ERRORS as error:
                print_error(f"{self._path}: damaged, read only up to the damage: {error}")
                return
            if not piece:
                return
            yield piece


Stream: TypeAlias = "io.BufferedReader | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile"

_PEEK_BYTES = 1 << 16
_READ_BYTES = 1 << 20
_DAMAGE_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError)


class _CountingFile(io.RawIOBase):
    """A raw file that counts the bytes read from it."""

    def __init__(self, raw: io.FileIO, statistics: ReadStatistics) -> None:
        self._raw = raw
        self._statistics = statistics

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int | None:
        data = self._raw.readinto(buffer)
        self._statistics.bytes_read += data or 0
        self._statistics.on_bytes(data or 0)
        return data

    def close(self) -> None:
        self._raw.close()
        super().close()


def _decompressed(file: io.BufferedReader) -> Stream:
    magic = file.peek(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if magic.startswith(b"\xfd7zXZ\x00"):
        return lzma.LZMAFile(file)
    return file
