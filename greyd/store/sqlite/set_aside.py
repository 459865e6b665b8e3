"""Moves a database's files out of the way, under names that tell what they are. Nothing is removed.

Only the server calls this, with the database's lock held and no connection to it open in this
process.
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
    """Keep a damaged database under another name; returns what has been done.

    It is left where it is unless its header proves that it is greyd's, and while another process
    has it open: that one is asked to let go of it.

    Raises:
        OSError: it can't be moved.
    """
    if not is_provably_ours(path):
        return "nothing in it proves that it is greyd's, so it stays there; move it away by hand"
    if not held.is_alone:
        return "other processes can't be kept out, as the file system has no locks; move it away"
    with _opened_by_nobody_else(path) as other:
        if other is not None:
            held.note_damaged(Path(path).stat().st_ino)
            who = f"process {other} has" if other else "another process has"
            return f"{who} it open; it is set aside as soon as that lets go of it"
        aside = _free_name(f"{path}.damaged-{_stamp()}")
        # Nobody may find the database without the commits that belong to it.
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(path + suffix).rename(aside + suffix)
        held.note_closed()
    return f"set aside as {aside}, going on with an empty file"


def move_log_away(path: str) -> str:
    """Move a log of commits away that belongs to another database; returns its new name.

    Raises:
        OSError: it can't be moved.
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
def _opened_by_nobody_else(path: str) -> Iterator[int | None]:
    """Keep SQLite in other processes from opening a database.

    Yields:
        None where that is so; else the process that has it open, 0 where that can't be told.
    """
    # Who has a database in WAL mode open holds a shared lock on it all the time.
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
