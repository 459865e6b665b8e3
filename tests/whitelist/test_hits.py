"""How often each entry of the whitelists lets mail pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.monitoring.store.summary import StoreSummary
from greyd.rules.entries import EntryKind, interpret, kind_of
from greyd.rules.transaction import Record
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.errors import StoreError
from greyd.store.opening import open_store
from greyd.whitelist.entries import WhitelistFile
from greyd.whitelist.hits import (
    KEPT_SECONDS,
    MAX_ENTRIES,
    SINCE_KEY,
    HitCount,
    HitCounter,
    PendingHits,
    hit_key,
    load_counting_since,
)
from greyd.whitelist.list_names import CLIENTS, RECIPIENTS
from greyd.whitelist.matcher import ClientWhitelist, RecipientWhitelist, Whitelists
from tests.policy.test_policy import asking
from tests.stores import FakeStore

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.store.contract import Store

WHITELISTS = Whitelists(
    ClientWhitelist([WhitelistFile("c", b"Example.com\n192.0.2.0/24\n/^MX\\D/\n")]),
    RecipientWhitelist([WhitelistFile("r", b"eve@\n")]),
)


def guard_of(store: Store) -> CircuitBreaker:
    return CircuitBreaker(store, 5, lambda _: None)


async def number(store: Store, which: str, text: bytes) -> int:
    record = await store.get(hit_key(which, text))
    return HitCount.load(record and record.value).count


def test_each_entry_s_hits_are_counted_and_stored() -> None:
    async def run() -> None:
        store = FakeStore()
        async with asking(store, Settings(), WHITELISTS) as server:
            for name in (b"a.example.com", b"EXAMPLE.com", b"mx-1.x", b"other.example"):
                await server.ask(client_name=name, client_address=b"198.51.100.1")
            await server.ask(client_name=b"unknown", client_address=b"192.0.2.9")
            await server.ask(client_name=b"unknown", client_address=b"198.51.100.1",
                             recipient=b"eve@example.net")  # fmt: skip
            assert await number(store, CLIENTS, b"Example.com") == 0
            await server.hits.store(server.guard)
        assert await number(store, CLIENTS, b"Example.com") == 2
        assert await number(store, CLIENTS, b"192.0.2.0/24") == 1
        assert await number(store, CLIENTS, rb"/^MX\D/") == 1
        assert await number(store, RECIPIENTS, b"eve@") == 1

    asyncio.run(run())


@pytest.mark.parametrize("url", ["memory://", "sqlite:"])
def test_servers_with_the_same_list_count_together_and_nothing_is_counted_twice(
    tmp_path: Path, url: str
) -> None:
    async def run() -> None:
        settings = Settings(store="" if url == "sqlite:" else url)
        store = open_store(settings, tmp_path)
        guard = guard_of(store)
        both = HitCounter(), HitCounter()
        for _ in range(3):
            for hits in both:
                for place in range(120):
                    hits.of_list[CLIENTS].add(b"x%d.example" % place)
            await asyncio.gather(*(hits.store(guard) for hits in both))
        for place in (0, 60, 119):
            assert await number(store, CLIENTS, b"x%d.example" % place) == 6
        await guard.close()

    asyncio.run(run())


def test_what_a_failing_store_does_not_take_is_stored_when_it_is_back() -> None:
    async def run() -> None:
        store, hits = FakeStore(), HitCounter()
        hits.of_list[CLIENTS].add(b"example.com", 3)
        store.fault = StoreError("away")
        guard = guard_of(store)
        await hits.store(guard)
        assert guard.is_open
        asked = store.asked
        hits.of_list[CLIENTS].add(b"example.com")
        await hits.store(guard)
        assert store.asked == asked, "a store that is away was asked"
        await guard.close()
        store.fault = None
        await hits.store(guard_of(store))
        assert await number(store, CLIENTS, b"example.com") == 4
        await hits.store(guard_of(store))
        assert await number(store, CLIENTS, b"example.com") == 4

    asyncio.run(run())


def test_what_one_time_of_storing_began_and_another_stopped_counts_once() -> None:
    async def run() -> None:
        store, hits = FakeStore(silent=True), HitCounter()
        hits.of_list[CLIENTS].add(b"example.com")
        guard = guard_of(store)
        storing = asyncio.ensure_future(hits.store(guard))
        while not store.asked:  # noqa: ASYNC110 - a store in the same loop
            await asyncio.sleep(0)
        storing.cancel()
        await asyncio.gather(storing, return_exceptions=True)
        store.speak()
        await hits.store(guard)
        assert await number(store, CLIENTS, b"example.com") == 1

    asyncio.run(run())


def test_what_is_counted_between_two_times_of_storing_is_bounded() -> None:
    tally = PendingHits()
    for place in range(MAX_ENTRIES + 50):
        tally.add(b"x%d.example" % place)
    tally.add(b"x0.example")
    assert len(tally.counts) == MAX_ENTRIES
    assert tally.counts[b"x0.example"] == 2


def test_the_counting_begins_once_also_without_a_hit() -> None:
    async def run() -> None:
        store = FakeStore()
        await HitCounter().store(guard_of(store))
        began = store.records_[SINCE_KEY]
        assert int(began) > 1_700_000_000
        store.records_[SINCE_KEY] = b"%d" % (int(began) - 1000)
        await HitCounter().store(guard_of(store))
        assert store.records_ == {SINCE_KEY: b"%d" % (int(began) - 1000)}

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "since"),
    [(None, 0), (b"", 0), (b"x", 0), (b"1700000000", 1_700_000_000), (b"9" * 30, 0)],
)
def test_since_when_hits_are_known_is_read(text: bytes | None, since: int) -> None:
    assert load_counting_since(text, 1_700_000_100) == since


def test_since_is_no_longer_ago_than_counts_are_kept() -> None:
    assert load_counting_since(b"1", 1_700_000_000) == 1_700_000_000 - KEPT_SECONDS


@pytest.mark.parametrize("text", [None, b"", b"3", b"x,1", b"1,x", b"-1,2", b"9" * 50 + b",1"])
def test_a_record_that_can_t_be_read_is_no_hit(text: bytes | None) -> None:
    assert HitCount.load(text) == HitCount()


def test_a_hit_is_read_as_it_was_written() -> None:
    assert HitCount.load(HitCount(7, 1_700_000_000).dump()) == HitCount(7, 1_700_000_000)


def test_an_entry_is_known_by_its_list_and_text_a_name_in_any_case() -> None:
    assert hit_key(CLIENTS, b"Example.COM") == hit_key(CLIENTS, b"example.com")
    assert hit_key(CLIENTS, rb"/\D/") != hit_key(CLIENTS, rb"/\d/")
    assert hit_key(CLIENTS, b"example.com") != hit_key(RECIPIENTS, b"example.com")


@pytest.mark.parametrize("key", [SINCE_KEY, hit_key(CLIENTS, b"a"), hit_key(RECIPIENTS, b"/x/")])
def test_no_other_part_takes_a_hit_for_a_client_or_a_triplet(key: bytes) -> None:
    settings, summary = Settings(), StoreSummary()
    record = Record(key, HitCount(12, 1_700_000_000).dump(), 60)
    assert kind_of(key) is EntryKind.OTHER
    assert interpret(record, 1_700_000_000, settings) is None
    assert summary.add(record, 1_700_000_000, settings) is None
    assert not summary.states
