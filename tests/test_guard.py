"""The guard before the store: a deadline, a circuit breaker, and news of both ways."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from greyd.store import StoreError, guard
from greyd.store.guard import Guard, StoreAway
from tests.stores import FakeStore, look, put

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

DEADLINE = 0.05


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store that is away be tried again at once."""
    monkeypatch.setattr(guard, "REST_SECONDS", 0.01)
    monkeypatch.setattr(guard, "PROBE_SECONDS", 0.01)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store that is away not be tried again in this test."""
    monkeypatch.setattr(guard, "REST_SECONDS", 3600)


def guarded(
    do: Callable[[Guard, FakeStore, list[str | None]], Coroutine[Any, Any, None]],
) -> None:
    """Do something with a guarded fake store and the list of what the guard told."""

    async def run() -> None:
        store = FakeStore()
        told: list[str | None] = []
        guard_ = Guard(store, DEADLINE, told.append)
        try:
            await asyncio.wait_for(do(guard_, store, told), 20)
        finally:
            await guard_.close()

    asyncio.run(run())


async def until(true: Callable[[], bool]) -> None:
    """Wait until something holds; the caller bounds it."""
    # A counter has no event to wait for.
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def asked_again(store: FakeStore, times: int) -> None:
    """Wait until a store has been asked some times more."""
    enough = store.asked + times
    await until(lambda: store.asked >= enough)


async def fails(guard_: Guard) -> StoreError:
    with pytest.raises(StoreError) as error:
        await guard_.transact([b"k"], put(b"k", b"v"))
    return error.value


def test_a_store_that_answers_is_not_in_the_way() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        await guard_.check()
        assert await guard_.transact([b"k"], put(b"k", b"v")) == [None]
        assert await guard_.transact([b"k"], look) == [b"v"]
        # Longer than the deadline: each request has one of its own.
        for _ in range(10):
            await asyncio.sleep(DEADLINE / 4)
            assert await guard_.transact([b"k"], look) == [b"v"]
        assert not guard_.away
        assert told == []

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_the_first_failure_opens_the_circuit_and_says_why() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("disk on fire")
        assert str(await fails(guard_)) == "disk on fire"
        assert guard_.away
        assert told == ["disk on fire"]

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_while_it_is_away_requests_fail_at_once_and_it_is_not_asked() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        store.silent = True
        await fails(guard_)
        asked = store.asked
        for _ in range(100):
            assert isinstance(await fails(guard_), StoreAway)
        assert store.asked == asked
        assert len(told) == 1

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_a_silent_store_holds_nobody_beyond_the_deadline() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        store.silent = True
        results = await asyncio.gather(
            *(guard_.transact([b"k"], look) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(result, StoreError) for result in results)
        assert told == ["no answer within 0.05 s"]

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_the_deadline_counts_from_each_request_s_own_beginning() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        await guard_.transact([b"k"], look)
        await asyncio.sleep(DEADLINE / 2)
        store.silent = True
        began = time.monotonic()
        await fails(guard_)
        assert time.monotonic() - began >= DEADLINE * 0.9
        assert guard_.away

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_of_many_failures_at_once_one_is_told() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("refused")
        results = await asyncio.gather(
            *(guard_.transact([b"k"], look) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(result, StoreError) for result in results)
        assert told == ["refused"]

    guarded(do)


@pytest.mark.usefixtures("quick")
def test_a_store_that_comes_back_is_used_again_and_told_of_once() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        for _ in range(3):
            told.clear()
            store.fault = StoreError("refused")
            await fails(guard_)
            await asked_again(store, 3)
            assert told == ["refused"]
            store.fault = None
            await until(lambda: not guard_.away)
            assert told == ["refused", None]
            await guard_.transact([b"k"], put(b"k", b"v"))

    guarded(do)


@pytest.mark.usefixtures("quick")
def test_a_store_that_was_silent_comes_back_too() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        store.silent = True
        await fails(guard_)
        store.silent = False
        await until(lambda: told[-1] is None)
        assert await guard_.transact([b"k"], look) == [None]

    guarded(do)


@pytest.mark.usefixtures("quick")
def test_a_store_that_answers_to_looks_only_is_away() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        store.read_only = True
        await fails(guard_)
        await asked_again(store, 3)
        assert guard_.away
        store.read_only = False
        await until(lambda: not guard_.away)

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_a_circuit_stays_open_for_a_while_so_that_a_store_that_comes_and_goes_is_told_seldom() -> (
    None
):
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("refused")
        await fails(guard_)
        store.fault = None
        for _ in range(20):
            await asyncio.sleep(0)
            assert isinstance(await fails(guard_), StoreAway)
        assert told == ["refused"]

    guarded(do)


@pytest.mark.usefixtures("quick")
def test_a_fault_nobody_thought_of_does_not_end_the_probing() -> None:
    async def do(guard_: Guard, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("refused")
        await fails(guard_)
        store.fault = ZeroDivisionError()
        await asked_again(store, 3)
        store.fault = None
        await until(lambda: not guard_.away)

    guarded(do)
