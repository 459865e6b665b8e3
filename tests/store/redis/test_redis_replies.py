"""What Redis may answer instead of an answer, and what that costs: its requests' time, no more."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from greyd.store import circuit_breaker
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.contract import StoreSize
from greyd.store.errors import StoreError
from greyd.store.redis import pipelined_connection
from tests.fake_redis import FakeRedis, Told, encoded
from tests.stores import Place, count_up, look, put

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from greyd.store.contract import Store

PREFIX = "bad:"
PATIENCE_SECONDS = 20.0

NONSENSE = {
    "empty list": b"*0\r\n",
    "no list": b"*-1\r\n",
    "nil": b"$-1\r\n",
    "number": b":1\r\n",
    "OK": b"+OK\r\n",
    "QUEUED": b"+QUEUED\r\n",
    "text": b"$5\r\nhello\r\n",
    "empty text": b"$0\r\n\r\n",
    "list too long": b"*40\r\n" + b":1\r\n" * 40,
    "list of lists too short": b"*8\r\n" + b"*0\r\n" * 8,
    "list of lists too long": b"*8\r\n" + b"*2\r\n$-1\r\n$-1\r\n" * 8,
    "zeros": b"*8\r\n" + b":0\r\n" * 8,
    "numbers": b"*8\r\n" + b":2\r\n" * 8,
    "nils": b"*8\r\n" + b"$-1\r\n" * 8,
    "errors within": b"*8\r\n" + b"-ERR no\r\n" * 8,
    "numbers as values": b"*8\r\n" + b"*1\r\n:7\r\n" * 8,
    "lists as values": b"*8\r\n" + b"*1\r\n*1\r\n$1\r\nx\r\n" * 8,
    "errors as values": b"*8\r\n" + b"*1\r\n-ERR no\r\n" * 8,
    "nested deeply": b"*1\r\n" * 9 + b":1\r\n",
    "RESP3 true": b"#t\r\n",
    "RESP3 false": b"#f\r\n",
    "RESP3 null": b"_\r\n",
    "RESP3 double": b",1\r\n",
    "RESP3 doubles": b"*8\r\n" + b",1\r\n" * 8,
    "RESP3 truths": b"*8\r\n" + b"#t\r\n" * 8,
    "RESP3 map": b"%1\r\n+a\r\n:1\r\n",
    "RESP3 push": b">2\r\n+message\r\n+x\r\n",
    "RESP3 push of ones": b">8\r\n" + b":1\r\n" * 8,
    "RESP3 error": b"!5\r\nSYNTAX\r\n",
    "MOVED without an address": b"-MOVED 1\r\n",
    "MOVED alone": b"-MOVED\r\n",
    "MOVED to no port": b"-MOVED 1 127.0.0.1\r\n",
    "MOVED to port 0": b"-MOVED 1 127.0.0.1:0\r\n",
    "MOVED to a port too high": b"-MOVED 1 127.0.0.1:70000\r\n",
    "MOVED of no slot": b"-MOVED x 127.0.0.1:6379\r\n",
    "MOVED of a slot too high": b"-MOVED 16384 127.0.0.1:6379\r\n",
    "MOVED with more": b"-MOVED 1 127.0.0.1:6379 and more\r\n",
    "ASK without an address": b"-ASK 1\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "octets": bytes(range(256)),
    "number that is none": b":one\r\n",
    "length that is none": b"$one\r\n",
    "negative length": b"$-7\r\n",
    "list of all memory": b"*4294967295\r\n",
    "list longer than can be": b"*99999999999999999999\r\n",
    "two answers": b"*8\r\n" + b":2\r\n" * 8 + b"*8\r\n" + b":2\r\n" * 8,
}
"""Of eight swaps of one key each, none of these tells what has become of any."""


@pytest.fixture
def redis() -> Iterator[FakeRedis]:
    with FakeRedis() as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store that is away be tried again at once."""
    monkeypatch.setattr(circuit_breaker, "MIN_OPEN_SECONDS", 0.01)
    monkeypatch.setattr(circuit_breaker, "PROBE_INTERVAL_SECONDS", 0.01)


