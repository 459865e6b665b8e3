"""Wall-clock time that a jump of the machine's clock does not carry away at once.

A clock that is set wrong for a moment (by a virtual machine's host, a bad NTP server, an
administrator's slip) must not make greyd forget whom it knows. So a jump is followed only once it
has lasted; until then time goes on from where it was, by a clock that nobody can set.

Pure: both clocks are handed in.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EARLIEST_TIME = 1_577_836_800
"""2020-01-01, before greyd: a clock that tells an earlier time has not been set yet."""

MAX_STEP_SECONDS = 60.0
"""A difference up to this is NTP at work, or a busy machine: it is followed at once."""

HOLD_SECONDS = 300.0
"""How long a jump has to last before decisions follow it."""


def elapsed_seconds() -> float:
    """Return seconds that only ever grow, those of a suspended machine included."""
    return time.clock_gettime(_STEADY)


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SteadyClock:
    """Tells the time of day; follows a jump once it has lasted ``hold_seconds``."""

    __slots__ = ("_base", "_elapsed", "_elapsed_at_base", "_hold_seconds", "_jump", "_wall")

    def __init__(
        self,
        hold_seconds: float = HOLD_SECONDS,
        *,
        start: float | None = None,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = elapsed_seconds,
    ) -> None:
        """Begin with the wall clock's time, or with ``start``, seconds since 1970."""
        self._hold_seconds = hold_seconds
        self._wall = wall
        self._elapsed = elapsed
        self._base = wall() if start is None else start
        self._elapsed_at_base = elapsed()
        self._jump: tuple[float, float] | None = None
        """By how much the wall clock is off, and since when (elapsed seconds)."""

    def now(self) -> float:
        """Return seconds since 1970."""
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
