"""Renames a database's files, so that greyd can begin with an empty one. Deletes nothing.

Only the server does this, while it holds the database's lock and has no connection open.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.store.sqlite.file_identity import is_provably_ours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.store.sqlite.lock import HeldLock

# SQLite's locks on a database: https://www.sqlite.org/src/file/src/os.h, PENDING_BYTE and after.
_FIRST_LOCK = 0x40000000
_LOCKS = 512
_FLOCK = "hhqqi4x"


def set_aside(path: str, held: HeldLock) -> str:
    """Rename a damaged database; return a description of the outcome, for the log.

    The database keeps its name unless its header proves that it is greyd's. It also keeps its name
    while another process has it open; greyd asks that process to close it.

    Raises:
        OSError: a file can't be renamed.
    """
    if not is_provably_ours(path):
        return "nothing in it proves that it is greyd's, so greyd leaves it; move it away by hand"
    if not held.is_alone:
        return "the file system has no locks to keep other processes out; move it away by hand"
    with _closed_elsewhere(path) as other:
        if other is not None:
            held.note_damaged(Path(path).stat().st_ino)
            who = f"process {other} has" if other else "another process has"
            return f"{who} it open; greyd sets it aside once that has closed it"
        aside = _free_name(f"{path}.damaged-{_stamp()}")
        # The database goes first: it must never be there without the commits in its log.
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(path + suffix).rename(aside + suffix)
        held.note_closed()
    return f"set aside as {aside}, going on with an empty file"


def move_wal_away(path: str) -> str:
    """Rename a write-ahead log that belongs to another database; return its new name.

    Raises:
        OSError: the log can't be renamed.
    """
    aside = _free_name(f"{path}.replaced-{_stamp()}")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(path + suffix).rename(aside + suffix)
    return f"{aside}-wal"


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%S")


def _free_name(wanted: str) -> str:
    name, number = wanted, 1
    while any(os.path.lexists(name + suffix) for suffix in ("", "-wal", "-shm")):
        number += 1
        name = f"{wanted}-{number}"
    return name


@contextlib.contextmanager
def _closed_elsewhere(path: str) -> Iterator[int | None]:
    """Keep SQLite in other processes from opening a database.

    Yields:
        None on success; else the id of a process that has the database open, 0 if unknown.
    """
    # A process that has a database open in WAL mode always holds a shared lock on it.
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCKS, _FIRST_LOCK)
        except (BlockingIOError, PermissionError):
            yield _holder(descriptor)
        else:
            yield None
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> int:
    if not sys.platform.startswith("linux"):
        return 0
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _FIRST_LOCK, _LOCKS, 0)
    with contextlib.suppress(OSError):
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
        return int(pid) if kind != fcntl.F_UNLCK else 0
    return 0
