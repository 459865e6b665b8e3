"""Reads a SQLite file without changing the file, its folder or the files beside it.

SQLite's ``mode=ro`` is not enough: beside a file in WAL mode that no process has open it creates a
``-wal`` and a ``-shm``, and after a crash it writes to the ``-shm``
(https://www.sqlite.org/wal.html#read_only_databases). So greyd chooses by the files there:

===================================  ==============================================================
opened by                            how greyd reads it
===================================  ==============================================================
a live process                       through the shared ``-shm``, as any reader
no process; the log is empty or gone ``immutable=1``: the file itself is complete
no process; a log and a ``-shm``     ``readonly_shm=1``: SQLite reads the log into its own memory
no process; a log without ``-shm``   from a copy in a temporary folder
no process; a log of another file    ``immutable=1``: the log is ignored
===================================  ==============================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import struct
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.store.errors import StoreError
from greyd.store.sqlite import schema
from greyd.store.sqlite.file_identity import identify
from greyd.store.sqlite.lock import DatabaseLock

if TYPE_CHECKING:
    from collections.abc import Callable


_BUSY_SECONDS = 5.0
_WAL = 2
_LOCK_OF_SHM = 128
"""The offset of the byte in the ``-shm`` that each process with an open file locks ("DMS")."""
_FLOCK = "hhqqi4x"
"""Linux's ``struct flock``."""


@dataclass(frozen=True, slots=True)
class FileSnapshot:
    """The state of a database file and its logs, which changes with each write."""

    inode: int
    size: int
    changed_at: int
    log_size: int
    journal_size: int


class ReadOnlyDatabase:
    """A connection that only reads a database file."""

    def __init__(self, path: str) -> None:
        """Open the file.

        Raises:
            StoreError: the file can't be read.
        """
        self._path = path
        self._end: Callable[[], object] = lambda: None
        self._is_immutable = False
        self._snapshot = take_snapshot(path)
        try:
            self.connection = self._connect()
        except (OSError, sqlite3.Error, StoreError) as error:
            self._end()
            raise StoreError(f"sqlite:{path}: {_describe(error)}") from error

    @property
    def is_stale(self) -> bool:
        """Whether the last read may have mixed two states of the file, or read a replaced one."""
        now = take_snapshot(self._path)
        if self._is_immutable:
            return now != self._snapshot
        return now.inode != self._snapshot.inode

    def close(self) -> None:
        """Close the connection, and delete the temporary copy if there is one."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        self._end()

    def _connect(self) -> sqlite3.Connection:
        if self._snapshot.journal_size:
            return self._copied("-journal")
        # SQLite replays a log whatever the header says about the journal mode.
        if not _uses_wal(self._path) and not self._snapshot.log_size:
            return self._opened("mode=ro")
        has_shm = os.path.lexists(f"{self._path}-shm")
        if has_shm and _is_live(self._path):
            return self._opened("mode=ro")
        if not self._snapshot.log_size or DatabaseLock(self._path).peek().has_foreign_wal(
            self._path
        ):
            self._is_immutable = True
            return self._opened("mode=ro&immutable=1")
        if has_shm:
            return self._opened("mode=ro&readonly_shm=1")
        return self._copied("-wal")

    def _opened(self, options: str, path: str | None = None) -> sqlite3.Connection:
        address = f"{Path(path or self._path).absolute().as_uri()}?{options}"
        connection = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            # SQLite opens the file only now.
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _copied(self, suffix: str) -> sqlite3.Connection:
        """Copy the file and open the copy, because replaying a log or journal writes to it."""
        folder = tempfile.mkdtemp(prefix="greyd-read-")
        self._end = lambda: shutil.rmtree(folder, ignore_errors=True)
        needed = self._snapshot.size + self._snapshot.log_size + self._snapshot.journal_size
        if needed > shutil.disk_usage(folder).free:
            raise StoreError(
                f"its last commits are in {self._path}{suffix}, and {tempfile.gettempdir()} has no"
                " space for a copy of both; start greyd, or set TMPDIR to another folder"
            )
        for each in ("", suffix):
            copy = Path(f"{folder}/greyd.db{each}")
            copy.touch(mode=0o600)
            shutil.copyfile(self._path + each, copy)
        return self._opened("mode=rw", f"{folder}/greyd.db")


def open_read_only(path: str) -> ReadOnlyDatabase:
    """Open greyd's file at ``path``.

    Raises:
        StoreError: the file is missing, empty, not greyd's, or can't be read.
    """
    if identify(path).version is None:
        raise StoreError(f"sqlite:{path}: nothing is stored there")
    database = ReadOnlyDatabase(path)
    try:
        schema.check(database.connection, path)
    except BaseException:
        database.close()
        raise
    return database


def take_snapshot(path: str) -> FileSnapshot:
    """Return the current state of a database file and its logs."""
    sizes = []
    for suffix in ("-wal", "-journal"):
        try:
            sizes.append(Path(path + suffix).stat().st_size)
        except OSError:
            sizes.append(0)
    try:
        status = Path(path).stat()
    except OSError:
        return FileSnapshot(0, 0, 0, *sizes)
    return FileSnapshot(status.st_ino, status.st_size, status.st_mtime_ns, *sizes)


def _uses_wal(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.pread(descriptor, 1, 19) == bytes([_WAL])
    finally:
        os.close(descriptor)


def _is_live(path: str) -> bool:
    """Whether another process has the file open in WAL mode."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        descriptor = os.open(f"{path}-shm", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        # SQLite will give the reason.
        return True
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _LOCK_OF_SHM, 1, 0)
        found = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return bool(found[0] != fcntl.F_UNLCK)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}; run this as root"
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CANTOPEN:
        return f"{error}; run this as root, or as the user that greyd runs as"
    return str(error)
