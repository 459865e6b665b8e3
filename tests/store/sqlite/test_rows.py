"""SQLite's file: rows that a hand has written, and a file that has grown to its bound."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.errors import SettingsError
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_arguments
from greyd.rules.transaction import Change
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.errors import StoreFullError
from greyd.store.opening import open_store
from greyd.store.sqlite.rows import hash_key
from tests.stores import look, put

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from greyd.store.contract import Store

YEAR = 365 * 86400


def in_store(
    file: Path, do: Callable[[Store], Coroutine[Any, Any, None]], max_bytes: int = 2**30
) -> None:
    async def run() -> None:
        settings = Settings(store=f"sqlite:{file}", max_store_bytes=max_bytes)
        store = open_store(settings, file.parent)
        try:
            await do(store)
        finally:
            await store.close()

    asyncio.run(run())


def write_by_hand(file: Path, key: object, value: object, expires_at: object) -> None:
    """Write a row as somebody does with the ``sqlite3`` shell."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM record")
        connection.execute(
            "INSERT INTO record (hash, expires_at, key, value) VALUES (?, ?, ?, ?)",
            (hash_key(b"k"), expires_at, key, value),
        )


@pytest.mark.parametrize("key", [b"k", "k"])
@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"1700000000", b"1700000000"),
        ("1700000000", b"1700000000"),
        ("1700000000,1700000300", b"1700000000,1700000300"),
        (1700000000, b"1700000000"),
        (-1, b"-1"),
        (1.5, b"1.5"),
        (2**63 - 1, b"9223372036854775807"),
        ("", b""),
        ("ü", "ü".encode()),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_a_value_of_any_type_is_read_as_it_says_and_is_replaced(
    tmp_path: Path, key: object, value: object, read: bytes
) -> None:
    file = tmp_path / "greyd.db"

    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v"))
        write_by_hand(file, key, value, int(time.time()) + 60)
        record = await store.get(b"k")
        assert record is not None
        assert (record.key, record.value) == (b"k", read)
        # A second may pass between the two.
        found = [(each.key, each.value) async for group in store.records() for each in group]
        assert found == [(b"k", read)]
        assert await store.transact([b"k"], put(b"k", b"new")) == [read]
        assert await store.transact([b"k"], look) == [b"new"]
        assert await store.count() == 1
        assert await store.delete([b"k"]) == 1
        assert await store.count() == 0

    in_store(file, do)


@pytest.mark.parametrize(
    ("expires_at", "there"),
    [
        (lambda now: now + 60, True),
        (lambda now: str(now + 60), True),
        (lambda now: float(now + 60), True),
        (lambda now: f"{now + 60}".encode(), True),
        (lambda _: 2**63 - 1, True),
        (lambda _: 1e300, True),
        (lambda now: now - 60, False),
        (lambda now: str(now - 60), False),
        (lambda _: -(2**63), False),
        (lambda _: "soon", False),
        (lambda _: b"", False),
    ],
)
def test_a_time_of_any_type_counts_as_it_says_and_the_row_can_be_replaced_and_swept(
    tmp_path: Path, expires_at: Callable[[int], object], there: bool
) -> None:
    file = tmp_path / "greyd.db"

    async def do(store: Store) -> None:
        await store.transact([b"k"], put(b"k", b"v"))
        write_by_hand(file, b"k", b"old", expires_at(int(time.time())))
        assert (await store.get(b"k") is not None) is there
        assert await store.transact([b"k"], look) == [b"old" if there else None]
        await store.maintain()
        with contextlib.closing(sqlite3.connect(file)) as connection:
            left = connection.execute("SELECT count(*) FROM record WHERE value = ?", (b"old",))
            assert left.fetchone() == (int(there),)
        await store.transact([b"k"], put(b"k", b"new"))
        assert await store.transact([b"k"], look) == [b"new"]

    in_store(file, do)


# The bound ----------------------------------------------------------------------------------------


def triplet(number: int) -> bytes:
    return b"{192.0.2.0}/%d/%b" % (number, b"r" * 500)


async def fill(store: Store) -> list[bytes]:
    """Store triplets until the store takes no more; returns those that it took."""
    taken: list[bytes] = []
    while True:
        some = [triplet(len(taken) + number) for number in range(500)]
        try:
            await asyncio.gather(*(store.transact([key], put(key, b"1")) for key in some))
        except StoreFullError:
            return taken
        taken += some
        await store.maintain()


def test_a_full_file_takes_no_new_triplet_and_goes_on_with_those_it_has(tmp_path: Path) -> None:
    async def do(store: Store) -> None:
        taken = await fill(store)
        assert store.bytes_in_use >= 2**20
        new, known, client = triplet(10**6), taken[0], b"{192.0.2.0}:192.0.2.7"
        with pytest.raises(StoreFullError):
            await store.transact([new, client], put(new, b"1"))
        assert await store.transact([known], put(known, b"2")) == [b"1"]

        changes = [Change(known, b"3", YEAR), Change(client, b"1,1", YEAR)]
        await store.transact([known, client], lambda _: (None, changes))
        assert await store.transact([known, client], look) == [b"3", b"1,1"]
        # What is not a triplet is not what strangers can make grow.
        await store.transact([b"control"], put(b"control", b"x"))

        # A batch is judged one by one.
        results = await asyncio.gather(
            store.transact([new], put(new, b"1")),
            store.transact([known], put(known, b"4")),
            return_exceptions=True,
        )
        assert isinstance(results[0], StoreFullError)
        assert results[1] == [b"3"]

        await store.delete(taken[:3000])
        await store.maintain()
        assert await store.transact([new], put(new, b"1")) == [None]

    in_store(tmp_path / "greyd.db", do, max_bytes=2**20)


def test_a_full_file_opens_no_circuit(tmp_path: Path) -> None:
    async def do(store: Store) -> None:
        await fill(store)
        guard = CircuitBreaker(store, 5, lambda reason: pytest.fail(f"circuit opened: {reason}"))
        with pytest.raises(StoreFullError):
            await guard.transact([triplet(10**6)], put(triplet(10**6), b"1"))
        await guard.check()
        assert not guard.is_open

    in_store(tmp_path / "greyd.db", do, max_bytes=2**20)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * 2**30), ("4g", 4 * 2**30), ("4GiB", 4 * 2**30), ("4 GB", 4 * 2**30),
        ("500M", 500 * 2**20), ("2048K", 2**21), ("1T", 2**40), ("1048576", 2**20),
        ("128T", 2**47),
    ],
)  # fmt: skip
def test_a_size_is_read_with_its_unit(text: str, size: int) -> None:
    given, _ = from_arguments([f"--max-store-size={text}"])
    assert merge_settings(given).max_store_bytes == size


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "4", "1023K", "129T", "9" * 400, "4X", "G", "1.5G"]
)
def test_what_is_no_size_or_too_small_is_refused(text: str) -> None:
    given, _ = from_arguments([f"--max-store-size={text}"])
    with pytest.raises(SettingsError, match="a size from 1M to 128T"):
        merge_settings(given)