def guarded(
    redis: FakeRedis,
    do: Callable[[CircuitBreaker, list[str | None]], Coroutine[Any, Any, None]],
    timeout_seconds: float = 10,
) -> None:
    """Do something with a guarded store in a Redis, and what the guard told."""

    async def run() -> None:
        told: list[str | None] = []
        async with Place(redis.store, PREFIX).opened() as store:
            breaker = CircuitBreaker(store, timeout_seconds, told.append)
            # So Redis knows the script, and there is a connection.
            await breaker.transact([b"warm"], put(b"warm", b"v"))
            try:
                await asyncio.wait_for(do(breaker, told), PATIENCE_SECONDS)
            finally:
                await breaker.close()

    asyncio.run(run())


def ask(
    breaker: CircuitBreaker, key: bytes, answers: list[tuple[bytes, Any, Exception | None]]
) -> None:
    breaker.begin([key], put(key, b"of " + key), lambda *answer: answers.append((key, *answer)))


async def answered(answers: list[Any], number: int) -> None:
    # A list has no event to wait for.
    while len(answers) < number:  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    # None may come twice.
    await asyncio.sleep(0.02)


EIGHT = [b"k%d" % number for number in range(8)]


@pytest.mark.parametrize("does", [True, False], ids=["done all the same", "not done"])
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_costs_its_connection_and_no_request(
    redis: FakeRedis, name: str, does: bool
) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        answers: list[tuple[bytes, Any, Exception | None]] = []
        redis.answer("EVALSHA", Told(NONSENSE[name], does))
        for key in EIGHT:
            ask(breaker, key, answers)
        await answered(answers, 8)
        assert sorted(key for key, _, _ in answers) == EIGHT, "each is answered once"
        # What was done all the same is found when it is asked again, as another server's would be.
        assert all(
            error is None and seen in ([None], [b"of " + key] if does else [None])
            for key, seen, error in answers
        )
        assert told == [], "the circuit stays closed"
        assert redis.connections == 2
        pop_warning = breaker.store.pop_warning()
        assert str(redis.port) in pop_warning
        assert pop_warning.isprintable()
        assert breaker.store.pop_warning() == ""
        for key in EIGHT:
            # Neither lost nor believed to be something else.
            assert await breaker.transact([key], look) == [b"of " + key]
        assert redis.connections == 2

    guarded(redis, do)


@pytest.mark.parametrize("name", ["nil", "two answers", "octets", "MOVED alone"])
def test_what_comes_behind_nonsense_is_not_believed_but_asked_again(
    redis: FakeRedis, name: str
) -> None:
    keys = [b"k%02d" % number for number in range(40)]

    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        answers: list[tuple[bytes, Any, Exception | None]] = []
        # More than one call of the script takes.
        redis.answer("EVALSHA", Told(NONSENSE[name], does=False))
        for key in keys:
            ask(breaker, key, answers)
        await answered(answers, 40)
        assert sorted(key for key, _, _ in answers) == keys
        assert not any(error for _, _, error in answers)
        assert told == []
        for key in keys:
            assert await breaker.transact([key], look) == [b"of " + key]

    guarded(redis, do)


