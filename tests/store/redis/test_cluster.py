"""A Cluster whose topology changes, is wrong, or is not to be had: never more than a store away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from redis.crc import key_slot

from greyd.store import circuit_breaker
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.errors import StoreError
from tests.fake_redis import FakeRedis, Told
from tests.processes import free_port
from tests.store.redis.test_redis_replies import NONSENSE
from tests.stores import Place, count_up, look, put

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Nodes = tuple[FakeRedis, FakeRedis]

PREFIX = "c:"
LAST = 16383
HALF = 8192

KEYS = [b"{%d}" % number for number in range(40)]


def slot_of(key: bytes) -> int:
    return int(key_slot(PREFIX.encode() + key))


LOW = [key for key in KEYS if slot_of(key) < HALF]
HIGH = [key for key in KEYS if slot_of(key) >= HALF]


def of(first: int, last: int, node: FakeRedis, host: bytes | None = b"127.0.0.1") -> list[Any]:
    """Return what a node says of a range of slots."""
    return [first, last, [host, node.port, b"id", []], [b"127.0.0.1", 1, b"replica", []]]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with FakeRedis() as one, FakeRedis() as other:
        share(one, other)
        yield one, other


def share(one: FakeRedis, other: FakeRedis) -> None:
    """Let each of two nodes have its half."""
    one.slots = other.slots = lambda: [of(0, HALF - 1, one), of(HALF, LAST, other)]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store that is away be tried again at once."""
    monkeypatch.setattr(circuit_breaker, "MIN_OPEN_SECONDS", 0.01)
    monkeypatch.setattr(circuit_breaker, "PROBE_INTERVAL_SECONDS", 0.01)


def guarded(
    nodes: Nodes,
    do: Callable[[CircuitBreaker, list[str | None]], Coroutine[Any, Any, None]],
    timeout_seconds: float = 10,
    *,
    warm: bool = True,
) -> None:
    """Do something with a Cluster's store, and what the guard told; the topology is known."""

    async def run() -> None:
        told: list[str | None] = []
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)
        async with Place(url, PREFIX).opened() as store:
            breaker = CircuitBreaker(store, timeout_seconds, told.append)
            for key in (LOW[0], HIGH[0]) if warm else ():
                await breaker.transact([key], look)
            try:
                await asyncio.wait_for(do(breaker, told), 20)
            finally:
                await breaker.close()

    asyncio.run(run())


async def is_back(breaker: CircuitBreaker) -> None:
    # It has no event to wait for.
    while breaker.is_open:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def all_is_well(breaker: CircuitBreaker, told: list[str | None]) -> None:
    """See that each key can be stored and found, and that nothing opens the circuit again."""
    await is_back(breaker)
    before = told.copy()
    for key in KEYS:
        await breaker.transact([key], put(key, b"v"))
    assert [await breaker.transact([key], look) for key in KEYS] == [[b"v"]] * len(KEYS)
    assert told == before


def test_each_key_goes_to_the_node_that_has_its_slot(nodes: Nodes) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        await all_is_well(breaker, told)
        assert told == []
        assert all(node.commands["EVALSHA"] > 5 for node in nodes)
        assert [node.connections for node in nodes] == [1, 1]

    guarded(nodes, do)


@pytest.mark.parametrize("host", [b"", None, b"?"])
def test_a_node_that_does_not_name_its_host_is_where_it_was_asked(
    nodes: Nodes, host: bytes | None
) -> None:
    one, other = nodes
    one.slots = other.slots = lambda: [of(0, HALF - 1, one, host), of(HALF, LAST, other, host)]
    guarded(nodes, all_is_well)


def test_many_requests_at_once_learn_the_topology_once(nodes: Nodes) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        await asyncio.gather(*(breaker.transact([key], count_up(key)) for key in KEYS * 5))
        assert [node.commands["CLUSTER"] for node in nodes] in ([1, 0], [0, 1], [1, 1])
        assert told == []

    guarded(nodes, do, warm=False)


def test_slots_that_nobody_has_are_a_store_that_is_away_until_somebody_has_them(
    nodes: Nodes,
) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        one, other = nodes
        for _ in range(3):
            # A node says so, and nobody else has them.
            one.slots = other.slots = lambda: [of(0, HALF - 1, one)]
            other.answer("EVALSHA", Told(b"-CLUSTERDOWN Hash slot not served\r\n", does=False))
            with pytest.raises(StoreError):
                await breaker.transact([HIGH[0]], look)
            for _ in range(5):
                await is_back(breaker)
                with pytest.raises(StoreError):
                    await breaker.transact([HIGH[1]], look)
                await is_back(breaker)
                assert await breaker.transact([LOW[0]], look)
            share(one, other)
            await is_back(breaker)
            assert await breaker.transact([HIGH[2]], look), "at once, not after one more error"
            await all_is_well(breaker, told)
        assert told[-1] is None

    guarded(nodes, do)


def moved_to(node: FakeRedis, key: bytes, kind: str = "MOVED") -> Told:
    return Told(b"-%b %d 127.0.0.1:%d\r\n" % (kind.encode(), slot_of(key), node.port), does=False)


def test_a_slot_that_has_moved_is_followed_and_the_topology_learnt_anew(nodes: Nodes) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        one, other = nodes
        one.slots = other.slots = lambda: [of(0, LAST, other)]
        learnt = sum(node.commands["CLUSTER"] for node in nodes)
        one.answer("EVALSHA", moved_to(other, LOW[0]))
        await breaker.transact([LOW[0]], put(LOW[0], b"v"))
        while sum(node.commands["CLUSTER"] for node in nodes) == learnt:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await all_is_well(breaker, told)
        assert told == []

    guarded(nodes, do)


