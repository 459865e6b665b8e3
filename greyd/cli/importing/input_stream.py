"""Opens the file or standard input that an import reads, and decompresses it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.maillog.sources.compression import DAMAGE_ERRORS, decompressed

if TYPE_CHECKING:
    import contextlib
    import gzip
    from collections.abc import Callable
    from pathlib import Path

PEEK_BYTES = 1 << 16
_PROGRAMS = {
    b"PK\x03\x04": ("zip", "unzip -p"),
    b"7z\xbc\xaf": ("7z", "7z x -so"),
    b"\x1f\x9d": ("compress", "zcat"),
    b"LZIP": ("lzip", "lzip -dc"),
    b"\x89LZO": ("lzop", "lzop -dc"),
}
"""Compressed files that only another program reads, by their first bytes."""


def _ignore(_count: int) -> None:
    pass


class InputStream(io.RawIOBase):
    """The bytes of a source, decompressed; it ends where compressed data is damaged."""

    def __init__(self, name: str, stream: io.BufferedReader | gzip.GzipFile) -> None:
        self._name = name
        self._stream = stream
        self.damage = ""
        """The error that ended the stream early; empty without one."""
        self.size: int | None = None
        """The number of bytes in the stream; None if unknown."""
        self.on_bytes: Callable[[int], None] = _ignore
        """Called with the number of bytes that were read."""
        self._has_begun = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read up to the size of ``buffer``; return 0 at the end."""
        data = self._read1(len(buffer))
        if not self._has_begun:
            # The form shows in the first bytes, and a pipe may deliver them in small pieces.
            self._has_begun = True
            while (
                data and len(data) < len(buffer) and (more := self._read1(len(buffer) - len(data)))
            ):
                data += more
        buffer[: len(data)] = data
        self.on_bytes(len(data))
        return len(data)

    def _read1(self, size: int) -> bytes:
        if self.damage:
            return b""
        try:
            return self._stream.read1(size)
        except DAMAGE_ERRORS as error:
            self.damage = f"{self._name}: damaged, read only up to the damage: {error}"
            return b""


def open_input(
    path: Path | None, stack: contextlib.ExitStack
) -> tuple[InputStream, io.BufferedReader]:
    """Open a file, or standard input for None; return the raw and the buffered stream.

    Raises:
        CommandError: the file can't be read, or another program has to decompress it.
    """
    name = "standard input" if path is None else str(path)
    try:
        raw = io.FileIO(0, closefd=False) if path is None else io.FileIO(path)
        file: io.BufferedReader = io.BufferedReader(raw, PEEK_BYTES)
        stack.enter_context(file)
        begin = file.peek(PEEK_BYTES)[:6]
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror}") from None
    for magic, (form, command) in _PROGRAMS.items():
        if begin.startswith(magic):
            raise CommandError(
                f"{name}: compressed with {form}: use {command} FILE | greyd import -"
            )
    content = decompressed(file)
    stream = InputStream(name, content)
    if content is file and path is not None:
        stream.size = path.stat().st_size
    return stream, io.BufferedReader(stream, PEEK_BYTES)
