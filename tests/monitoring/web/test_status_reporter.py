"""The statistics of a server whose store is being counted."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from greyd.config.settings import Settings
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.mode_in_force import ModeInForce
from greyd.monitoring.web import status
from greyd.monitoring.web.page.status_page import FIRST_REFRESH_SECONDS
from greyd.monitoring.web.status import StatusReporter
from greyd.policy.observers import Observers
from greyd.rules.keys import request_keys
from greyd.rules.transaction import Record
from greyd.runtime.time_slices import TimeSlices
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.contract import StoreSize
from greyd.store.errors import StoreError
from greyd.store.memory import MemoryTransport
from greyd.store.redis.store import RedisStore
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

PATIENCE_SECONDS = 3600
"""The patched time that an answer waits for a scan."""


class SlowStore(RedisStore):
    """A store of a size, with one waiting triplet, which a scan finds only when it may."""

    def __init__(self, size: StoreSize | StoreError) -> None:
        super().__init__(MemoryTransport(), b"greyd:")
        self._size = size
        self.scans = asyncio.Event()
        self.may_find = asyncio.Event()

    async def size(self) -> StoreSize:
        if isinstance(self._size, StoreError):
            raise self._size
        return self._size

    async def records(self, containing: Sequence[bytes] = ()) -> AsyncIterator[Sequence[Record]]:
        assert not containing
        self.scans.set()
        await self.may_find.wait()
        address, now = address_of("192.0.2.7"), int(time.time())
        keys = request_keys(address, b"a@example.com", b"b@example.org", Settings())
        yield [Record(keys.triplet, b"%d" % now, 60)]


@asynccontextmanager
async def reporting(store: SlowStore) -> AsyncIterator[StatusReporter]:
    breaker, mode = CircuitBreaker(store, 5, lambda _: None), ModeInForce.of("on", None)
    reporter = StatusReporter(
        Settings(), breaker, Observers(), Metrics(), "sqlite", lambda: mode, TimeSlices()
    )
    try:
        async with asyncio.timeout(60):
            yield reporter
    finally:
        reporter.stop()


async def shown_by(reporter: StatusReporter, page: str) -> str:
    """Return the waiting triplets that an answer shows; empty before they have been counted."""
    if page == "stats":
        triplets = json.loads(await reporter.stats())["triplets"]
        return str(triplets["waiting"]) if triplets else ""
    # The browser loads a page without these numbers again soon.
    first = b'content="%d"' % FIRST_REFRESH_SECONDS
    return "" if first in await reporter.page() else "1"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let answers wait for long, so that a test sees whether they wait at all."""
    for name in ("WAIT_SECONDS", "STATS_WAIT_SECONDS"):
        monkeypatch.setattr(status, name, PATIENCE_SECONDS)
    monkeypatch.setattr(status, "SCANNED_PER_SECOND", 1)


SHORT = [1, PATIENCE_SECONDS, None]
LONG = [PATIENCE_SECONDS + 1, 1_000_000_000]


@pytest.mark.parametrize("page", ["stats", "page"])
@pytest.mark.parametrize("entries", SHORT)
def test_the_first_answer_waits_for_a_scan_that_is_soon_over(
    entries: int | None, page: str
) -> None:
    async def first_answer() -> str:
        store = SlowStore(StoreSize(entries, None))
        async with reporting(store) as reporter:
            answer = asyncio.ensure_future(shown_by(reporter, page))
            await store.scans.wait()
            await asyncio.sleep(0.02)
            assert not answer.done()
            store.may_find.set()
            return await answer

    assert asyncio.run(first_answer()) == "1"


@pytest.mark.parametrize("page", ["stats", "page"])
@pytest.mark.parametrize("size", [*(StoreSize(each, None) for each in LONG), StoreError("away")])
def test_no_answer_waits_for_a_scan_that_takes_longer_than_it_would_wait(
    size: StoreSize | StoreError, page: str
) -> None:
    async def answers() -> list[str]:
        store = SlowStore(size)
        async with reporting(store) as reporter:
            during = [await shown_by(reporter, page), await shown_by(reporter, page)]
            store.may_find.set()
            while reporter.summary is None:  # noqa: ASYNC110 - until the scan has ended
                await asyncio.sleep(0)
            return [*during, await shown_by(reporter, page)]

    assert asyncio.run(answers()) == ["", "", "1"]


def test_a_store_that_was_counted_quickly_is_counted_quickly_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The size is an upper bound: a file may have many more row numbers than rows.
    monkeypatch.setattr(status, "FRESH_SECONDS", -1)

    async def second_answer() -> str:
        store = SlowStore(StoreSize(1_000_000_000, None))
        async with reporting(store) as reporter:
            await reporter.stats()
            store.may_find.set()
            while reporter.summary is None:  # noqa: ASYNC110 - until the scan has ended
                await asyncio.sleep(0)
            store.may_find.clear()
            store.scans.clear()
            answer = asyncio.ensure_future(shown_by(reporter, "stats"))
            await store.scans.wait()
            await asyncio.sleep(0.02)
            assert not answer.done()
            store.may_find.set()
            return await answer

    assert asyncio.run(second_answer()) == "1"
