"""Supervision: what serves for longer than a request is started again when it ends.

Whatever ends a supervised task is reported with its part of the server and its cause, and after an
exponential backoff the task runs again. There is no limit to the restarts of a task: mail flows
without it, and a process that ends on its account would take the mail with it. What can't be
started at all (a thread, a worker process) is another matter: ``TaskSupervisor.give_up``.
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
"""Before the first restart; doubled before each further one."""

MAX_BACKOFF_SECONDS = 60.0

THREAD_CHECK_SECONDS = 1.0
"""How often it is made sure that a thread whose result is awaited still runs."""

STABLE_SECONDS = 60.0
"""What has run for so long has recovered: its next failure is a first one."""


class Report(Protocol):
    """Logs and counts an internal error."""

    def __call__(self, part: str, error: BaseException, outcome: str = "") -> None:
        """Log and count ``error``; ``outcome`` says what happens now."""


class UnexpectedEnd(Exception):
    """A task that serves until it is cancelled has returned, or was cancelled by nobody."""


class Backoff:
    """Exponential backoff: how long to wait before what has failed is tried again."""

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
            ran_seconds: how long it had run; after ``STABLE_SECONDS`` the backoff begins anew.
        """
        if ran_seconds >= STABLE_SECONDS:
            self._next_seconds = self._min_seconds
        seconds = self._next_seconds
        self._next_seconds = min(2 * seconds, self._max_seconds)
        return seconds


class TaskSupervisor:
    """Runs the tasks of one event loop, and starts again those that end."""

    def __init__(
        self,
        report: Report,
        fatal: Callable[[], None],
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        """Supervise tasks of the running loop.

        Args:
            report: logs and counts what ended a task.
            fatal: ends the process with status 1, as soon as no request waits any more.
            backoff: makes the backoff of each task.
        """
        self._report = report
        self._fatal = fatal
        self._backoff = backoff
        self._tasks: list[SupervisedTask] = []

    def serve(self, part: str, work: Work) -> SupervisedTask:
        """Keep ``work`` running until ``stop``: also its return is a failure."""
        return self._start(SupervisedTask(part, work, self._report, self._backoff(), forever=True))

    def run(self, part: str, work: Work) -> SupervisedTask:
        """Run ``work``, and again where it fails, until it returns."""
        return self._start(SupervisedTask(part, work, self._report, self._backoff(), forever=False))

    def _start(self, task: SupervisedTask) -> SupervisedTask:
        self._tasks = [each for each in self._tasks if not each.is_over]
        self._tasks.append(task)
        return task

    def give_up(self, part: str, error: BaseException) -> None:
        """End the process: a part that mail depends on can't be started again."""
        self._report(part, error, "it can't be started again, so greyd ends")
        self._fatal()

    async def stop(self) -> None:
        """Cancel all tasks, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(task.wait() for task in self._tasks))


class SupervisedTask:
    """One task, and those that take its place."""

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
        """Whether it was cancelled, or has returned where it may: it will not run again."""
        self._run()

    def _run(self) -> None:
        self._restart = None
        self._started_at = time.monotonic()
        try:
            task = asyncio.get_running_loop().create_task(self._work(), name=self._part)
        except Exception as error:  # noqa: BLE001 - e.g. MemoryError: nothing else would try again
            self._schedule_restart(error)
        else:
            self._task = task
            task.add_done_callback(self._handle_end)

    def _handle_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self.is_over:
            if error is not None:
                self._report(self._part, error, "it was ending anyway")
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
        # Before the report, which may fail itself, e.g. where memory is short.
        self._restart = asyncio.get_running_loop().call_later(seconds, self._run)
        self._report(self._part, error, f"starting it again in {seconds:g} s")

    def cancel(self) -> None:
        """End it for good."""
        self.is_over = True
        if self._restart is not None:
            self._restart.cancel()
        if self._task is not None:
            self._task.cancel()

    async def wait(self) -> None:
        """Wait until it has ended, after ``cancel``."""
        if self._task is not None:
            await asyncio.wait([self._task])
