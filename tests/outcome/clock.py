"""Simulated time: an event loop that skips its waits, so that sixty days take a minute."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

START = 1_700_000_000
"""The Unix time at which a simulation begins."""

HOUR = 3600
DAY = 86400


class SimulatedClock:
    """The time of a simulation, in seconds since its start."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return self.elapsed

    def time(self) -> float:
        """Return the Unix time."""
        return START + self.elapsed

    async def sleep_until(self, elapsed: float) -> None:
        """Let all timers until this time run; returns at once if it has passed."""
        if elapsed > self.elapsed:
            await asyncio.sleep(elapsed - self.elapsed)


class _SkippingSelector(selectors.SelectSelector):
    """Waits for nothing: the clock advances by each time-out instead."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("the simulation waits for something that never happens")
        self._clock.elapsed += max(timeout, 0)
        return []


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(_SkippingSelector(clock))
        self._simulated = clock

    def time(self) -> float:
        return self._simulated.elapsed


@contextlib.contextmanager
def simulated_time(clock: SimulatedClock) -> Iterator[asyncio.Runner]:
    """Yield a runner whose event loop, and the module ``time``, follow the simulated clock."""
    real = time.monotonic, time.time
    with asyncio.Runner(loop_factory=lambda: _SimulatedLoop(clock)) as runner:
        runner.get_loop()
        time.monotonic, time.time = clock.monotonic, clock.time
        try:
            yield runner
        finally:
            time.monotonic, time.time = real
