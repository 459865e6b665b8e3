"""The pid file: written under a temporary name and renamed, so that it is never incomplete."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from greyd.server.files.folders import OwnFile, folder_of, temporary_name

if TYPE_CHECKING:
    from pathlib import Path

MODE = 0o644
"""Readable by everybody, writable by root alone."""

_A_PID = re.compile(rb"\s*[0-9]{0,10}\s*")
_MAX_BYTES = 64


class PidFile:
    """The pid file of this process."""

    def __init__(self, path: Path) -> None:
        """Write the pid file; replaces an old pid file or a symbolic link.

        Raises:
            OSError: the file can't be written, or the path has another kind of file, which stays.
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
        """Remove the pid file, unless another process has replaced it."""
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
    """Refuse to replace anything but a pid file or a symbolic link."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        return
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "not a regular file; name another path")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb", buffering=0) as file:
        if not _A_PID.fullmatch(file.read(_MAX_BYTES + 1) or b""):
            raise OSError(0, "a file without a process ID; name another path")
