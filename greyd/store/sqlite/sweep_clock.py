"""By which time the SQLite store deletes expired rows: never on the word of a clock that jumped."""

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
"""How long a clock that jumped ahead has to stay there before rows are deleted by it."""

KEEP_EVERY_SECONDS = 60

_KEPT_SECONDS = 400 * 86400
_WHOLE_SECONDS = re.compile(rb"[0-9]{1,15}")


class SweepClock:
    """Runs on elapsed time, and is kept in the file between two starts.

    It is never ahead of the wall clock, and follows it forward by more than a minute only where it
    has been ahead for ``HOLD_SECONDS``. So neither a jump nor a start under a wrong clock deletes
    what is not expired.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] = elapsed_seconds
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._clock: SteadyClock | None = None
        self._keep_at = 0.0

    def now(self, connection: sqlite3.Connection) -> int:
        """Return seconds since 1970; to be called inside a write transaction."""
        if self._clock is None:
            self._clock = self._begin(get(connection, 0, SWEPT_KEY))
        now = int(min(self._clock.now(), self._wall()))
        if self._elapsed() >= self._keep_at:
            self._keep_at = self._elapsed() + KEEP_EVERY_SECONDS
            put(connection, Change(SWEPT_KEY, b"%d" % now, _KEPT_SECONDS), now)
        return now

    def _begin(self, kept: Record | None) -> SteadyClock:
        start = wall = self._wall()
        if kept is not None and _WHOLE_SECONDS.fullmatch(kept.value):
            start = int(kept.value)
            if wall >= EARLIEST_TIME:
                start = min(start, wall)
        return SteadyClock(HOLD_SECONDS, start=start, wall=self._wall, elapsed=self._elapsed)
