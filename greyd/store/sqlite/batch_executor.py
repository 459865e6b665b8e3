"""Executes batches of jobs in the thread that accesses the file, and recovers from errors."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.runtime.clock import SteadyClock
from greyd.store.contract import AccessMode
from greyd.store.errors import StoreError, UnwritableStoreError
from greyd.store.sqlite import rows
from greyd.store.sqlite.lock import DatabaseLockedError
from greyd.store.sqlite.permissions import find_permission_fault
from greyd.store.sqlite.read_only import open_read_only
from greyd.store.sqlite.sqlite_errors import (
    BUSY,
    DAMAGED,
    UNWRITABLE,
    describe_error,
    error_code,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.store.sqlite.database import Database
    from greyd.store.sqlite.read_only import ReadOnlyDatabase
    from greyd.store.sqlite.thread_reports import ThreadReports

MAX_READ_ATTEMPTS = 10


class BatchExecutor:
    """Executes each batch in one transaction."""

    def __init__(
        self, database: Database, reports: ThreadReports, is_full: Callable[[], bool]
    ) -> None:
        """Execute on ``database``; store no new triplet while ``is_full()`` returns True."""
        self._database = database
        self._reports = reports
        self._is_full = is_full
        self._clock = SteadyClock()
        self._read_only: ReadOnlyDatabase | None = None
        self._has_warned_of_lock = False

    def execute(self, batch: rows.Batch) -> StoreError | None:
        """Execute all jobs of a batch; return the error if the batch failed, else None."""
        try:
            if self._database.access is AccessMode.READ:
                self._read(batch)
            else:
                now = int(self._clock.now())
                rows.execute_batch(self._database.opened(), batch, now, full=self._is_full())
                self._reports.reset()
                self._has_warned_of_lock = False
                self._database.restart_large_wal()
        except Exception as error:  # noqa: BLE001 - the thread goes on, the callers get the error
            try:
                return self._recover(error)
            except Exception as another:  # noqa: BLE001 - the same
                self._reports.internal_error(another)
                return StoreError(f"sqlite:{self._database.path}: {describe_error(error)}")
        return None

    def close(self) -> None:
        """Close the file."""
        read_only, self._read_only = self._read_only, None
        if read_only is not None:
            read_only.close()
        self._database.close()

    def _read(self, batch: rows.Batch) -> None:
        """Execute jobs that only read; repeat them if the file has changed meanwhile."""
        now = int(self._clock.now())
        for _ in range(MAX_READ_ATTEMPTS):
            if self._read_only is None:
                self._read_only = open_read_only(self._database.path)
            try:
                rows.execute_batch(self._read_only.connection, batch, now, read_only=True)
            except sqlite3.Error:
                if not self._read_only.is_stale:
                    raise
            else:
                if not self._read_only.is_stale:
                    return
            self.close()
        raise StoreError(
            f"sqlite:{self._database.path}: changes all the time while it is read;"
            " try again when the server is less busy"
        )

    def _recover(self, error: Exception) -> StoreError:
        """Close the file if the next batch has to reopen it; return the error for the callers."""
        path = self._database.path
        if isinstance(error, DatabaseLockedError) and not self._has_warned_of_lock:
            # The circuit breaker times out earlier, and its message can't name the lock's holder.
            self._has_warned_of_lock = True
            self._reports.warn(str(error))
        if isinstance(error, StoreError):
            return error
        if not isinstance(error, (sqlite3.Error, OSError)):
            self._reports.internal_error(error)
        code, reason = error_code(error), f"sqlite:{path}: {describe_error(error)}"
        if code in BUSY:
            return StoreError(reason)
        self.close()
        if code in DAMAGED and self._database.access is AccessMode.SERVE:
            return self._database.set_aside(reason)
        if code != sqlite3.SQLITE_FULL and (fault := find_permission_fault(Path(path))):
            return UnwritableStoreError(f"sqlite:{path}: {fault.reason}", fault.remedy)
        return UnwritableStoreError(reason) if code in UNWRITABLE else StoreError(reason)
