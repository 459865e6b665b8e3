"""Splits long work on the event loop into slices, between which requests are answered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

T = TypeVar("T")

SLICE_SECONDS = 0.0005
"""The length of a slice; a single step should not take longer."""

REST_SECONDS = 0.001
"""The pause after each slice, in which requests are answered."""


class TimeSlices:
    """Runs the slices of several pieces of work in turn, with a pause after each slice."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, steps: Iterable[T]) -> list[T]:
        """Run all steps, slice by slice; return their results."""
        done: list[T] = []
        remaining = iter(steps)
        while True:
            async with self._turn:
                ended = _take(remaining, done)
                # Also after the last slice: the caller may start its next work at once.
                await asyncio.sleep(0 if ended else REST_SECONDS)
                if ended:
                    return done


def _take(remaining: Iterable[T], done: list[T]) -> bool:
    """Append the results of one slice; return whether no step is left."""
    ends_at = time.perf_counter() + SLICE_SECONDS
    for step in remaining:
        done.append(step)
        if time.perf_counter() >= ends_at:
            return False
    return True


class SharedWork:
    """Work that runs once at a time; callers that wait for it share its result."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, bytes]]) -> None:
        self._work = work
        self._doing: asyncio.Task[bytes] | None = None

    async def result(self) -> bytes:
        """Return the result; cancelling one caller does not cancel the work."""
        if self._doing is None:
            self._doing = asyncio.create_task(self._work())
            self._doing.add_done_callback(self._forget)
        return await asyncio.shield(self._doing)

    def _forget(self, done: asyncio.Task[bytes]) -> None:
        self._doing = None
        if not done.cancelled():
            # Mark the error as retrieved: the callers get it, and asyncio need not log it.
            done.exception()

    def cancel(self) -> None:
        """Cancel the work."""
        if self._doing is not None:
            self._doing.cancel()
