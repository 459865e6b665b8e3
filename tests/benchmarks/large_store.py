"""Fills a SQLite store with the entries of a large site."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from greyd.cli.store_access import open_store_for_command
from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY
from greyd.rules.address import parse_address
from greyd.rules.keys import request_keys
from greyd.rules.records import Client, Triplet
from greyd.rules.transaction import Change

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = 2000
"""The number of triplets in one transaction."""


def fill_store(file: Path, entries: int, now: int | None = None) -> None:
    """Create a store with about ``entries`` entries, the newest last, as a server writes them.

    Of ten triplets one has passed, and one client in ten triplets is counted; the newest triplets
    wait, and all others never returned.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    asyncio.run(_fill(f"sqlite:{file}", entries, int(time.time()) if now is None else now))


async def _fill(url: str, entries: int, now: int) -> None:
    settings = Settings()
    async with open_store_for_command(url, settings, create=True) as store:
        await store.count()
        batch: list[Change] = []
        for change in _changes(entries, now, settings):
            batch.append(change)
            if len(batch) >= BATCH:
                await _store_all(store, batch)
                batch = []
        await _store_all(store, batch)


async def _store_all(store: object, batch: list[Change]) -> None:
    changes = list(batch)
    await store.transact([each.key for each in changes], lambda _: (None, changes))  # type: ignore[attr-defined]


def _changes(entries: int, now: int, settings: Settings) -> Iterator[Change]:
    lifetime = settings.max_age_seconds
    triplets = entries * 10 // 11
    for number in range(triplets):
        age = round((1 - (number + 1) / triplets) * 30 * DAY)
        seen = now - age
        address = parse_address(
            b"%d.%d.%d.7" % (11 + number % 180, number // 250 % 250, number % 250)
        )
        assert address is not None
        sender = b"sender%d@domain%d.example" % (number, number % 9973)
        keys = request_keys(address, sender, b"user%d@example.org" % (number % 500), settings)
        if number % 10 == 0:
            yield Change(keys.triplet, Triplet(seen, seen + 400, seen + 400).dump(), lifetime)
            yield Change(keys.client, Client(6, seen + 400).dump(), lifetime)
        else:
            yield Change(keys.triplet, Triplet(seen, seen).dump(), lifetime)
