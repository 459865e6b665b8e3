"""Background work whose result any number of callers share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from greyd.redaction import excerpt
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


Result = TypeVar("Result")


class AbandonedError(StoreError):
    """Nobody waits for the answer any longer."""


class SingleFlight(Generic[Result]):
    """Work in the background for whoever wants its result; it goes on where they give up."""

    def __init__(self, work: Callable[[], Awaitable[Result]]) -> None:
        self._work = work
        self._task: asyncio.Task[Result] | None = None
        self._waiting: list[asyncio.Future[Result]] = []

    @property
    def is_running(self) -> bool:
        """Whether it is under way."""
        return self._task is not None

    def start(self) -> None:
        """Begin, where it is not under way."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._do())
            self._task.add_done_callback(self._done)

    def result(self) -> asyncio.Future[Result]:
        """Begin, where it is not under way; returns what will come of it."""
        self.start()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    async def _do(self) -> Result:
        try:
            return await self._work()
        except StoreError:
            raise
        except Exception as error:
            # Whatever it is, it is said once, and for those who wait the store has failed.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the store is away", "exception": error, "part": "Redis"}
            )
            raise StoreError(f"internal error: {reason_of(error)}") from error

    def _done(self, task: asyncio.Task[Result]) -> None:
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
        """Let nobody wait for it any longer; the work goes on."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(AbandonedError("not connected yet"))

    def cancel(self) -> None:
        """End it; who waits for it gets an error."""
        if self._task is not None:
            self._task.cancel()


def reason_of(error: Exception) -> str:
    """Return what went wrong in a few words."""
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, TimeoutError) or not str(error):
        return "no answer in time"
    return excerpt(str(error).partition(" : ")[0])
