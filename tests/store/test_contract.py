"""One contract, three stores: SQLite, Redis in the process, and a real redis-server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import resource
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

import tests.corpus  # noqa: F401 - registers the profile of property tests
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments
from greyd.rules.records import Client, Triplet
from greyd.rules.reserved_keys import SWEPT_KEY
from greyd.rules.transaction import Change
from greyd.store.errors import StoreError
from greyd.store.opening import open_store
from tests.processes import free_port, redis_server
from tests.stores import (
    RACE_SENDERS,
    RACE_START,
    ROUND_SECONDS,
    Place,
    count_up,
    look,
    put,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from greyd.rules.transaction import Record, Remembered
    from greyd.store.contract import Store
    from tests.processes import Running

numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


_REDIS = pytest.param("redis", marks=pytest.mark.integration)


def place_of(request: pytest.FixtureRequest, folder: Path) -> Place:
    """Return an empty place of the kind that the fixture asks for."""
    prefix = f"test{next(numbers)}:"
    if request.param == "sqlite":
        return Place(f"sqlite:{folder / 'greyd.db'}", prefix)
    if request.param == "memory":
        return Place("memory://", prefix)
    return Place(f"redis://127.0.0.1:{request.getfixturevalue('server').port}/0", prefix)


@pytest.fixture(params=["sqlite", "memory", _REDIS])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty place of each kind."""
    return place_of(request, tmp_path)


@pytest.fixture(params=["sqlite", _REDIS])
def shared_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return one of each kind that is more than one process's own."""
    return place_of(request, tmp_path)