def test_a_slot_on_its_way_is_asked_for_where_it_goes(nodes: Nodes) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        one, other = nodes
        one.answer("EVALSHA", moved_to(other, LOW[0], "ASK"))
        await breaker.transact([LOW[0]], put(LOW[0], b"v"))
        assert other.commands["ASKING"] == 1
        assert told == []

    guarded(nodes, do)


FAULTS = {
    "no port": b"-MOVED 1 127.0.0.1\r\n",
    "no address": b"-MOVED 1\r\n",
    "a node that is none": b"-MOVED 1 no..such..host:6379\r\n",
    "a dead node": b"-MOVED 1 127.0.0.1:%(dead)d\r\n",
    "asked at a dead node": b"-ASK 1 127.0.0.1:%(dead)d\r\n",
    "asked at nowhere": b"-ASK 1\r\n",
    "down": b"-CLUSTERDOWN The cluster is down\r\n",
    "replica": b"-READONLY You can't write against a read only replica.\r\n",
    "master down": b"-MASTERDOWN Link with MASTER is down\r\n",
    "error": b"-ERR This instance has cluster support disabled\r\n",
    "itself, over and over": b"-MOVED 1 127.0.0.1:%(itself)d\r\n",
    "asking itself, over and over": b"-ASK 1 127.0.0.1:%(itself)d\r\n",
    "its own host, over and over": b"-MOVED 1 :%(itself)d\r\n",
    "no answer": b"",
    "nonsense": b"*0\r\n",
}


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_a_node_says_of_a_slot_is_over_when_it_is_well_again(
    nodes: Nodes, name: str
) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        one, _ = nodes
        reply = FAULTS[name]
        if b"%" in reply:
            reply %= {b"dead": free_port(), b"itself": one.port}
        one.answer("EVALSHA", *[Told(reply, does=False)] * 5)
        answers = await asyncio.gather(
            *(breaker.transact([key], look) for key in LOW), return_exceptions=True
        )
        assert all(isinstance(each, StoreError) or each == [None] for each in answers), answers
        while not one.has_answered:
            await is_back(breaker)
            await asyncio.gather(breaker.transact([LOW[0]], look), return_exceptions=True)
        await all_is_well(breaker, told)

    guarded(nodes, do, timeout_seconds=0.5)


@pytest.mark.parametrize("name", NONSENSE)
def test_one_node_that_knows_the_topology_is_enough(nodes: Nodes, name: str) -> None:
    one, _ = nodes
    one.answer("CLUSTER", *[Told(NONSENSE[name])] * 3)
    guarded(nodes, all_is_well)


TOPOLOGIES: dict[str, list[Any]] = {
    "none": [],
    "a part": [[0, HALF - 1, [b"127.0.0.1", 1]]],
    "text": [b"0"],
    "no node": [[0, LAST]],
    "no port": [[0, LAST, [b"127.0.0.1"]]],
    "port 0": [[0, LAST, [b"127.0.0.1", 0]]],
    "port too high": [[0, LAST, [b"127.0.0.1", 65536]]],
    "too many slots": [[0, LAST + 1, [b"127.0.0.1", 1]]],
    "backwards": [[LAST, 0, [b"127.0.0.1", 1]]],
    "negative": [[-1, LAST, [b"127.0.0.1", 1]]],
    "numbers as texts": [[b"0", b"16383", [b"127.0.0.1", b"1"]]],
    "number as host": [[0, LAST, [1, 1]]],
    "a host that is none": [[0, LAST, [b"no..such\xffhost", 1]]],
    "dead nodes": [[0, LAST, [b"127.0.0.1", 1]]],
}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_topology_that_can_t_be_is_a_store_that_is_away_until_it_can(
    nodes: Nodes, name: str
) -> None:
    one, other = nodes

    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        one.slots = other.slots = lambda: TOPOLOGIES[name]
        for _ in range(3):
            with pytest.raises(StoreError):
                await breaker.transact([HIGH[0]], look)
        share(one, other)
        await all_is_well(breaker, told)

    guarded(nodes, do, timeout_seconds=0.5, warm=False)


def test_a_node_that_is_gone_is_a_store_that_is_away_until_another_has_its_slots() -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        lost.__exit__()
        with pytest.raises(StoreError):
            await breaker.transact([HIGH[0]], look)
        left.slots = lambda: [of(0, LAST, left)]
        while True:
            await is_back(breaker)
            answer = await asyncio.gather(breaker.transact([HIGH[0]], look), return_exceptions=True)
            if answer == [[None]]:
                break
        await all_is_well(breaker, told)

    with FakeRedis() as left:
        lost = FakeRedis()
        lost.__enter__()
        share(left, lost)
        guarded((left, lost), do, timeout_seconds=0.5)


def test_a_topology_that_is_slow_to_learn_is_learnt_all_the_same(nodes: Nodes) -> None:
    async def do(breaker: CircuitBreaker, told: list[str | None]) -> None:
        # Neither is ever answered: after a while others are asked.
        for node in nodes:
            node.answer("CLUSTER", Told(b""))
        with pytest.raises(StoreError):
            await breaker.transact([LOW[0]], look)
        await all_is_well(breaker, told)

    guarded(nodes, do, timeout_seconds=0.3, warm=False)
