"""Runs blocking work in a thread that nothing waits for at the end."""

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
    """Return what ``work`` returns, or raise what it raises; it has a thread of its own.

    Unlike with ``asyncio.to_thread``, neither a cancellation nor the end of the loop and of the
    process waits for it.

    Raises:
        RuntimeError: no thread can be started, or it ended without a result.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Callable[[], Result]] = loop.create_future()

    def run() -> None:
        try:
            result = work()
            settled = partial(_settle, outcome, lambda: result)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            settled = partial(_settle, outcome, partial(_raise, error))
        # A loop that is closed waits for nothing any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settled)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    while not outcome.done():
        if not thread.is_alive():
            # What it has settled is a callback away, if it could settle anything.
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
    # These would mean something else where they are raised again.
    raise RuntimeError(f"{type(error).__name__}: {error}") from error