@pytest.mark.parametrize(
    "begin", [b"$1000000\r\n", b"*1000000\r\n", b"+", b"-", b"*1\r\n$99999\r\n"]
)
def test_a_reply_without_an_end_is_not_kept_beyond_a_limit(
    redis: FakeRedis, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(pipelined_connection, "MAX_REPLY_BYTES", 10_000)

    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        redis.answer(
            "EVALSHA",
            Told(begin + b":1\r\n" * 5000 if begin[:1] == b"*" else begin + b"x" * 20_000),
        )
        assert await breaker.transact([b"warm"], look) == [b"v"]
        assert redis.connections == 2
        assert told == []

    guarded(redis, do)


MISFITS = {
    "number": b":2\r\n",
    "zero": b":0\r\n",
    "nil": b"$-1\r\n",
    "text": b"$1\r\n1\r\n",
    "error": b"-ERR no\r\n",
    "empty list": b"*0\r\n",
    "list too long": b"*2\r\n$-1\r\n$-1\r\n",
    "number as value": b"*1\r\n:1\r\n",
    "list as value": b"*1\r\n*1\r\n$-1\r\n",
    "truth": b"#t\r\n",
    "double": b",1\r\n",
}


@pytest.mark.parametrize("name", MISFITS)
@pytest.mark.parametrize("place", [0, 3, 7])
def test_one_outcome_that_is_none_costs_the_others_of_its_batch_nothing(
    redis: FakeRedis, name: str, place: int
) -> None:
    def spoilt(reply: Any) -> bytes:
        outcomes = [encoded(each) for each in reply]
        assert len(outcomes) == 8
        outcomes[place] = MISFITS[name]
        return b"*8\r\n" + b"".join(outcomes)

    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        answers: list[tuple[bytes, Any, Exception | None]] = []
        redis.answer("EVALSHA", Told(spoilt))
        before = redis.commands["EVALSHA"]
        for key in EIGHT:
            ask(breaker, key, answers)
        await answered(answers, 8)
        spoilt_key = EIGHT[place]
        seen = {key: (seen, error) for key, seen, error in answers}
        # It was stored, and is found there when it is asked again.
        assert seen.pop(spoilt_key) == ([b"of " + spoilt_key], None)
        assert Counter(map(str, seen.values())) == {str(([None], None)): 7}
        assert told == []
        # The eight together, and the one twice more: what it believes is wrong at first.
        assert redis.commands["EVALSHA"] - before == 3
        for key in EIGHT:
            assert await breaker.transact([key], look) == [b"of " + key]

    guarded(redis, do)


@pytest.mark.parametrize("name", ["empty list", "QUEUED", "octets", "RESP3 push", "nil"])
def test_nonsense_once_more_costs_those_that_it_answers_and_the_circuit_closes_again(
    redis: FakeRedis, name: str
) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        answers: list[tuple[bytes, Any, Exception | None]] = []
        redis.answer("EVALSHA", *[Told(NONSENSE[name], does=False)] * 40)
        for key in EIGHT:
            ask(breaker, key, answers)
        await answered(answers, 8)
        assert sorted(key for key, _, _ in answers) == EIGHT
        assert all(isinstance(error, StoreError) for _, _, error in answers)
        while breaker.is_open or not redis.has_answered:  # noqa: ASYNC110 - neither has an event
            await asyncio.sleep(0.01)
        opened = told.copy()
        assert opened[-1] is None
        for number in range(1, 6):
            assert await breaker.transact([b"n"], count_up(b"n")) == number
        assert told == opened

    guarded(redis, do)


ERRORS = {
    "error": b"-ERR something\r\n",
    "nothing": b"-\r\n",
    "octets": b"-\xff\xfe\x1b[31m\r\n",
    "out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "moved by a Cluster that the URL does not name": b"-MOVED 1 127.0.0.1:6379\r\n",
    "the script is missing, still": b"-NOSCRIPT No matching script.\r\n",
    "cut off": b"*8\r\n:1\r\n",
    "text cut off": b"$100\r\nabc",
    "no answer": b"",
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_redis_refuses_or_never_answers_is_a_store_that_is_away_for_a_while(
    redis: FakeRedis, name: str
) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        answers: list[tuple[bytes, Any, Exception | None]] = []
        for command in ("EVALSHA", "EVAL"):
            if command == "EVALSHA" or "script" in name:
                redis.answer(command, Told(ERRORS[name], does=False))
        for key in EIGHT:
            ask(breaker, key, answers)
        await answered(answers, 8)
        assert sorted(key for key, _, _ in answers) == EIGHT
        assert all(isinstance(error, StoreError) for _, _, error in answers)
        while breaker.is_open:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        opened = told.copy()
        for number in range(1, 6):
            assert await breaker.transact([b"n"], count_up(b"n")) == number
        assert told == opened
        assert all(text is None or text.isprintable() for text in told)

    guarded(redis, do, timeout_seconds=0.5)


async def all_records(store: Store) -> dict[bytes, bytes]:
    return {each.key: each.value async for group in store.records() for each in group}


async def value_of(store: Store) -> bytes:
    record = await store.get(b"warm")
    assert record is not None
    return record.value


ADMINISTRATION: dict[str, tuple[Callable[[Store], Coroutine[Any, Any, Any]], Any, list[bytes]]] = {
    "EVAL": (
        value_of,
        b"v",
        [
            b"*1\r\n*0\r\n", b"*1\r\n*2\r\n$1\r\nv\r\n$1\r\n9\r\n", b"*1\r\n*2\r\n:1\r\n:1\r\n",
            b"*1\r\n*3\r\n$1\r\nv\r\n:1\r\n:1\r\n", b"*2\r\n*2\r\n$1\r\nv\r\n:1\r\n:1\r\n",
            b"*1\r\n:1\r\n", b"*1\r\n*2\r\n$1\r\nv\r\n$-1\r\n",
        ],
    ),
    "SCAN": (
        all_records,
        {b"warm": b"v"},
        [
            b"*1\r\n$1\r\n0\r\n", b"*3\r\n$1\r\n0\r\n*0\r\n*0\r\n", b"*2\r\n:0\r\n*0\r\n",
            b"*2\r\n$1\r\nx\r\n*0\r\n", b"*2\r\n$0\r\n\r\n*0\r\n", b"*2\r\n$1\r\n0\r\n$-1\r\n",
            b"*2\r\n$1\r\n0\r\n*1\r\n:1\r\n", b"*2\r\n$1\r\n0\r\n*1\r\n$-1\r\n",
            b"*2\r\n$30\r\n" + b"1" * 30 + b"\r\n*0\r\n",
        ],
    ),
    "DEL": (
        lambda store: store.delete([b"nosuch"]),
        0,
        [b"$1\r\n1\r\n", b"*1\r\n:1\r\n"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", ADMINISTRATION)
def test_nonsense_for_a_command_is_one_error_and_no_other(redis: FakeRedis, command: str) -> None:
    call, right, special = ADMINISTRATION[command]

    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        store = breaker.store
        for reply in (*special, *NONSENSE.values()):
            if command == "DEL" and reply == NONSENSE["number"]:
                continue  # that one is an answer
            redis.answer(command, Told(reply))
            with pytest.raises(StoreError):
                await call(store)
            assert await call(store) == right, reply
        assert told == []

    guarded(redis, do)


@pytest.mark.parametrize("command", ["DBSIZE", "INFO"])
def test_a_size_that_is_nonsense_is_not_known(redis: FakeRedis, command: str) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        for reply in NONSENSE.values():
            redis.answer(command, Told(reply))
            size = await breaker.store.size()
            assert isinstance(size, StoreSize)
            assert size.entries is None or command == "INFO" or reply == NONSENSE["number"]
            assert size.size_bytes is None
        assert await breaker.transact([b"warm"], look) == [b"v"]
        assert told == []

    guarded(redis, do)


# What is pushed is no answer, so it is waited for one.
@pytest.mark.parametrize("name", [name for name in NONSENSE if "push" not in name])
def test_nonsense_while_connecting_is_a_store_that_is_away_for_a_while(
    redis: FakeRedis, name: str
) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        for _ in range(2):
            # The connection is closed, and the next one begins with it.
            redis.answer("EVALSHA", Told(NONSENSE["nil"], does=False))
            redis.answer("CLIENT", Told(NONSENSE[name]))
            answers: list[tuple[bytes, Any, Exception | None]] = []
            for key in EIGHT:
                ask(breaker, key, answers)
            await answered(answers, 8)
            assert sorted(key for key, _, _ in answers) == EIGHT
            while breaker.is_open:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
            assert await breaker.transact([b"warm"], look) == [b"v"]

    guarded(redis, do)
