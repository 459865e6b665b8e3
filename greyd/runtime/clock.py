"""A wall clock that ignores short jumps of the system's clock.

A clock set wrong for a moment (by a virtual machine's host, a bad NTP server or a typo) would
make all entries look expired. So the clock follows a jump only after it has lasted for a while;
until then it advances with the monotonic clock.

Both clocks are parameters, for tests.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EARLIEST_TIME = 1_577_836_800
"""2020-01-01, before greyd existed: a clock with an earlier time has not been set yet."""

MAX_STEP_SECONDS = 60.0
"""The clock follows smaller differences at once; they come from NTP or a busy machine."""

HOLD_SECONDS = 300.0
"""How long a jump has to last before the clock follows it."""


def elapsed_seconds() -> float:
    """Return monotonic seconds, which include the time in which the machine was suspended."""
    return time.clock_gettime(_STEADY)


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SteadyClock:
    """The time of day; follows a jump once it has lasted ``hold_seconds``."""

    __slots__ = ("_base", "_elapsed", "_elapsed_at_base", "_hold_seconds", "_jump", "_wall")

    def __init__(
        self,
        hold_seconds: float = HOLD_SECONDS,
        *,
        start: float | None = None,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = elapsed_seconds,
    ) -> None:
        """Start at the wall clock's time, or at ``start`` (seconds since 1970)."""
        self._hold_seconds = hold_seconds
        self._wall = wall
        self._elapsed = elapsed
        self._base = wall() if start is None else start
        self._elapsed_at_base = elapsed()
        self._jump: tuple[float, float] | None = None
        """The offset of the wall clock in seconds, and the monotonic time of the jump."""

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        wall, elapsed = self._wall(), self._elapsed()
        steady = self._base + elapsed - self._elapsed_at_base
        off = wall - steady
        if -MAX_STEP_SECONDS <= off <= MAX_STEP_SECONDS or steady < EARLIEST_TIME <= wall:
            return self._follow(wall, elapsed)
        if self._jump is None or abs(off - self._jump[0]) > MAX_STEP_SECONDS:
            self._jump = off, elapsed
        if elapsed - self._jump[1] >= self._hold_seconds:
            return self._follow(wall, elapsed)
        return steady

    def _follow(self, wall: float, elapsed: float) -> float:
        self._base, self._elapsed_at_base, self._jump = wall, elapsed, None
        return wall
