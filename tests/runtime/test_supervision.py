"""What serves is started again when it ends, later each time, and each end is reported."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from greyd.runtime.supervision import STABLE_SECONDS, Backoff, TaskSupervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Reports:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, str]] = []
        self.fatal_count = 0

    def __call__(self, part: str, error: BaseException, outcome: str = "") -> None:
        self.all.append((part, f"{type(error).__name__}: {error}", outcome))

    def fatal(self) -> None:
        self.fatal_count += 1

    def supervisor(self) -> TaskSupervisor:
        return TaskSupervisor(self, self.fatal, lambda: Backoff(0.001, 0.004))


@pytest.mark.parametrize(
    ("ran", "waits"),
    [
        ([0] * 9, [1, 2, 4, 8, 16, 32, 60, 60, 60]),
        ([0, 0, 0, STABLE_SECONDS, 0, 0], [1, 2, 4, 1, 2, 4]),
        ([STABLE_SECONDS] * 3, [1, 1, 1]),
        ([STABLE_SECONDS - 0.1] * 3, [1, 2, 4]),
    ],
)
def test_the_backoff_doubles_up_to_its_bound_and_begins_anew_after_a_stable_run(
    ran: list[float], waits: list[float]
) -> None:
    backoff = Backoff()
    assert [backoff.seconds_after(seconds) for seconds in ran] == waits


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so; what is looked at here has no event to wait for."""
    while not true():  # noqa: ASYNC110 - there is none
        await asyncio.sleep(0.001)


async def fail() -> None:
    raise KeyError("odd")


async def run_short_of_memory() -> None:
    raise MemoryError


async def end() -> None:
    return


async def cancel_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(10)


async def await_something_cancelled() -> None:
    waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting.cancel()
    await waiting


def fail_before_it_begins() -> Coroutine[None, None, None]:
    raise OSError(12, "Cannot allocate memory")


@pytest.mark.parametrize(
    ("work", "cause"),
    [
        (fail, "KeyError: 'odd'"),
        (run_short_of_memory, "MemoryError: "),
        (fail_before_it_begins, "OSError: [Errno 12] Cannot allocate memory"),
        (end, "UnexpectedEnd: it was not meant to return"),
        (cancel_itself, "UnexpectedEnd: nobody meant to cancel it"),
        (await_something_cancelled, "UnexpectedEnd: nobody meant to cancel it"),
    ],
)
def test_whatever_ends_a_task_that_serves_is_reported_and_it_is_started_again(
    work: Callable[[], Coroutine[None, None, None]], cause: str
) -> None:
    reports = Reports()

    async def scene() -> None:
        supervisor = reports.supervisor()
        supervisor.serve("hits", work)
        await until(lambda: len(reports.all) >= 4)
        await supervisor.stop()

    asyncio.run(scene())
    waits = ("0.001", "0.002", "0.004", "0.004")
    assert reports.all[:4] == [
        ("hits", cause, f"restarting it in {seconds} s") for seconds in waits
    ]
    assert reports.fatal_count == 0


def test_a_task_that_may_return_is_repeated_until_it_does() -> None:
    reports = Reports()
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError("not yet")

    async def scene() -> None:
        supervisor = reports.supervisor()
        task = supervisor.run("store", work)
        await until(lambda: task.is_over)
        await asyncio.sleep(0.02)
        await supervisor.stop()

    asyncio.run(scene())
    assert runs == 3
    assert [cause for _, cause, _ in reports.all] == ["ValueError: not yet"] * 2


def test_a_stop_ends_all_without_a_word_also_what_waits_for_its_restart() -> None:
    reports = Reports()
    started: list[str] = []

    async def serve() -> None:
        started.append("serve")
        await asyncio.sleep(60)

    async def fails() -> None:
        started.append("fails")
        raise ValueError("at once")

    async def scene() -> None:
        supervisor = TaskSupervisor(reports, reports.fatal, lambda: Backoff(0.05))
        supervisor.serve("a", serve)
        supervisor.serve("b", fails)
        supervisor.run("c", serve)
        await asyncio.sleep(0.01)
        await supervisor.stop()
        await asyncio.sleep(0.1)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scene())
    assert started == ["serve", "fails", "serve"]
    assert [part for part, _, _ in reports.all] == ["b"]


def test_an_error_while_it_stops_is_reported_too() -> None:
    reports = Reports()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("at the end")

    async def scene() -> None:
        supervisor = reports.supervisor()
        supervisor.serve("hits", work)
        await asyncio.sleep(0)
        await supervisor.stop()

    asyncio.run(scene())
    assert reports.all == [("hits", "OSError: at the end", "while it was being stopped")]


def test_what_fails_to_report_does_not_end_the_supervision() -> None:
    runs = 0

    def report(part: str, error: BaseException, outcome: str = "") -> None:
        raise MemoryError

    async def work() -> None:
        nonlocal runs
        runs += 1
        raise ValueError

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        supervisor = TaskSupervisor(report, lambda: None, lambda: Backoff(0.001, 0.001))
        supervisor.serve("hits", work)
        await until(lambda: runs >= 3)
        await supervisor.stop()

    asyncio.run(scene())


def test_a_part_that_is_given_up_ends_the_process_with_its_cause() -> None:
    reports = Reports()
    reports.supervisor().give_up("SQLite", RuntimeError("can't start new thread"))
    assert reports.all == [
        (
            "SQLite",
            "RuntimeError: can't start new thread",
            "it can't be restarted; stopping greyd",
        )
    ]
    assert reports.fatal_count == 1
