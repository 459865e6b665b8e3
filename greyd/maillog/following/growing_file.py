"""Follows a log file as it grows, is rotated or truncated."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, BinaryIO, Self

from greyd.maillog.errors import MailLogError
from greyd.maillog.sources.compression import is_compressed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLL_SECONDS = 0.3
MAX_PAST_BYTES = 8 << 20
"""How much of the end of a file is searched for past decisions."""

_READ_BYTES = 1 << 18
_HEAD_BYTES = 16


class GrowingFile:
    """A log file, read from near its end, and then as it grows.

    After a rotation it continues with the new file of the same name, after the rest of the old
    one. A file that has become shorter is read from its beginning.
    """

    def __init__(self, path: Path, poll: Callable[[float], object] = time.sleep) -> None:
        """Open the file.

        Args:
            path: the file, which must exist.
            poll: waits for a number of seconds.

        Raises:
            MailLogError: the file can't be read, or is compressed.
        """
        self._path = path
        self._poll = poll
        self._file = self._open()
        self.is_past_cut = False
        """Whether ``past`` has left out the beginning of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _open(self) -> BinaryIO:
        try:
            # Closed by __exit__, or when the next file of this name replaces it.
            file = self._path.open("rb")
            head = file.read(_HEAD_BYTES)
            file.seek(0)
        except PermissionError:
            raise MailLogError(
                f"{self._path}: permission denied; run this as root, or as a user in the group adm"
            ) from None
        except OSError as error:
            raise MailLogError(f"{self._path}: {error.strerror}") from None
        if is_compressed(head):
            file.close()
            raise MailLogError(f"{self._path}: compressed files do not grow; read it with report")
        return file

    def past(self) -> bytes:
        """Return the whole lines at the end of the file, at most ``MAX_PAST_BYTES``."""
        size = os.fstat(self._file.fileno()).st_size
        start = max(size - MAX_PAST_BYTES, 0)
        self._file.seek(start)
        content = self._file.read(size - start)
        end = content.rfind(b"\n") + 1
        # The last line may still be incomplete.
        self._file.seek(start + end)
        self.is_past_cut = start > 0
        return content[content.find(b"\n") + 1 : end] if start else content[:end]

    def pieces(self) -> Iterator[bytes]:
        """Yield what follows, as it is written, without end."""
        while True:
            if piece := self._file.read(_READ_BYTES):
                yield piece
                continue
            if self._is_replaced():
                # What was written between the read above and the rotation.
                yield from iter(lambda: self._file.read(_READ_BYTES), b"")
                self._file.close()
                self._file = self._open()
                yield b"\n"
            elif os.fstat(self._file.fileno()).st_size < self._file.tell():
                self._file.seek(0)
                yield b"\n"
            else:
                self._poll(POLL_SECONDS)

    def _is_replaced(self) -> bool:
        """Whether another file now has this name; false while there is none."""
        try:
            current = self._path.stat()
        except OSError:
            return False
        own = os.fstat(self._file.fileno())
        return (current.st_dev, current.st_ino) != (own.st_dev, own.st_ino)
