"""Supervises background tasks: a task that ends is reported, and restarted after a backoff.

Restarts are unlimited: greyd can answer mail without the task, but not without the process.
A thread or worker that can't be started at all ends the process: ``TaskSupervisor.give_up``.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Work = Callable[[], Coroutine[Any, Any, None]]


Result = TypeVar("Result")

MIN_BACKOFF_SECONDS = 1.0
"""The backoff before the first restart; it doubles with each further one."""

MAX_BACKOFF_SECONDS = 60.0

THREAD_CHECK_SECONDS = 1.0
"""The interval between checks that a thread is still running."""

STABLE_SECONDS = 60.0
"""A task that has run this long has recovered: its backoff starts over."""


class Report(Protocol):
    """Logs and counts an internal error."""

    def __call__(self, part: str, error: BaseException, outcome: str = "") -> None:
        """Log and count an error in a part of the server; ``outcome`` says what greyd does next."""


class UnexpectedEnd(Exception):
    """A task that should run until ``cancel`` has returned, or other code has cancelled it."""


class Backoff:
    """Exponential backoff between attempts."""

    def __init__(
        self,
        min_seconds: float = MIN_BACKOFF_SECONDS,
        max_seconds: float = MAX_BACKOFF_SECONDS,
    ) -> None:
        self._min_seconds = min_seconds
        self._max_seconds = max_seconds
        self._next_seconds = min_seconds

    def seconds_after(self, ran_seconds: float) -> float:
        """Return how many seconds to wait after a failure.

        Args:
            ran_seconds: how long the task ran before it failed; ``STABLE_SECONDS`` or more
                reset the backoff to its minimum.
        """
        if ran_seconds >= STABLE_SECONDS:
            self._next_seconds = self._min_seconds
        seconds = self._next_seconds
        self._next_seconds = min(2 * seconds, self._max_seconds)
        return seconds


class TaskSupervisor:
    """Runs the background tasks of one event loop, and restarts those that end."""

    def __init__(
        self,
        report: Report,
        fatal: Callable[[], None],
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        """Supervise tasks of the running loop.

        Args:
            report: logs and counts the end of a task.
            fatal: stops the process with exit status 1, after pending requests are answered.
            backoff: creates the backoff of each task.
        """
        self._report = report
        self._fatal = fatal
        self._backoff = backoff
        self._tasks: list[SupervisedTask] = []

    def serve(self, part: str, work: Work) -> SupervisedTask:
        """Keep ``work`` running until ``stop``; a return counts as a failure."""
        return self._start(SupervisedTask(part, work, self._report, self._backoff(), forever=True))

    def run(self, part: str, work: Work) -> SupervisedTask:
        """Run ``work`` until it returns; restart it if it raises."""
        return self._start(SupervisedTask(part, work, self._report, self._backoff(), forever=False))

    def _start(self, task: SupervisedTask) -> SupervisedTask:
        self._tasks = [each for each in self._tasks if not each.is_over]
        self._tasks.append(task)
        return task

    def give_up(self, part: str, error: BaseException) -> None:
        """Stop the process, because a part that mail depends on can't be restarted."""
        self._report(part, error, "it can't be restarted; stopping greyd")
        self._fatal()

    async def stop(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(task.wait() for task in self._tasks))


class SupervisedTask:
    """A task that is restarted when it fails."""

    def __init__(
        self, part: str, work: Work, report: Report, backoff: Backoff, *, forever: bool
    ) -> None:
        self._part = part
        self._work = work
        self._report = report
        self._forever = forever
        self._backoff = backoff
        self._task: asyncio.Task[None] | None = None
        self._restart: asyncio.TimerHandle | None = None
        self.is_over = False
        """Whether the task has ended for good: cancelled, or returned without ``forever``."""
        self._run()

    def _run(self) -> None:
        self._restart = None
        self._started_at = time.monotonic()
        try:
            task = asyncio.get_running_loop().create_task(self._work(), name=self._part)
        except Exception as error:  # noqa: BLE001 - e.g. MemoryError; nothing else would retry
            self._schedule_restart(error)
        else:
            self._task = task
            task.add_done_callback(self._handle_end)

    def _handle_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self.is_over:
            if error is not None:
                self._report(self._part, error, "while it was being stopped")
        elif task.cancelled():
            self._schedule_restart(UnexpectedEnd("nobody meant to cancel it"))
        elif error is not None:
            self._schedule_restart(error)
        elif self._forever:
            self._schedule_restart(UnexpectedEnd("it was not meant to return"))
        else:
            self.is_over = True

    def _schedule_restart(self, error: BaseException) -> None:
        seconds = self._backoff.seconds_after(time.monotonic() - self._started_at)
        # Schedule the restart first: the report may fail too, e.g. without memory.
        self._restart = asyncio.get_running_loop().call_later(seconds, self._run)
        self._report(self._part, error, f"restarting it in {seconds:g} s")

    def cancel(self) -> None:
        """Cancel the task and its pending restart."""
        self.is_over = True
        if self._restart is not None:
            self._restart.cancel()
        if self._task is not None:
            self._task.cancel()

    async def wait(self) -> None:
        """Wait until the task has ended, after ``cancel``."""
        if self._task is not None:
            await asyncio.wait([self._task])
