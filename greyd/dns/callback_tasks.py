"""Runs coroutines for callers that pass a callback."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")


class CallbackTasks:
    """Tasks that pass their results to callbacks; a default takes the place of an error."""

    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        """Call ``on_error`` with each exception of a coroutine."""
        self._on_error = on_error
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_closed = False

    def run(
        self,
        coroutine: Coroutine[Any, Any, Result],
        default: Result,
        on_result: Callable[[Result], None],
    ) -> None:
        """Run a coroutine; call ``on_result`` once, with its result or with the default."""
        if self._is_closed:
            coroutine.close()
            on_result(default)
            return
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(partial(self._deliver, default, on_result))

    def _deliver(
        self, default: Result, on_result: Callable[[Result], None], task: asyncio.Task[Result]
    ) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            on_result(default)
        elif (error := task.exception()) is not None:
            self._on_error(error)
            on_result(default)
        else:
            on_result(task.result())

    def close(self) -> None:
        """Cancel all tasks, and run no more: their callbacks get the defaults."""
        self._is_closed = True
        for task in list(self._tasks):
            task.cancel()
