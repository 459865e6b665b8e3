"""The thread that writes the write-ahead log back into the file (SQLite's checkpoints)."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from greyd.store.errors import StoreError
from greyd.store.sqlite.sqlite_errors import describe_error

if TYPE_CHECKING:
    from greyd.store.sqlite.database import Database
    from greyd.store.sqlite.lock import FileState
    from greyd.store.sqlite.thread_reports import ThreadReports

CHECKPOINT_SECONDS = 1.0
FAILURES_TO_WARN = 10
"""Consecutive failed checkpoints after which greyd warns."""


class Checkpointer:
    """Runs a checkpoint every second, on a separate connection, so that no request waits."""

    def __init__(self, database: Database, reports: ThreadReports) -> None:
        self._database = database
        self._reports = reports
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Make ``run`` return."""
        self._stopping.set()

    def run(self) -> None:
        """Run checkpoints until ``stop`` is called."""
        failures = 0
        written_back: FileState | None = None
        while not self._stopping.wait(CHECKPOINT_SECONDS):
            try:
                written_back = self._database.checkpoint(written_back, CHECKPOINT_SECONDS)
                failures = 0
            except Exception as error:  # noqa: BLE001 - the next checkpoint tries again
                failures += 1
                # The requests' commits meet these errors too, e.g. a full disk, and report them.
                if failures == 1 and not isinstance(error, (sqlite3.Error, OSError, StoreError)):
                    self._reports.internal_error(error)
                if failures == FAILURES_TO_WARN:
                    self._reports.warn(
                        f"sqlite:{self._database.path}: the write-ahead log grows, because it can't"
                        f" be written back: {describe_error(error)}"
                    )
