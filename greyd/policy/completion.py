"""Coroutines that await callbacks, without an event loop.

A request waits for at most two callbacks: that of the evidence collector and that of the store. A
task and two futures of asyncio for each request would cost more than the rules themselves, so the
policy's coroutine is resumed directly by the callback that it waits for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

Result = TypeVar("Result")


class Completion(Generic[Result]):
    """An awaitable that one call of ``complete`` ends, for one coroutine run by ``run``.

    The call may come before the ``await``, from within the function that takes the callback.
    """

    __slots__ = ("_error", "_is_complete", "_result", "_resume")

    def __init__(self) -> None:
        self._is_complete = False
        self._result: Any = None
        self._error: Exception | None = None
        self._resume: Callable[[], object] | None = None

    def complete(self, result: Result | None, error: Exception | None = None) -> None:
        """Resume the coroutine with ``result``, or raise ``error`` in it."""
        self._is_complete, self._result, self._error = True, result, error
        if self._resume is not None:
            self._resume()

    def on_completion(self, resume: Callable[[], object]) -> None:
        """Call ``resume`` when it is complete."""
        self._resume = resume

    def __await__(self) -> Generator[Completion[Result], None, Result]:
        """Wait for ``complete``.

        Raises:
            Exception: the error that ``complete`` was given.
        """
        if not self._is_complete:
            yield self
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[no-any-return]


def run(
    coroutine: Coroutine[Completion[Any], None, Result],
    succeeded: Callable[[Result], object],
    failed: Callable[[Exception], object],
) -> None:
    """Run a coroutine that awaits only ``Completion``: up to its first wait, then step by step.

    Args:
        coroutine: what to run.
        succeeded: gets what it returns.
        failed: gets the exception that it raises.
    """

    def resume() -> None:
        try:
            completion = coroutine.send(None)
        except StopIteration as stop:
            result = stop.value
        except Exception as error:  # noqa: BLE001 - passed to the caller's handler
            failed(error)
            return
        else:
            completion.on_completion(resume)
            return
        succeeded(result)

    resume()
