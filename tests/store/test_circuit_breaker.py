"""The guard before the store: a deadline, a circuit breaker, and news of both ways."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pytest

from greyd.store import circuit_breaker
from greyd.store.circuit_breaker import CircuitBreaker, CircuitOpenError
from greyd.store.errors import StoreError
from tests.stores import FakeStore, look, put

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from greyd.rules.transaction import Answer, Rule
    from greyd.store.contract import DoneCallback

AnyStore = TypeVar("AnyStore", bound=FakeStore)

DEADLINE = 0.05


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store that is away be tried again at once."""
    monkeypatch.setattr(circuit_breaker, "MIN_OPEN_SECONDS", 0.01)
    monkeypatch.setattr(circuit_breaker, "PROBE_INTERVAL_SECONDS", 0.01)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store that is away not be tried again in this test."""
    monkeypatch.setattr(circuit_breaker, "MIN_OPEN_SECONDS", 3600)


def guarded(
    do: Callable[[CircuitBreaker, AnyStore, list[str | None]], Coroutine[Any, Any, None]],
    store: AnyStore | None = None,
    deadline: float = DEADLINE,
) -> None:
    """Do something with a guarded store, a fake one by default, and what the guard told."""

    async def run() -> None:
        kept: Any = store or FakeStore()
        told: list[str | None] = []
        breaker = CircuitBreaker(kept, deadline, told.append)
        try:
            await asyncio.wait_for(do(breaker, kept, told), 20)
        finally:
            await breaker.close()

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


async def fails(breaker: CircuitBreaker) -> StoreError:
    with pytest.raises(StoreError) as error:
        await breaker.transact([b"k"], put(b"k", b"v"))
    return error.value


def test_a_store_that_answers_is_not_in_the_way() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        await breaker.check()
        assert await breaker.transact([b"k"], put(b"k", b"v")) == [None]
        assert await breaker.transact([b"k"], look) == [b"v"]
        # Longer than the deadline: each request has one of its own.
        for _ in range(10):
            await asyncio.sleep(DEADLINE / 4)
            assert await breaker.transact([b"k"], look) == [b"v"]
        assert not breaker.is_open
        assert told == []

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_the_first_failure_opens_the_circuit_and_says_why() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("disk on fire")
        assert str(await fails(breaker)) == "disk on fire"
        assert breaker.is_open
        assert told == ["disk on fire"]

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_while_it_is_away_requests_fail_at_once_and_it_is_not_asked() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.silent = True
        await fails(breaker)
        asked = store.asked
        for _ in range(100):
            assert isinstance(await fails(breaker), CircuitOpenError)
        assert store.asked == asked
        assert len(told) == 1

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_a_silent_store_holds_nobody_beyond_the_deadline() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.silent = True
        results = await asyncio.gather(
            *(breaker.transact([b"k"], look) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(result, StoreError) for result in results)
        assert told == ["no answer within 0.05 s"]

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_the_deadline_counts_from_each_request_s_own_beginning() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        await breaker.transact([b"k"], look)
        await asyncio.sleep(DEADLINE / 2)
        store.silent = True
        began = time.monotonic()
        await fails(breaker)
        assert time.monotonic() - began >= DEADLINE * 0.9
        assert breaker.is_open

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_of_many_failures_at_once_one_is_told() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("refused")
        results = await asyncio.gather(
            *(breaker.transact([b"k"], look) for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(result, StoreError) for result in results)
        assert told == ["refused"]

    guarded(do)


@pytest.mark.usefixtures("quick")
def test_a_store_that_comes_back_is_used_again_and_told_of_once() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        for _ in range(3):
            told.clear()
            store.fault = StoreError("refused")
            await fails(breaker)
            await asked_again(store, 3)
            assert told == ["refused"]
            store.fault = None
            await until(lambda: not breaker.is_open)
            assert told == ["refused", None]
            await breaker.transact([b"k"], put(b"k", b"v"))

    guarded(do)


@pytest.mark.usefixtures("quick")
def test_a_store_that_was_silent_comes_back_too() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.silent = True
        await fails(breaker)
        store.silent = False
        await until(lambda: told[-1] is None)
        assert await breaker.transact([b"k"], look) == [None]

    guarded(do)


@pytest.mark.usefixtures("quick")
def test_a_store_that_answers_to_looks_only_is_away() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.read_only = True
        await fails(breaker)
        await asked_again(store, 3)
        assert breaker.is_open
        store.read_only = False
        await until(lambda: not breaker.is_open)

    guarded(do)


@pytest.mark.usefixtures("slow")
def test_a_circuit_stays_open_for_a_while_so_that_a_store_that_comes_and_goes_is_told_seldom() -> (
    None
):
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("refused")
        await fails(breaker)
        store.fault = None
        for _ in range(20):
            await asyncio.sleep(0)
            assert isinstance(await fails(breaker), CircuitOpenError)
        assert told == ["refused"]

    guarded(do)


@pytest.mark.usefixtures("quick")
def test_a_fault_nobody_thought_of_does_not_end_the_probing() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("refused")
        await fails(breaker)
        store.fault = ZeroDivisionError()
        await asked_again(store, 3)
        store.fault = None
        await until(lambda: not breaker.is_open)

    guarded(do)


# Exactly one answer -------------------------------------------------------------------------------


@dataclass
class OddStore(FakeStore):
    """A store that breaks its contract once: ``odd`` is called instead of answering."""

    odd: Callable[[DoneCallback], None] | None = None

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:
        odd, self.odd = self.odd, None
        if odd is not None:
            odd(done)
        else:
            super().begin(keys, rule, done)


def raise_(_done: DoneCallback) -> None:
    raise KeyError(7)


def answer_twice(done: DoneCallback) -> None:
    done("first", None)
    done("second", None)


def answer_then_fail(done: DoneCallback) -> None:
    done("first", None)
    done(None, StoreError("too late to count"))


def lose(_done: DoneCallback) -> None:
    pass


@dataclass
class Asked:
    """A request, and each answer that it got."""

    answers: list[tuple[Any, Exception | None]]

    def of(self, breaker: CircuitBreaker) -> Self:
        breaker.begin([b"k"], look, lambda answer, error: self.answers.append((answer, error)))
        return self


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("odd", "error"),
    [
        (lose, StoreError),
        (raise_, KeyError),
        (answer_twice, None),
        (answer_then_fail, None),
        (lambda done: done(None, StoreError("no")), StoreError),
        (lambda done: done(None, ZeroDivisionError()), ZeroDivisionError),
    ],
)
def test_whatever_a_store_does_each_request_has_one_answer_and_the_circuit_closes_for_good(
    odd: Callable[[DoneCallback], None], error: type[Exception] | None
) -> None:
    async def do(breaker: CircuitBreaker, store: OddStore, told: list[str | None]) -> None:
        store.odd = odd
        asked = Asked([]).of(breaker)
        others = [Asked([]).of(breaker) for _ in range(5)]
        await until(lambda: all(each.answers for each in (asked, *others)))
        await until(lambda: not breaker.is_open)
        opened = told.copy()
        for _ in range(20):
            await asyncio.sleep(DEADLINE / 4)
            assert await breaker.transact([b"k"], look) == [None]
        assert told == opened, "it does not open again for what is over"
        (answer,) = asked.answers
        assert isinstance(answer[1], error) if error else answer[1] is None
        assert [len(each.answers) for each in others] == [1] * 5

    guarded(do, OddStore())


@pytest.mark.usefixtures("quick")
def test_an_answer_after_the_deadline_is_nobody_s() -> None:
    async def do(breaker: CircuitBreaker, store: OddStore, told: list[str | None]) -> None:
        late: list[DoneCallback] = []
        store.odd = late.append
        asked = Asked([]).of(breaker)
        await until(lambda: bool(asked.answers))
        await until(lambda: not breaker.is_open)
        opened = told.copy()
        late[0]("late", None)
        late[0](None, StoreError("late"))
        assert len(asked.answers) == 1
        assert not breaker.is_open
        assert told == opened
        assert await breaker.transact([b"k"], look) == [None]

    guarded(do, OddStore())


@pytest.mark.usefixtures("slow")
def test_one_who_can_t_take_its_answer_keeps_nobody_else_from_theirs() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        unhandled: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unhandled.append(context))
        store.silent = True
        asked = [Asked([]).of(breaker)]
        breaker.begin([b"k"], look, lambda _answer, _error: raise_(lambda *_: None))
        asked.append(Asked([]).of(breaker))
        await until(lambda: all(each.answers for each in asked))
        assert [str(context["exception"]) for context in unhandled] == ["7"]

    guarded(do)


# Only time in which the loop ran ------------------------------------------------------------------


@dataclass
class FarStore(FakeStore):
    """A store behind a socket: it answers after a while, whatever this process does meanwhile."""

    seconds: float = 0.0
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:  # noqa: ARG002 - no rule
        here, there = socket.socketpair()
        loop = asyncio.get_running_loop()

        def hear() -> None:
            loop.remove_reader(here)
            here.close()
            future = loop.create_future()
            future.add_done_callback(lambda _: done("heard", None))
            future.set_result(None)

        loop.add_reader(here, hear)
        thread = threading.Thread(target=self._answer, args=[there])
        self._threads.append(thread)
        thread.start()

    def _answer(self, there: socket.socket) -> None:
        time.sleep(self.seconds)
        there.send(b"x")
        there.close()

    async def close(self) -> None:
        for thread in self._threads:
            thread.join()
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(
    ("answers_after", "blocked"),
    [
        pytest.param(0.5, [10], id="the answer lies in the socket"),
        pytest.param(9.9, [10], id="it comes at the last moment of the pause"),
        pytest.param(10.5, [10], id="the store was paused too, and answers a while later"),
        pytest.param(0.9, [0.3] * 3, id="several short pauses"),
        pytest.param(1.2, [0.9, 0.9], id="pauses just below the deadline"),
        pytest.param(2.5, [0.7] * 4, id="a CPU quota"),
    ],
)
def test_time_in_which_the_loop_did_not_run_is_not_the_store_s(
    answers_after: float, blocked: list[float]
) -> None:
    deadline = 0.2

    async def do(breaker: CircuitBreaker, store: FarStore, told: list[str | None]) -> None:
        store.seconds = answers_after * deadline
        asked = [Asked([]).of(breaker) for _ in range(5)]
        for share in blocked:
            await asyncio.sleep(deadline / 10)
            time.sleep(share * deadline)  # noqa: ASYNC251 - it is to block the loop
        await until(lambda: all(each.answers for each in asked))
        assert [each.answers for each in asked] == [[("heard", None)]] * 5
        assert told == []

    guarded(do, FarStore(), deadline)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("turn_seconds", [0.005, 0.02, 0.1])
def test_a_dead_store_is_noticed_by_a_slow_loop_too(turn_seconds: float) -> None:
    deadline = 0.2

    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.silent = True
        asked = Asked([]).of(breaker)
        began = time.monotonic()
        while not asked.answers:
            time.sleep(turn_seconds)  # noqa: ASYNC251 - it is to be slow
            await asyncio.sleep(0)
        assert time.monotonic() - began < 10 * deadline + 20 * turn_seconds
        assert breaker.is_open

    guarded(do, FakeStore(), deadline)


@pytest.mark.usefixtures("quick")
def test_a_pause_while_the_store_is_probed_is_not_the_store_s_either() -> None:
    deadline = 0.2

    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("refused")
        await fails(breaker)
        store.fault = None
        asked = store.asked
        store.silent = True
        await until(lambda: store.asked > asked)
        time.sleep(3 * deadline)  # noqa: ASYNC251 - it is to block the loop
        await asyncio.sleep(deadline / 2)
        store.speak()
        await until(lambda: not breaker.is_open)
        assert store.asked == asked + 1

    guarded(do, FakeStore(), deadline)


# What the log is told -----------------------------------------------------------------------------


@dataclass
class ExplainingStore(FakeStore):
    """A silent store that says why, each time something else."""

    reasons: list[str] = field(default_factory=list)

    def explain_delay(self, timeout_seconds: float) -> str:  # noqa: ARG002 - a list says it
        return self.reasons.pop(0) if len(self.reasons) > 1 else self.reasons[0]


@pytest.mark.usefixtures("quick")
def test_why_it_takes_long_is_told_and_told_again_where_there_is_news() -> None:
    async def do(breaker: CircuitBreaker, store: ExplainingStore, told: list[str | None]) -> None:
        store.silent = True
        store.reasons = ["connecting", "connecting", "far", "", *map(str, range(9)), "end"]
        await fails(breaker)
        await until(lambda: store.reasons == ["end"])
        store.speak()
        await until(lambda: not breaker.is_open)
        words = [f"no answer within 0.05 s ({cause})" for cause in ("connecting", "far", "0")]
        assert told == [*words, None]

    guarded(do, ExplainingStore())


@pytest.mark.usefixtures("slow")
def test_what_fails_at_the_start_is_tried_again_at_once() -> None:
    async def do(breaker: CircuitBreaker, store: FakeStore, told: list[str | None]) -> None:
        store.fault = StoreError("refused")
        await breaker.check()
        assert breaker.is_open
        store.fault = None
        await until(lambda: not breaker.is_open)
        assert told == ["refused", None]

    guarded(do)
