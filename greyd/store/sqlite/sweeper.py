"""Deletes expired rows in small steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.store.sqlite import rows
from greyd.store.sqlite.sweep_clock import SweepClock

if TYPE_CHECKING:
    import sqlite3


class Sweeper:
    """Sweeps all rows again and again, and measures how many bytes of the file are in use."""

    def __init__(self) -> None:
        self.bytes_in_use = 0
        self._clock = SweepClock()
        self._next_row = 0

    def sweep(self, connection: sqlite3.Connection, _now: int) -> int:
        """Delete the expired rows of one step; return their number."""
        now = self._clock.now(connection)
        self._next_row, deleted_count = rows.sweep(connection, now, self._next_row)
        self.bytes_in_use = rows.bytes_in_use(connection)
        return deleted_count
