"""The pid file: written aside and renamed, so that it is there whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from greyd.server.folders import OwnFile, folder_of, temporary_name

if TYPE_CHECKING:
    from pathlib import Path

MODE = 0o644
"""Everybody may know the process; only root may say which it is."""

_A_PID = re.compile(rb"\s*[0-9]{0,10}\s*")
_MAX_BYTES = 64


class PidFile:
    """The pid file of this process."""

    def __init__(self, path: Path) -> None:
        """Write it, in the place of one that is stale; a symbolic link is replaced, not followed.

        Raises:
            OSError: it can't be written, or something else has its name, which stays as it is.
        """
        self._content = b"%d\n" % os.getpid()
        with folder_of(path) as folder:
            _require_replaceable(folder, path.name)
            self._file = _write(folder, temporary_name(path.name), self._content)
            try:
                self._file.rename(path.name)
            except OSError:
                self._file.remove()
                raise

    def remove(self) -> None:
        """Remove it, unless another process has written its own."""
        if self._file.read(_MAX_BYTES) == self._content:
            self._file.remove()


def _write(folder: int, name: str, content: bytes) -> OwnFile:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
        made = OwnFile(folder, name)
        try:
            os.fchmod(file.fileno(), MODE)
            file.write(content)
            file.flush()
        except OSError:
            made.remove()
            raise
    return made


def _require_replaceable(folder: int, name: str) -> None:
    """Let a pid file be replaced, and a link, but nothing that somebody may miss."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "there is something that is no file; name another path")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb", buffering=0) as file:
        if not _A_PID.fullmatch(file.read(_MAX_BYTES + 1) or b""):
            raise OSError(0, "there is a file that holds no process id; name another path")
