"""The clock by which the SQLite store deletes expired rows: a jump of the time deletes nothing."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from greyd.rules.reserved_keys import SWEPT_KEY
from greyd.rules.transaction import Change
from greyd.runtime.clock import EARLIEST_TIME, SteadyClock, elapsed_seconds
from greyd.store.sqlite.rows import get, put

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from greyd.rules.transaction import Record

HOLD_SECONDS = 6 * 3600
"""How long the wall clock must stay ahead after a jump before this clock follows it."""

STORE_INTERVAL_SECONDS = 60

_TTL_SECONDS = 400 * 86400
_WHOLE_SECONDS = re.compile(rb"[0-9]{1,15}")


class SweepClock:
    """A clock that follows elapsed time; the store keeps its time across restarts.

    It is never ahead of the wall clock. It follows a jump forward of more than a minute only after
    the wall clock has been ahead for ``HOLD_SECONDS``. So neither a jump nor a start with a wrong
    time deletes entries that have not expired.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = elapsed_seconds
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._clock: SteadyClock | None = None
        self._store_at = 0.0

    def now(self, connection: sqlite3.Connection) -> int:
        """Return the time in seconds since 1970; call this inside a write transaction."""
        if self._clock is None:
            self._clock = self._start(get(connection, 0, SWEPT_KEY))
        now = int(min(self._clock.now(), self._wall()))
        if self._elapsed() >= self._store_at:
            self._store_at = self._elapsed() + STORE_INTERVAL_SECONDS
            put(connection, Change(SWEPT_KEY, b"%d" % now, _TTL_SECONDS), now)
        return now

    def _start(self, stored: Record | None) -> SteadyClock:
        start = wall = self._wall()
        if stored is not None and _WHOLE_SECONDS.fullmatch(stored.value):
            start = int(stored.value)
            if wall >= EARLIEST_TIME:
                start = min(start, wall)
        return SteadyClock(HOLD_SECONDS, start=start, wall=self._wall, elapsed=self._elapsed)
