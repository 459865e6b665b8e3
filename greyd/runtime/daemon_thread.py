"""Runs blocking work in a daemon thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from greyd.runtime.supervision import THREAD_CHECK_SECONDS, Result

if TYPE_CHECKING:
    from collections.abc import Callable


async def run_in_daemon_thread(name: str, work: Callable[[], Result]) -> Result:
    """Run ``work`` in a thread of its own, and return its result or raise its error.

    Nothing waits for the thread when the coroutine is cancelled, or when the loop or the process
    ends; with ``asyncio.to_thread`` the last two would wait.

    Raises:
        RuntimeError: the thread can't be started, or has ended without a result.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Callable[[], Result]] = loop.create_future()

    def run() -> None:
        try:
            result = work()
            settled = partial(_settle, outcome, lambda: result)
        except BaseException as error:  # noqa: BLE001 - raised again in the coroutine
            settled = partial(_settle, outcome, partial(_raise, error))
        # The loop may have been closed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settled)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    while not outcome.done():
        if not thread.is_alive():
            # It may have scheduled its result just before it ended.
            await asyncio.wait([outcome], timeout=THREAD_CHECK_SECONDS)
            if not outcome.done():
                raise RuntimeError(f"the thread {name} has ended without a result")
        await asyncio.wait([outcome], timeout=THREAD_CHECK_SECONDS)
    return outcome.result()()


def _settle(outcome: asyncio.Future[Callable[[], Result]], answer: Callable[[], Result]) -> None:
    if not outcome.done():
        outcome.set_result(answer)


def _raise(error: BaseException) -> NoReturn:
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        raise error
    # asyncio would take these for a cancellation, the end of the process or of an iteration.
    raise RuntimeError(f"{type(error).__name__}: {error}") from error
