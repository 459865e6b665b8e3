"""Writes the record of this server, ``greyd.run``; see ``greyd.config.running.run_record``."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from typing import TYPE_CHECKING

from greyd.config.running.run_record import RUN_FILE, RUN_FILE_MODE, is_locked
from greyd.server.files.folders import OwnFile, folder_of, temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from greyd.config.running.run_record import RunRecord

_OF_SECOND_SERVER = re.compile(r"greyd-[0-9]{1,10}\.run")


class RunFile:
    """The record of this server, locked as long as one of its processes runs."""

    def __init__(self, record: RunRecord, folder: Path) -> None:
        """Write the record into a folder, under another name if another server has one there.

        Raises:
            OSError: the file can't be written.
        """
        path = folder / RUN_FILE
        with folder_of(path) as descriptor:
            _remove_stale(folder, descriptor)
            name = f"greyd-{os.getpid()}.run" if _is_locked(descriptor, RUN_FILE) else RUN_FILE
            temporary = temporary_name(name)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            # Stays open, also in the workers: the lock ends with the last of them.
            self._descriptor = os.open(temporary, flags, 0o600, dir_fd=descriptor)
            file = OwnFile(descriptor, temporary)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.fchmod(self._descriptor, RUN_FILE_MODE)
                _write(self._descriptor, record.dump())
                file.rename(name)
            except OSError:
                file.remove()
                os.close(self._descriptor)
                raise
        self._file = file

    def remove(self) -> None:
        """Remove the record, unless another server has replaced it."""
        self._file.remove()
        os.close(self._descriptor)


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _remove_stale(folder: Path, descriptor: int) -> None:
    """Remove the records that killed servers left under other names."""
    for name in [each.name for each in folder.glob("greyd-*.run")]:
        if _OF_SECOND_SERVER.fullmatch(name) and not _is_locked(descriptor, name):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=descriptor)


def _is_locked(folder: int, name: str) -> bool:
    """Whether a running server holds the lock on a file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError:
        return False
    try:
        return is_locked(descriptor)
    finally:
        os.close(descriptor)


def write_run_file(
    record: RunRecord, folders: Iterable[Path], own_folder: Path | None = None
) -> RunFile:
    """Write the record into the first folder that this user can write to.

    Args:
        record: what to write.
        folders: the folders, in order of preference.
        own_folder: the folder that belongs to this user alone, and is created if it is missing.

    Raises:
        OSError: no folder is writable; the error is that of the preferred folder.
    """
    first: OSError | None = None
    for folder in folders:
        try:
            if folder == own_folder:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return RunFile(record, folder)
        except OSError as error:
            first = first or error
    raise first or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
