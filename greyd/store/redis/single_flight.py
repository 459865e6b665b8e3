"""Runs background work at most once at a time, and shares its result among all callers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from greyd.store.errors import StoreError
from greyd.store.redis.connection_errors import reason_of
from greyd.store.redis.errors import AbandonedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """Shares one run of a coroutine function; the run continues if its callers give up."""

    def __init__(self, work: Callable[[], Awaitable[Result]]) -> None:
        self._work = work
        self._task: asyncio.Task[Result] | None = None
        self._waiting: list[asyncio.Future[Result]] = []

    @property
    def is_running(self) -> bool:
        """Whether the work is running."""
        return self._task is not None

    def start(self) -> None:
        """Start the work unless it is running."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
            self._task.add_done_callback(self._complete)

    def result(self) -> asyncio.Future[Result]:
        """Start the work unless it is running; return a future of its result."""
        self.start()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    async def _run(self) -> Result:
        try:
            return await self._work()
        except StoreError:
            raise
        except Exception as error:
            # Log it once here as an internal error; each caller gets a StoreError.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the store is away", "exception": error, "part": "Redis"}
            )
            raise StoreError(f"internal error: {reason_of(error)}") from error

    def _complete(self, task: asyncio.Task[Result]) -> None:
        self._task = None
        waiting, self._waiting = self._waiting, []
        error = StoreError("closing") if task.cancelled() else task.exception()
        for future in waiting:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

    def abandon(self) -> None:
        """Fail all callers with ``AbandonedError``; the work continues."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(AbandonedError("not connected yet"))

    def cancel(self) -> None:
        """Cancel the work; its callers get a ``StoreError``."""
        if self._task is not None:
            self._task.cancel()
