"""Coroutines that await callbacks, without an event loop."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

from greyd.policy.completion import Completion, run

if TYPE_CHECKING:
    from collections.abc import Callable


class Outcome:
    """What a coroutine has returned or raised."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.errors: list[Exception] = []

    def run(self, coroutine: Any) -> None:
        run(coroutine, self.results.append, self.errors.append)


async def doubled(begin: Callable[[Completion[int]], object]) -> int:
    completion: Completion[int] = Completion()
    begin(completion)
    return 2 * await completion


def test_a_coroutine_goes_on_when_its_callback_comes() -> None:
    waiting: list[Completion[int]] = []
    outcome = Outcome()
    outcome.run(doubled(waiting.append))
    assert outcome.results == []
    waiting[0].complete(21)
    assert (outcome.results, outcome.errors) == ([42], [])


def test_a_callback_that_comes_at_once_does_not_suspend_the_coroutine() -> None:
    outcome = Outcome()
    outcome.run(doubled(lambda completion: completion.complete(4)))
    assert outcome.results == [8]


@pytest.mark.parametrize("at_once", [True, False])
def test_an_error_given_to_the_callback_is_raised_in_the_coroutine(at_once: bool) -> None:
    waiting: list[Completion[int]] = []
    error = OSError("away")
    outcome = Outcome()
    if at_once:
        outcome.run(doubled(lambda completion: completion.complete(None, error)))
    else:
        outcome.run(doubled(waiting.append))
        waiting[0].complete(None, error)
    assert (outcome.results, outcome.errors) == ([], [error])


def test_an_error_in_the_coroutine_after_its_callback_reaches_its_caller() -> None:
    async def divide(completion: Completion[int]) -> float:
        return 1 / await completion

    completion: Completion[int] = Completion()
    outcome = Outcome()
    outcome.run(divide(completion))
    completion.complete(0)
    assert isinstance(outcome.errors[0], ZeroDivisionError)


def test_a_finished_coroutine_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(100):
            waiting: list[Completion[int]] = []
            outcome = Outcome()
            outcome.run(doubled(waiting.append))
            waiting.pop().complete(1)
        assert gc.collect() < 10
    finally:
        gc.enable()
