"""Coroutines that await callbacks, without an event loop.

A request waits for at most two callbacks: one from the evidence collector, one from the store. An
asyncio task with two futures for each request would cost more than the rules. Therefore the
callback itself resumes the policy's coroutine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

Result = TypeVar("Result")


_PENDING: Any = object()


class Completion(Generic[Result]):
    """An awaitable for coroutines that ``run`` runs; a single call of ``complete`` completes it.

    ``complete`` may be called before the coroutine awaits the completion.
    """

    __slots__ = ("_error", "_result", "waiting")

    def __init__(self) -> None:
        self._result = _PENDING
        self._error: Exception | None = None
        self.waiting: tuple[Any, Any, Any] | None = None
        """The arguments of the ``run`` whose coroutine waits for this."""

    def complete(self, result: Result | None, error: Exception | None = None) -> None:
        """Resume the waiting coroutine with ``result``, or raise ``error`` in it."""
        self._result = result
        self._error = error
        if self.waiting is not None:
            run(*self.waiting)

    def __await__(self) -> Generator[Completion[Result], None, Result]:
        """Wait for ``complete`` and return its result.

        Raises:
            Exception: the error passed to ``complete``.
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
    """Run a coroutine until it awaits a pending ``Completion``, which then resumes it.

    Args:
        coroutine: the coroutine; it may await no other awaitables.
        succeeded: called with the coroutine's result.
        failed: called with the exception that the coroutine raises.
    """
    try:
        completion = coroutine.send(None)
    except StopIteration as stop:
        result = stop.value
    except Exception as error:  # noqa: BLE001 - passed to the caller's handler
        failed(error)
        return
    else:
        completion.waiting = (coroutine, succeeded, failed)
        return
    succeeded(result)
