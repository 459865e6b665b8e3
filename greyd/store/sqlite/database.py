"""Opens, upgrades, checkpoints and closes a store's SQLite file, and sets a damaged file aside.

Each of these steps holds the file's lock (``greyd.store.sqlite.lock``), which excludes other
threads and processes. Two threads use a ``Database``: one executes the requests, the other runs the
checkpoints.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.store.contract import AccessMode
from greyd.store.errors import StoreError, UnusableStoreError, UnwritableStoreError
from greyd.store.sqlite import schema
from greyd.store.sqlite.file_identity import identify
from greyd.store.sqlite.lock import (
    NO_FILE,
    OPEN,
    DatabaseLock,
    DatabaseLockedError,
    file_state,
    wal_id,
)
from greyd.store.sqlite.permissions import find_permission_fault
from greyd.store.sqlite.read_only import ReadOnlyDatabase
from greyd.store.sqlite.set_aside import move_wal_away, set_aside
from greyd.store.sqlite.sqlite_errors import damaged_error, describe_error

if TYPE_CHECKING:
    from greyd.store.sqlite.file_identity import FileIdentity
    from greyd.store.sqlite.location import Location
    from greyd.store.sqlite.lock import FileState, HeldLock
    from greyd.store.sqlite.thread_reports import ThreadReports

LARGE_WAL_BYTES = 8 * 1024 * 1024
_BUSY_SECONDS = 0.25
_WAL_RESTART_SECONDS = 0.02

_never_closed: list[sqlite3.Connection] = []


class Database:
    """A SQLite file and the connection to it."""

    def __init__(self, location: Location, access: AccessMode, reports: ThreadReports) -> None:
        """Set up without opening the file."""
        self.path = location.path
        self.access = access
        self._synchronous = location.synchronous
        self._reports = reports
        self._lock = DatabaseLock(self.path)
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._last_written = NO_FILE
        """The state of the file after greyd's last write."""
        self._damaged = NO_FILE
        """The state of a damaged file that could not be set aside yet."""
        self._found_damaged = False
        """Whether another process has found the open file damaged."""
        self._has_large_wal = False

    # Opening ------------------------------------------------------------------------------------

    def opened(self) -> sqlite3.Connection:
        """Return the connection; open the file if needed.

        Raises:
            StoreError: the file can't be opened, or is not greyd's.
            sqlite3.Error: SQLite rejects the file.
            OSError: the lock file can't be created.
        """
        if self._connection is not None and not self._is_at_path():
            # Another worker has set the file aside, or somebody has moved it.
            self.close()
        if self._found_damaged:
            self._found_damaged = False
            raise damaged_error("damaged, as another process has found")
        if self._connection is None:
            try:
                with self._lock.held() as held:
                    try:
                        self._connection = self._open(held)
                    finally:
                        # Also if opening failed: the file may have to be set aside.
                        self._inode = self._last_written.inode
            except (DatabaseLockedError, UnwritableStoreError):
                raise
            except StoreError:
                # A lock file that this user can't read raises this too; report the permissions.
                self._require_permissions()
                raise
        return self._connection

    def _require_permissions(self) -> None:
        if fault := find_permission_fault(Path(self.path)):
            raise UnwritableStoreError(f"sqlite:{self.path}: {fault.reason}", fault.remedy)

    def _open(self, held: HeldLock) -> sqlite3.Connection:
        identity = identify(self.path)
        # SQLite would create a -wal with the file's wrong permissions, and leave it behind.
        self._require_permissions()
        self._last_written = file_state(self.path)
        if self._last_written == self._damaged != NO_FILE:
            raise damaged_error("database disk image is malformed")
        self._move_foreign_wal(held, identity)
        if not identity.exists:
            _create(self.path)
            self._last_written = file_state(self.path)
        self._check_version_in_wal()
        held.note_writing()
        connection = _connect(self.path)
        try:
            if identity.version is None:
                schema.make(connection)
            elif self.access is AccessMode.SERVE:
                self._upgrade(connection, identity)
            else:
                schema.check(connection, self.path)
            if identity.version is None or self.access is AccessMode.SERVE:
                _use_wal(connection)
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
            connection.execute("PRAGMA cache_size=-8000")
        except BaseException:
            connection.close()
            raise
        held.record.damaged = 0
        self._note_open(held)
        return connection

    def _upgrade(self, connection: sqlite3.Connection, identity: FileIdentity) -> None:
        """Upgrade an old schema, and write greyd's application id into the file's own header."""
        old_version = schema.upgrade(connection, self.path)
        if old_version is not None:
            self._reports.warn(
                f"sqlite:{self.path}: upgraded from schema version {old_version} to"
                f" {schema.VERSION}"
            )
        if not identity.is_marked:
            # greyd recognises a damaged file by its header; an id in the log alone does not help.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _check_version_in_wal(self) -> None:
        """Refuse a file if only its write-ahead log has a newer schema version.

        Opening the file for writing, and closing it, would write that version into the file.
        """
        if not (self._wal_state().size_bytes and file_state(self.path + "-shm").inode):
            return
        try:
            with contextlib.closing(ReadOnlyDatabase(self.path)) as read_only:
                schema.check(read_only.connection, self.path)
        except UnusableStoreError:
            raise
        except (sqlite3.Error, StoreError):
            return  # opening the file will report the cause

    def _move_foreign_wal(self, held: HeldLock, identity: FileIdentity) -> None:
        """Keep SQLite from replaying a write-ahead log that was written for another file."""
        # SQLite would delete a log beside an empty file.
        is_orphan = identity.version is None and self._wal_state().size_bytes > 0
        if not is_orphan and not held.record.has_foreign_wal(self.path):
            return
        if self.access is not AccessMode.SERVE:
            raise StoreError(
                f"sqlite:{self.path}: the -wal beside it was written for another file; start greyd,"
                " which moves that away"
            )
        moved_to = move_wal_away(self.path)
        held.note_closed()
        self._reports.warn(
            f"sqlite:{self.path}: this file has replaced another one; the last commits of that are"
            f" kept as {moved_to}"
        )

    def _note_open(self, held: HeldLock) -> None:
        held.note_open(self.path)
        self._last_written = held.record.database

    # Closing ------------------------------------------------------------------------------------

    def _is_at_path(self) -> bool:
        """Whether the file at the path is the one that was opened."""
        try:
            return os.stat(self.path).st_ino == self._inode  # noqa: PTH116 - once per batch
        except OSError:
            return False

    def close(self) -> None:
        """Close the file, if it is open."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            with self._lock.held() as held:
                if self._is_at_path():
                    held.note_writing()
                    connection.close()
                    if wal_id(self.path).inode:
                        held.note_open(self.path)
                    else:
                        held.note_closed()
                    return
        except (sqlite3.Error, OSError, StoreError):
            pass  # without the lock nothing is known about the file at the path
        # Closing would delete the -wal at the path, which may be another file's by now.
        _never_closed.append(connection)

    def set_aside(self, reason: str) -> StoreError:
        """Rename a damaged file, so that the next batch begins with an empty one.

        Returns:
            The error for the callers: an ``UnwritableStoreError`` if an administrator has to act.
        """
        prefix = f"{reason}; "
        try:
            with self._lock.held() as held:
                if not self._is_at_path():
                    return StoreError(
                        f"{prefix}set aside by another worker, going on with an empty file"
                    )
                outcome = set_aside(self.path, held)
                self._damaged = file_state(self.path)
        except (OSError, StoreError) as error:
            return UnwritableStoreError(
                f"{prefix}can't be set aside: {describe_error(error)}; move it away by hand"
            )
        kind = StoreError if self._damaged == NO_FILE else UnwritableStoreError
        return kind(f"{prefix}{outcome}")

    # The write-ahead log ------------------------------------------------------------------------

    def restart_large_wal(self) -> None:
        """Write the rest of a large write-ahead log back, and truncate the log.

        Only the thread that executes requests can do this: under load, a commit is always in
        progress when another thread tries.
        """
        if not self._has_large_wal:
            return
        connection = self.opened()
        # The checkpoint waits for all readers, also those of other processes, and requests wait for
        # the checkpoint. If the readers take long, or another thread holds the lock, a later batch
        # tries again.
        try:
            with self._lock.held(0) as held:
                self._has_large_wal = False
                connection.execute(f"PRAGMA busy_timeout={_WAL_RESTART_SECONDS * 1000:.0f}")
                try:
                    self._write_back(held, connection, "TRUNCATE")
                finally:
                    connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000:.0f}")
        except DatabaseLockedError:
            return

    def checkpoint(
        self, written_back: FileState | None, max_wait_seconds: float
    ) -> FileState | None:
        """Write the write-ahead log back into the file, on a separate connection.

        Args:
            written_back: the state of the log after the last complete checkpoint.
            max_wait_seconds: how long to wait for the lock.

        Returns:
            The state of the log after this checkpoint; None if it did not write the whole log back.
        """
        if self._connection is None or not wal_id(self.path).inode:
            return None
        if self._lock.peek().damaged == self._inode:
            self._found_damaged = True
            return None
        if file_state(self.path) == self._last_written and self._wal_state() == written_back:
            return written_back
        with self._lock.held(max_wait_seconds) as held:
            if self._connection is None or not self._is_at_path() or not wal_id(self.path).inode:
                return None
            connection = _connect(self.path, timeout=0)
            with contextlib.closing(connection):
                connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
                is_complete = self._write_back(held, connection, "PASSIVE")
            state = self._wal_state()
            self._has_large_wal = state.size_bytes > LARGE_WAL_BYTES
            return state if is_complete else None

    def _wal_state(self) -> FileState:
        return file_state(self.path + "-wal")

    def _write_back(self, held: HeldLock, connection: sqlite3.Connection, kind: str) -> bool:
        """Run a checkpoint; return whether it has written the whole log into the file."""
        self._warn_of_other_writers(held)
        held.note_writing()
        try:
            ((busy, log, done),) = connection.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()
        finally:
            self._note_open(held)
        return not busy and log == done

    def _warn_of_other_writers(self, held: HeldLock) -> None:
        """Warn if another program has written into the file, e.g. ``cp``."""
        state, record = file_state(self.path), held.record
        if state in (self._last_written, record.database) or record.state != OPEN:
            return
        self._reports.warn(
            f"sqlite:{self.path}: another program has written over this file while greyd uses it;"
            " to restore a backup, stop greyd first and move the backup there with mv"
        )


def _create(path: str) -> None:
    """Create an empty file that only this user can read."""
    with contextlib.suppress(FileExistsError):
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(path, flags, 0o600))


def _connect(path: str, timeout: float = _BUSY_SECONDS) -> sqlite3.Connection:
    """Open an existing file; never create one."""
    address = f"{Path(path).as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=timeout, isolation_level=None)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Set the file to WAL mode."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except sqlite3.OperationalError:
            # Another process reads the file; SQLite's busy timeout ignores this statement.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