@pytest.fixture(params=["memory", _REDIS])
def place_with_prefix(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return one of each kind whose keys have a prefix: a file has one owner."""
    return place_of(request, tmp_path)


@pytest.fixture
def redis_place(server: Running) -> Place:
    return Place(f"redis://127.0.0.1:{server.port}/0", f"test{next(numbers)}:")


def in_store(place: Place, do: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
    """Do something with a store that is opened for it."""

    async def run() -> Any:
        async with place.opened() as store:
            return await do(store)

    return asyncio.run(run())


async def all_records(store: Store) -> list[Record]:
    return [record async for group in store.records() for record in group]


# transact -----------------------------------------------------------------------------------------


def test_what_a_rule_stores_is_there_for_the_next_one(place: Place) -> None:
    async def do(store: Store) -> None:
        assert await store.transact([b"k"], put(b"k", b"one")) == [None]
        assert await store.transact([b"k"], put(b"k", b"two")) == [b"one"]
        assert await store.transact([b"k"], look) == [b"two"]

    in_store(place, do)


def test_a_rule_sees_what_is_under_each_of_its_keys_in_their_order(place: Place) -> None:
    async def do(store: Store) -> None:
        await store.transact([b"a"], put(b"a", b"1"))
        await store.transact([b"c"], put(b"c", b"3"))
        assert await store.transact([b"c", b"b", b"a"], look) == [b"3", None, b"1"]

    in_store(place, do)


def test_several_changes_are_stored_together(place: Place) -> None:
    async def do(store: Store) -> None:
        changes = [Change(b"b", b"2", 60), Change(b"a", b"1", 60)]
        assert await store.transact([b"a", b"b"], lambda _: ("answer", changes)) == "answer"
        assert await store.transact([b"a", b"b"], look) == [b"1", b"2"]

    in_store(place, do)


def test_a_rule_that_changes_nothing_leaves_nothing(place: Place) -> None:
    async def do(store: Store) -> None:
        assert await store.transact([b"k"], look) == [None]
        assert await store.count() == 0

    in_store(place, do)


def test_of_a_rule_that_fails_nothing_is_stored_and_the_others_stand(place: Place) -> None:
    def fail(remembered: Remembered) -> tuple[None, list[Change]]:
        raise ZeroDivisionError

    async def do(store: Store) -> None:
        results = await asyncio.gather(
            store.transact([b"a"], put(b"a", b"1")),
            store.transact([b"b"], fail),
            store.transact([b"c"], put(b"c", b"3")),
            return_exceptions=True,
        )
        assert isinstance(results[1], ZeroDivisionError)
        assert await store.transact([b"a", b"b", b"c"], look) == [b"1", None, b"3"]

    in_store(place, do)


def test_many_requests_at_once_lose_no_update(place: Place) -> None:
    async def do(store: Store) -> None:
        answers = []
        for _ in range(4):
            answers += await asyncio.gather(
                *(store.transact([b"n"], count_up(b"n")) for _ in range(50))
            )
        assert sorted(answers) == list(range(1, 201))

    in_store(place, do)


def test_each_of_many_at_once_is_decided_for_itself(place: Place) -> None:
    async def do(store: Store) -> None:
        numbers = range(700)
        await asyncio.gather(
            *(store.transact([b"%d" % n], put(b"%d" % n, b"v%d" % n)) for n in numbers if n % 3)
        )
        seen = await asyncio.gather(
            *(
                store.transact([b"%d" % n, b"none"], put(b"%d" % n, b"w%d" % n))
                if n % 2
                else store.transact([b"none", b"%d" % n], look)
                for n in numbers
            )
        )
        for number, values in zip(numbers, seen, strict=True):
            there = b"v%d" % number if number % 3 else None
            assert values == ([there, None] if number % 2 else [None, there])
        later = await asyncio.gather(*(store.transact([b"%d" % n], look) for n in numbers))
        for number, (value,) in zip(numbers, later, strict=True):
            assert value == (b"w%d" % number if number % 2 else seen[number][1])

    in_store(place, do)


def test_who_is_called_back_may_begin_the_next_at_once(place: Place) -> None:
    async def do(store: Store) -> None:
        all_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        counted: list[int] = []

        def again(number: int | None, error: Exception | None) -> None:
            assert error is None
            if number is not None:
                counted.append(number)
            if len(counted) == 2000:
                all_done.set_result(None)
            else:
                store.begin([b"n"], count_up(b"n"), again)

        again(None, None)
        await all_done
        assert counted == list(range(1, 2001))

    in_store(place, do)


def test_two_stores_in_one_place_lose_no_update(shared_place: Place) -> None:
    async def count(store: Store, times: int) -> list[int]:
        return [await store.transact([b"n"], count_up(b"n")) for _ in range(times)]

    async def run() -> list[int]:
        async with shared_place.opened() as one, shared_place.opened() as other:
            counted = await asyncio.gather(*(count(each, 50) for each in (one, other, one, other)))
            return sorted(number for numbers_ in counted for number in numbers_)

    assert asyncio.run(run()) == list(range(1, 201))


def test_a_rule_is_asked_again_when_another_was_faster(shared_place: Place) -> None:
    async def run() -> None:
        async with shared_place.opened() as one, shared_place.opened() as other:
            await other.transact([b"k"], put(b"k", b"theirs"))
            seen: list[list[bytes | None]] = []

            def rule(remembered: Remembered) -> tuple[str, list[Change]]:
                seen.append(list(remembered))
                return f"after {remembered[0]!r}", [Change(b"k", b"ours", 60)]

            assert await one.transact([b"k"], rule) == "after b'theirs'"
            assert seen[-1] == [b"theirs"]
            assert await other.transact([b"k"], look) == [b"ours"]

    asyncio.run(run())


def test_what_others_have_changed_meanwhile_is_seen(shared_place: Place) -> None:
    async def run() -> None:
        async with shared_place.opened() as one, shared_place.opened() as other:
            for number in (1, 2, 4):
                # What this one has read last is out of date each time.
                assert await one.transact([b"n"], count_up(b"n")) == number
                if number > 1:
                    assert await other.transact([b"n"], count_up(b"n")) == number + 1
            await other.delete([b"n"])
            assert await one.transact([b"n", b"m"], look) == [None, None]
            await other.transact([b"m"], put(b"m", b"theirs"))
            assert await one.transact([b"n", b"m"], look) == [None, b"theirs"]

    asyncio.run(run())


def test_an_expired_entry_is_gone_for_all(place: Place) -> None:
    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v", 1))
        await store.transact([b"l"], put(b"l", b"v", 60))
        until = time.monotonic() + 10
        # Nobody tells when time has passed.
        while await store.get(b"k") is not None and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert await store.get(b"k") is None
        assert await store.transact([b"k", b"l"], look) == [None, b"v"]
        assert await store.count() == 1
        assert [record.key for record in await all_records(store)] == [b"l"]
        assert await store.delete([b"k"]) == 0
        await store.transact([b"k"], put(b"k", b"again"))
        assert await store.transact([b"k"], look) == [b"again"]

    in_store(place, do)


def test_each_writing_sets_the_time_to_live_anew(place: Place) -> None:
    async def do(store: Store) -> None:
        for seconds in (60, 100_000, 30):
            await store.transact([b"k"], put(b"k", b"v", seconds))
            record = await store.get(b"k")
            assert record is not None
            assert seconds - 5 <= record.ttl_seconds <= seconds

    in_store(place, do)


def test_looking_does_not_prolong_a_life(place: Place) -> None:
    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v", 60))
        await store.transact([b"k"], look)
        await store.get(b"k")
        await all_records(store)
        record = await store.get(b"k")
        assert record is not None
        assert record.ttl_seconds <= 60

    in_store(place, do)


@pytest.mark.parametrize("option", ["--max-age=1000000000000", "--retry-window=9999999999"])
def test_a_store_takes_the_longest_life_that_can_be_set(place: Place, option: str) -> None:
    given_ = merge_settings(from_arguments([option])[0])
    seconds = max(given_.max_age_seconds, given_.retry_window_seconds) + 3600

    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v", seconds))
        assert await store.transact([b"k"], look) == [b"v"]

    in_store(place, do)


# Administration -----------------------------------------------------------------------------------


def test_an_entry_can_be_looked_at_counted_and_forgotten(place: Place) -> None:
    async def do(store: Store) -> None:
        for name in (b"a", b"b", b"c"):
            await store.transact([name], put(name, b"value of " + name))
        record = await store.get(b"b")
        assert record is not None
        assert (record.key, record.value) == (b"b", b"value of b")
        assert await store.get(b"nosuch") is None
        assert await store.count() == 3
        assert await store.delete([b"a", b"nosuch", b"c"]) == 2
        assert await store.delete([]) == 0
        assert await store.count() == 1
        assert [record.key for record in await all_records(store)] == [b"b"]

    in_store(place, do)


def test_each_of_many_entries_is_seen(place: Place) -> None:
    names = {b"%d" % number for number in range(1500)}

    async def do(store: Store) -> None:
        for group in range(0, 1500, 100):
            await asyncio.gather(
                *(
                    store.transact([b"%d" % number], put(b"%d" % number, b"v%d" % number))
                    for number in range(group, group + 100)
                )
            )
        groups = [group async for group in store.records()]
        assert max(len(group) for group in groups) <= 1000
        records = [record for group in groups for record in group]
        assert {record.key for record in records} == names
        assert all(record.value == b"v" + record.key for record in records)
        assert all(50 <= record.ttl_seconds <= 60 for record in records)
        assert await store.count() == 1500

    in_store(place, do)


def test_a_scan_for_texts_yields_each_key_with_one_and_may_leave_out_others(place: Place) -> None:
    keys = [b"{192.0.2.%d}/a@example.com/b%d@example.org" % (n % 9, n) for n in range(900)]
    odd = ["{203.0.113.0}/ü@example.com/b@example.org".encode(), b"n\0b7@"]

    async def do(store: Store) -> None:
        for key in [*keys, *odd]:
            await store.transact([key], put(key, b"v"))
        found = [each.key async for group in store.records([b"/b7@", b"/b8@"]) for each in group]
        assert {keys[7], keys[8], odd[0]} <= set(found)
        assert len(found) < 10
        none = [each.key async for group in store.records([b"nobody@"]) for each in group]
        assert {odd[0]} <= set(none) <= {*odd}
        all_ = [each.key async for group in store.records() for each in group]
        assert set(all_) == {*keys, *odd}

    in_store(place, do)


def test_a_store_tells_roughly_how_large_it_is(place: Place) -> None:
    async def do(store: Store) -> None:
        for number in range(20):
            await store.transact([b"%d" % number], put(b"%d" % number, b"v"))
        size = await store.size()
        # What is in memory can't tell; what is shared has others' entries too.
        assert size.entries is None or size.entries >= 20
        assert size.size_bytes is None or size.size_bytes > 1000
        if place.url.startswith(("sqlite", "redis:")):
            assert size.entries is not None
            assert size.size_bytes is not None

    in_store(place, do)


def test_what_changes_meanwhile_does_not_disturb_who_goes_through_all(place: Place) -> None:
    async def do(store: Store) -> None:
        for number in range(1200):
            await store.transact([b"%d" % number], put(b"%d" % number, b"v"))
        seen = set()
        async for group in store.records():
            seen |= {record.key for record in group}
            await store.delete([b"7"])
            await store.transact([b"new"], put(b"new", b"v"))
        assert {b"%d" % number for number in range(1200) if number != 7} <= seen

    in_store(place, do)


def test_maintenance_changes_nothing_that_can_be_seen(place: Place) -> None:
    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v"))
        for _ in range(5):
            await store.maintain()
        assert await store.transact([b"k"], look) == [b"v"]

    in_store(place, do)


def test_a_store_may_be_closed_before_it_was_used_and_twice(place: Place) -> None:
    async def run() -> None:
        async with place.opened() as store:
            await store.close()

    asyncio.run(run())


def test_what_was_stored_is_there_after_a_restart(shared_place: Place) -> None:
    in_store(shared_place, lambda store: store.transact([b"k"], put(b"k", b"v")))
    assert in_store(shared_place, lambda store: store.transact([b"k"], look)) == [b"v"]


def test_two_prefixes_do_not_see_each_other(place_with_prefix: Place) -> None:
    async def run() -> None:
        async with (
            place_with_prefix.opened("one:") as one,
            place_with_prefix.opened("one:two:") as other,
        ):
            await one.delete([b"k", b"two:k"])
            await one.transact([b"k"], put(b"k", b"1"))
            assert await other.transact([b"k"], put(b"k", b"2")) == [None]
            assert await one.transact([b"k"], look) == [b"1"]
            assert [record.value for record in await all_records(other)] == [b"2"]
            await other.delete([b"k"])
            assert await one.transact([b"k"], look) == [b"1"]

    asyncio.run(run())


@pytest.mark.parametrize("glob", ["a*:", "a?b:", "[ab]:", "a\\*:", "[^x]-]:", "a*b\\", "ü*:"])
def test_a_prefix_is_taken_to_the_letter(place_with_prefix: Place, glob: str) -> None:
    glob = f"{place_with_prefix.prefix}{glob}"

    async def run() -> None:
        async with (
            place_with_prefix.opened(glob) as one,
            place_with_prefix.opened(f"{place_with_prefix.prefix}axb:") as other,
        ):
            await one.transact([b"k"], put(b"k", b"1"))
            await other.transact([b"k"], put(b"k", b"2"))
            assert [(record.key, record.value) for record in await all_records(one)] == [
                (b"k", b"1")
            ]
            assert await one.count() == 1

    asyncio.run(run())


data = st.binary(max_size=40) | st.sampled_from([b"\0", b"\r\n", b"$-1\r\n", b"*", b"\xff" * 9])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(data, data.filter(bool), min_size=1, max_size=6),
    st.lists(data, max_size=2),
)
def test_keys_and_values_of_any_bytes_are_kept(
    place: Place, entries: dict[bytes, bytes], others: list[bytes]
) -> None:
    async def do(store: Store) -> None:
        keys = list(entries)
        await store.delete([*keys, *others])
        changes = [Change(key, value, 60) for key, value in entries.items()]
        await store.transact(keys, lambda _: (None, changes))
        assert await store.transact([*keys, *others], look) == [
            entries.get(key) for key in [*keys, *others]
        ]
        assert {record.key: record.value for record in await all_records(store)} == entries
        assert await store.delete(keys) == len(keys)
        assert await store.count() == 0

    in_store(place, do)


# Two processes ------------------------------------------------------------------------------------


def step(process: subprocess.Popen[str]) -> None:
    """Let a racing process take its next step."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a racing process writes."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_two_processes_agree_on_one_first_sight_and_count_a_client_once(
    shared_place: Place,
) -> None:
    rounds = 12
    command = [sys.executable, "-m", "tests.stores", shared_place.url, shared_place.prefix]
    racing = [
        subprocess.Popen(
            [*command, number, str(rounds)], cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in ("0", "1")
    ]  # fmt: skip
    first_passes = []
    try:
        assert [line(process) for process in racing] == ["ready", "ready"]
        for _ in range(2 * rounds):
            for process in racing:
                step(process)
            first_passes.append(sum(int(line(process)) for process in racing))
    finally:
        for process in racing:
            process.kill()
            process.communicate()
    # Both have sent all of it; each triplet has passed for the first time once, here or there.
    assert first_passes == [0, len(RACE_SENDERS)] * rounds

    records = in_store(shared_place, all_records)
    triplets = [Triplet.load(record.value) for record in records if b"}/" in record.key]
    assert len(triplets) == rounds * len(RACE_SENDERS)
    starts = {RACE_START + number * ROUND_SECONDS for number in range(rounds)}
    assert {triplet.first_seen for triplet in triplets if triplet} == starts
    (client,) = [Client.load(record.value) for record in records if b"}:" in record.key]
    assert client is not None
    assert client.successes == rounds


# Redis --------------------------------------------------------------------------------------------


@pytest.mark.integration
def test_every_key_in_redis_has_a_time_to_live_and_begins_with_the_prefix(
    server: Running, redis_place: Place
) -> None:
    with Redis(port=server.port) as redis:
        redis.flushall()

        async def do(store: Store) -> None:
            changes = [Change(b"a", b"1", 60), Change(b"b", b"2", 9)]
            await store.transact([b"a", b"b"], lambda _: (None, changes))
            await store.transact([b"a"], put(b"a", b"3", 70))
            await store.transact([b"c"], look)
            await store.maintain()

        in_store(redis_place, do)
        keys = redis.keys()
        assert sorted(keys) == [redis_place.prefix.encode() + name for name in (b"a", b"b")]
        assert all(redis.ttl(key) > 0 for key in keys)


@pytest.mark.integration
def test_what_is_known_of_an_entry_spares_a_round_trip(
    server: Running, redis_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greyd.store.redis.store.MAX_CACHED_VALUES", 2)
    keys = [b"a", b"b", b"c"]

    async def do(store: Store) -> None:
        with Redis(port=server.port) as redis:

            async def calls(key: bytes) -> int:
                redis.config_resetstat()
                await store.transact([key], count_up(key))
                return sum(
                    int(each["calls"])
                    for name, each in redis.info("commandstats").items()
                    if name.startswith("cmdstat_eval")
                )

            assert [await calls(key) for key in keys] == [1, 1, 1], "nothing is there"
            assert [await calls(key) for key in keys] == [2, 2, 2], "something is"
            assert [await calls(key) for key in keys[1:]] == [1, 1]
            assert await calls(b"a") == 2, "what was found first is forgotten"
            assert [await calls(key) for key in (b"c", b"a")] == [1, 1]

    # From here on Redis knows the script, and no call is made twice for its sake.
    in_store(redis_place, lambda store: store.transact([b"warm"], look))
    in_store(redis_place, do)


@pytest.mark.integration
def test_a_lost_script_does_no_harm(server: Running, redis_place: Place) -> None:
    async def do(store: Store) -> None:
        with Redis(port=server.port) as redis:
            for number in range(1, 6):
                redis.script_flush()
                assert await store.transact([b"n"], count_up(b"n")) == number
            redis.script_flush()
            answers = await asyncio.gather(
                *(store.transact([b"n"], count_up(b"n")) for _ in range(10))
            )
            assert sorted(answers) == list(range(6, 16))

    in_store(redis_place, do)


@pytest.mark.integration
def test_a_connection_that_was_killed_is_made_anew(server: Running, redis_place: Place) -> None:
    async def do(store: Store) -> None:
        with Redis(port=server.port) as redis:
            await store.transact([b"k"], put(b"k", b"v"))
            for client in redis.client_list():
                if client["name"] == "greyd":
                    redis.client_kill_filter(_id=client["id"])
            assert await store.transact([b"k"], look) == [b"v"]

    in_store(redis_place, do)


def fault(place: Place) -> str:
    """Return the text of the error with which a store fails to store."""
    with pytest.raises(StoreError) as error:
        in_store(place, lambda store: store.transact([b"k"], put(b"k", b"v")))
    text = str(error.value)
    assert "geheim" not in text
    assert "\n" not in text
    assert len(text) < 300
    return text


@pytest.mark.integration
def test_a_read_only_redis_is_a_store_error(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--replicaof", "127.0.0.1", str(free_port())) as replica:
        assert "READONLY" in fault(Place(f"redis://127.0.0.1:{replica.port}/0", "x:"))


@pytest.mark.integration
def test_a_full_redis_is_a_store_error(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory", "1", "--maxmemory-policy", "noeviction") as full:
        assert "OOM" in fault(Place(f"redis://127.0.0.1:{full.port}/0", "x:"))


@pytest.mark.integration
def test_a_wrong_password_or_none_is_a_store_error(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "other") as server:
        port = server.port
        assert "WRONGPASS" in fault(Place(f"redis://:geheim@127.0.0.1:{port}/0", "x:"))
        assert "auth" in fault(Place(f"redis://127.0.0.1:{port}/0", "x:")).lower()
        right = Place(f"redis://:other@127.0.0.1:{port}/0", "x:")
        assert in_store(right, lambda store: store.transact([b"k"], look)) == [None]


@pytest.mark.parametrize(
    "url",
    [
        "redis://:geheim@127.0.0.1:{port}/0",
        "rediss://u:geheim@127.0.0.1:{port}/0",
        "rediss://127.0.0.1:{port}/0?ssl_ca_certs=/nonexistent",
        "redis://a..b:{port}/0",
        "redis://nosuchhost.invalid:{port}/0",
        "unix://u:geheim@/nonexistent/redis.sock",
        "redis+sentinel://:geheim@127.0.0.1:{port}/main/0",
        "redis+cluster://:geheim@127.0.0.1:{port}",
        "redis://127.0.0.1:{port}/0?nosuch=1",
        "redis+cluster://127.0.0.1:{port}?nosuch=1",
    ],
)
def test_what_can_t_be_connected_is_a_store_error(url: str) -> None:
    fault(Place(url.format(port=free_port()), "x:"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://:geheim/x@127.0.0.1/0",
        "redis://:geheim#x@127.0.0.1/0",
        "redis://:geheim?x@127.0.0.1/0",
        "redis://u:x/geheim@127.0.0.1/0",
        "redis://[geheim@127.0.0.1/0",
        "redis://:geheim@127.0.0.1:99999/0",
        "redis://:geheim@127.0.0.1:x/0",
        "redis:geheim@127.0.0.1",
        "nosuch://:geheim@127.0.0.1",
        "redis+sentinel://u:geheim/x@127.0.0.1:1/m/0",
        "redis+sentinel://u:geheim@127.0.0.1:x/m/0",
        "redis+sentinel://u:geheim@127.0.0.1:1",
        "redis+cluster://u:geheim/x@127.0.0.1:1",
        "redis+nosuch://u:geheim@127.0.0.1",
        "unix://:geheim@/tmp/x?db=y",
        "redis://:geheim@127.0.0.1/0?socket_timeout=soon",
    ],
)
def test_no_error_about_a_url_shows_a_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as error:
        open_store(Settings(store=url), tmp_path)
    assert "geheim" not in str(error.value)
    assert "--store" in str(error.value)


def test_a_password_in_the_url_and_one_in_a_file_are_one_too_many(tmp_path: Path) -> None:
    url = "redis://:geheim@127.0.0.1/0"
    with pytest.raises(StoreError, match="two passwords") as error:
        open_store(Settings(store=url, store_password="geheim"), tmp_path)
    assert "geheim" not in str(error.value)


def test_a_name_without_a_scheme_is_told_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"sqlite:greyd\.db"):
        open_store(Settings(store="greyd.db"), tmp_path)


# SQLite -------------------------------------------------------------------------------------------


def test_without_a_store_s_name_it_is_a_file_in_the_folder(tmp_path: Path) -> None:
    async def run() -> None:
        store = open_store(Settings(), tmp_path)
        await store.transact([b"k"], put(b"k", b"v"))
        await store.close()

    asyncio.run(run())
    assert (tmp_path / "greyd.db").exists()


@pytest.mark.parametrize("form", ["sqlite:{}", "sqlite://{}", "sqlite:{}?synchronous=full"])
def test_a_file_may_be_named_in_several_ways(tmp_path: Path, form: str) -> None:
    file = tmp_path / "x.db"
    place = Place(form.format(file), "")
    in_store(place, lambda store: store.transact([b"k"], put(b"k", b"v")))
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize(
    "location", ["", "?synchronous=full", "x.db?synchronous=off", "x.db?nosuch=1"]
)
def test_an_odd_location_is_an_error_that_says_what_to_write(location: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"sqlite:PATH"):
        open_store(Settings(store=f"sqlite:{location}"), tmp_path)


def test_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=re.escape(f"no folder {tmp_path / 'nosuch'}")):
        open_store(Settings(store=f"sqlite:{tmp_path}/nosuch/greyd.db"), tmp_path)


def test_a_folder_in_the_place_of_the_file_is_a_store_error(tmp_path: Path) -> None:
    assert str(tmp_path) in fault(Place(f"sqlite:{tmp_path}", ""))


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"
    text = b"this is no database, but long enough to be taken for one" * 100
    file.write_bytes(text)

    async def do(store: Store) -> None:
        for _ in range(2):
            with pytest.raises(StoreError, match="not a SQLite file"):
                await store.transact([b"k"], put(b"k", b"v"))

    in_store(Place(f"sqlite:{file}", ""), do)
    assert file.read_bytes() == text
    assert [each.name for each in tmp_path.iterdir() if each != file] in ([], ["greyd.db-lock"])


def test_a_folder_that_is_gone_for_a_while_is_a_store_error_and_then_none(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    folder.mkdir()

    async def do(store: Store) -> None:
        async with asyncio.timeout(10):
            await store.transact([b"k"], put(b"k", b"v"))
            folder.rename(elsewhere)
            for _ in range(3):
                with pytest.raises(StoreError):
                    await store.transact([b"k"], look)
            elsewhere.rename(folder)
            assert await store.transact([b"k"], look) == [b"v"]

    in_store(Place(f"sqlite:{folder / 'greyd.db'}", ""), do)


@contextlib.contextmanager
def limited(kind: int, most: int) -> Iterator[None]:
    """Lower one of this process's own limits for a moment."""
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def test_a_full_disk_while_no_descriptor_is_left_ends_with_its_cause(tmp_path: Path) -> None:
    async def do(store: Store) -> None:
        async with asyncio.timeout(10):
            await store.transact([b"k"], put(b"k", b"v"))
            with limited(resource.RLIMIT_FSIZE, 1), limited(resource.RLIMIT_NOFILE, 3):
                for _ in range(3):
                    with pytest.raises(StoreError):
                        await store.transact([b"k"], put(b"k", b"w"))
            assert await store.transact([b"k"], look) == [b"v"]

    in_store(Place(f"sqlite:{tmp_path / 'greyd.db'}", ""), do)


def test_a_file_that_another_holds_for_long_is_a_store_error_and_then_none(
    tmp_path: Path,
) -> None:
    place = Place(f"sqlite:{tmp_path / 'greyd.db'}", "")

    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v"))
        holder = sqlite3.connect(tmp_path / "greyd.db", isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await store.transact([b"k"], look)
            holder.execute("ROLLBACK")
            assert await store.transact([b"k"], look) == [b"v"]
        finally:
            holder.close()

    in_store(place, do)


def test_expired_rows_leave_the_file_in_small_steps(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"

    def rows() -> int:
        connection = sqlite3.connect(file)
        try:
            entries = "SELECT count(*) FROM record WHERE key <> ?"
            return int(connection.execute(entries, (SWEPT_KEY,)).fetchone()[0])
        finally:
            connection.close()

    async def do(store: Store) -> None:
        for number in range(3000):
            key = b"%d" % number
            await store.transact([key], put(key, b"v", 60 if number % 100 == 0 else -1))
        assert rows() == 3000
        for _ in range(50):
            await store.maintain()
        assert rows() == 30
        assert {record.key for record in await all_records(store)} == {
            SWEPT_KEY, *(b"%d" % number for number in range(0, 3000, 100))
        }  # fmt: skip

    in_store(Place(f"sqlite:{file}", ""), do)


def test_who_gives_up_on_the_disk_gets_a_store_error(tmp_path: Path) -> None:
    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v"))
        waiting = asyncio.ensure_future(store.transact([b"k"], look))
        await asyncio.sleep(0)
        store.abandon()
        with pytest.raises(StoreError, match="slow"):
            await waiting
        assert await store.transact([b"k"], look) == [b"v"]

    in_store(Place(f"sqlite:{tmp_path / 'greyd.db'}", ""), do)


def test_who_only_reads_a_file_waits_for_no_writer_and_keeps_none_waiting(tmp_path: Path) -> None:
    place = Place(f"sqlite:{tmp_path / 'greyd.db'}", "")

    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v"))
        writer = sqlite3.connect(tmp_path / "greyd.db", timeout=0, isolation_level=None)
        with contextlib.closing(writer):
            writer.execute("BEGIN IMMEDIATE")
            assert await all_records(store) == [await store.get(b"k")]
            with pytest.raises(StoreError):
                await store.transact([b"k"], put(b"k", b"other"))
            writer.execute("COMMIT")

    in_store(place, do)
