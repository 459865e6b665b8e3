"""Detects compressed files by their content, and decompresses them in bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from greyd.maillog.errors import MailLogError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from typing_extensions import Buffer

MAX_XZ_MEMORY_BYTES = 256 << 20
"""Memory for one xz file; its highest level needs 65 MiB."""

MAX_EXPANSION = 1000
"""A log grows up to a hundredfold; a file that grows more than this is malicious."""

MIN_SIZE_LIMIT_BYTES = 1 << 30
"""A file may always grow to this size."""

_CHUNK_BYTES = 1 << 16

DAMAGE_ERRORS = (EOFError, OSError, zlib.error)
"""The exceptions that damaged files raise."""


class _Decompressor(Protocol):
    """What the decompressors of bz2, lzma, zstd and lz4 have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Library:
    """A compression library."""

    new: Callable[[], _Decompressor]
    error: type[Exception]
    """The exceptions that damaged data raises."""


def _bzip2() -> _Library:
    return _Library(bz2.BZ2Decompressor, OSError)


def _xz() -> _Library:
    return _Library(lambda: lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY_BYTES), lzma.LZMAError)


def _zstd() -> _Library:
    # In Python itself from 3.14 on. It refuses files that need more than 128 MiB of memory.
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    zstd = _import_library(name, "zstd")
    return _Library(zstd.ZstdDecompressor, zstd.ZstdError)


def _lz4() -> _Library:
    return _Library(_import_library("lz4.frame", "lz4").LZ4FrameDecompressor, RuntimeError)


def _import_library(name: str, program: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise MailLogError(
            f"compressed with {program}, and Python's {name} is not installed; run"
            f" {program} -dc FILE | greyd report -"
        ) from None


_LIBRARIES: tuple[tuple[bytes, Callable[[], _Library]], ...] = (
    (b"BZh", _bzip2),
    (b"\xfd7zXZ\x00", _xz),
    (b"\x5d\x00\x00", _xz),  # .lzma
    (b"\x28\xb5\x2f\xfd", _zstd),
    # pzstd and others begin with a frame to skip.
    *((bytes([0x50 + each]) + b"\x2a\x4d\x18", _zstd) for each in range(16)),
    (b"\x04\x22\x4d\x18", _lz4),
)
_GZIP = b"\x1f\x8b"

_UNSUPPORTED = (
    (b"\x1f\x9d", "compressed with compress (.Z)", "zcat"),
    (b"\x02\x21\x4c\x18", "compressed with lz4 -l", "lz4 -dc"),
    (b"\x89LZO", "compressed with lzop", "lzop -dc"),
    (b"LZIP", "compressed with lzip", "lzip -dc"),
    (b"PK\x03\x04", "a zip archive", "unzip -p"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "7z x -so"),
    (b"Rar!\x1a\x07", "a rar archive", "unrar p -inul"),
)
_OTHER = (
    (
        b"LPKSHHRH",
        "a binary file of the journal; run journalctl --file={} -o export | greyd report -",
    ),
    (b"SQLite format 3\x00", "an SQLite database, not a log"),
    (b"\x7fELF", "a program, not a log"),
    (b"%PDF-", "a PDF document, not a log"),
)


def unsupported_form(head: bytes, path: str) -> str | None:
    """Return the form of a file that can't be read as a log, and the remedy; otherwise None."""
    for magic, what, command in _UNSUPPORTED:
        if head.startswith(magic):
            return f"{what}; run {command} {path} | greyd report -"
    for magic, what in _OTHER:
        if head.startswith(magic):
            return what.format(path)
    if head[257:262] == b"ustar":
        return "a tar archive; extract it, and name its files"
    return None


def is_compressed(head: bytes) -> bool:
    """Whether a file's head is that of a supported compression."""
    return head.startswith((_GZIP, *(magic for magic, _ in _LIBRARIES)))


def decompressed(file: io.BufferedReader) -> io.BufferedReader | gzip.GzipFile:
    """Return a file with the decompressed content; the file itself if it is not compressed.

    Raises:
        MailLogError: the library for the compression is not installed.
    """
    head = file.peek(6)
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)
    for magic, load in _LIBRARIES:
        if head.startswith(magic):
            return io.BufferedReader(_DecompressedFile(file, load()), _CHUNK_BYTES)
    return file


def size_limit(compressed_bytes: int) -> int:
    """Return the maximum number of bytes to decompress from a number of compressed bytes."""
    return max(MIN_SIZE_LIMIT_BYTES, MAX_EXPANSION * compressed_bytes)


class _DecompressedFile(io.RawIOBase):
    """Decompresses one or more streams, a limited piece at a time."""

    def __init__(self, file: io.BufferedReader, library: _Library) -> None:
        self._file = file
        self._library = library
        self._decompressor = library.new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        while True:
            decompressor, data = self._decompressor, b""
            if decompressor.eof:
                # Another stream may follow, in xz files after zero bytes.
                data = (decompressor.unused_data or b"").lstrip(b"\0")
                while not data:
                    if not (piece := self._file.read1(_CHUNK_BYTES)):
                        return 0
                    data = piece.lstrip(b"\0")
                decompressor = self._decompressor = self._library.new()
            elif decompressor.needs_input and not (data := self._file.read1(_CHUNK_BYTES)):
                raise EOFError("the compressed data ends too early")
            try:
                piece = decompressor.decompress(data, len(view))
            except self._library.error as error:
                raise OSError(str(error)) from error
            if piece:
                view[: len(piece)] = piece
                return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()
