"""Long work of the event loop, done in slices between which requests are answered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

T = TypeVar("T")

SLICE_SECONDS = 0.0005
"""After which the next step has to wait; one step takes as long at the most."""

REST_SECONDS = 0.001
"""For requests, after each slice, so all work together gets a part of the time only."""


class TimeSlices:
    """Takes turns among all work of one kind, so that slices never follow each other directly."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, steps: Iterable[T]) -> list[T]:
        """Take all steps, and return what they give."""
        done: list[T] = []
        remaining = iter(steps)
        while True:
            async with self._turn:
                ended = _take(remaining, done)
                # Also at the end, after which the caller may go on to the next work at once.
                await asyncio.sleep(0 if ended else REST_SECONDS)
                if ended:
                    return done


def _take(remaining: Iterable[T], done: list[T]) -> bool:
    """Take the steps of one slice; returns whether those were the last."""
    ends_at = time.perf_counter() + SLICE_SECONDS
    for step in remaining:
        done.append(step)
        if time.perf_counter() >= ends_at:
            return False
    return True


class SharedWork:
    """Work whose result all share who ask for it while it is being done."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, bytes]]) -> None:
        self._work = work
        self._doing: asyncio.Task[bytes] | None = None

    async def result(self) -> bytes:
        """Return the result; who stops waiting for it does not stop it for the others."""
        if self._doing is None:
            self._doing = asyncio.create_task(self._work())
            self._doing.add_done_callback(self._forget)
        return await asyncio.shield(self._doing)

    def _forget(self, done: asyncio.Task[bytes]) -> None:
        self._doing = None
        if not done.cancelled():
            # Whoever waits gets it; where nobody does, it is not worth a line of the log.
            done.exception()

    def cancel(self) -> None:
        """End it."""
        if self._doing is not None:
            self._doing.cancel()
