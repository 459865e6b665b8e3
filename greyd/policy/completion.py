"""Coroutines that await callbacks, without an event loop.

A request waits for at most two callbacks: that of the evidence collector and that of the store. A
task and two futures of asyncio for each request would cost more than the rules themselves, so the
policy's coroutine is resumed directly by the callback that it waits for.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

Result = TypeVar("Result")


_PENDING: Any = object()


class Completion(Generic[Result]):
    """An awaitable that one call of ``complete`` ends, for a coroutine that ``run`` runs.

    The call may come before the ``await``, from within the function that takes the callback.
    """

    __slots__ = ("_error", "_result", "resume")

    def __init__(self) -> None:
        self._result = _PENDING
        self._error: Exception | None = None
        self.resume: Callable[[], object] | None = None
        """Resumes the coroutine that waits; set by ``run``."""

    def complete(self, result: Result | None, error: Exception | None = None) -> None:
        """Resume the coroutine with ``result``, or raise ``error`` in it."""
        self._result = result
        self._error = error
        if self.resume is not None:
            self.resume()

    def __await__(self) -> Generator[Completion[Result], None, Result]:
        """Wait for ``complete``.

        Raises:
            Exception: the error that ``complete`` was given.
        """
        if self._result is _PENDING:
            yield self
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[no-any-return]


def run(
    coroutine: Coroutine[Completion[Any], None, Result],
    succeeded: Callable[[Result], object],
    failed: Callable[[Exception], object],
) -> None:
    """Run a coroutine that awaits only ``Completion``, up to the first one that is pending.

    Args:
        coroutine: what to run; the completion that it waits for resumes it.
        succeeded: gets what it returns.
        failed: gets the exception that it raises.
    """
    try:
        completion = coroutine.send(None)
    except StopIteration as stop:
        result = stop.value
    except Exception as error:  # noqa: BLE001 - passed to the caller's handler
        failed(error)
        return
    else:
        # Not a closure that refers to itself: only the garbage collector would free such a cycle,
        # and with it the request and everything that belongs to it.
        completion.resume = partial(run, coroutine, succeeded, failed)
        return
    succeeded(result)
