"""Repeatedly fetches the servers' statistics and scans the store, for ``greyd top``."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.cli.stats.entry_counts import NamedEntryCounts
from greyd.cli.stats.overview import Overview, StoreStatus
from greyd.cli.top.waiting_mail import MailList
from greyd.monitoring.combined_stats import counts_between
from greyd.monitoring.stats_client import FetchedStats, MetricsAddress, fetch_all_stats
from greyd.monitoring.store.summary import SHARE
from greyd.store.contract import scan
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.store.opening import is_sqlite_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from greyd.cli.context import CommandContext
    from greyd.monitoring.stats import Counts
    from greyd.store.contract import Store

MAX_NEWEST = 2000
"""How many of the newest entries are read at each refresh during a long scan of the store."""

MAX_REREAD = 100
"""How many of the mails on the screen are read again at each refresh."""


@dataclass
class LiveData:
    """The servers, the store and the waiting mail, as they are now."""

    context: CommandContext
    addresses: Sequence[MetricsAddress]
    pause: int
    """Seconds between two refreshes."""
    on_scanned: Callable[[], object] = lambda: None
    """Called after each group of entries."""
    scanned_once: asyncio.Event = field(default_factory=asyncio.Event)
    _before: dict[str, FetchedStats] = field(default_factory=dict)
    _scan_seconds: float = math.inf

    def __post_init__(self) -> None:
        self.view = Overview(StoreStatus(self.context.store_url), self.context.settings)
        self.waiting = MailList(self.context.settings)

    @property
    def waiting_count(self) -> int | None:
        """The number of waiting mails in the store; None before the first scan has counted all."""
        from greyd.rules.entries import EntryKind, EntryState

        tally = self.view.store.tally
        if tally is None or not tally.complete:
            return None
        return max(tally.number(EntryKind.TRIPLET, EntryState.WAITING), len(self.waiting))

    # The servers --------------------------------------------------------------------------------

    async def fetch_servers(self) -> None:
        """Fetch the statistics of all servers; a server that does not answer is a result too."""
        heard = await fetch_all_stats(self.addresses)
        now: dict[str, Counts] = {}
        for each in heard:
            before = self._before.get(each.address.url)
            if each.stats and before and before.stats:
                counts = counts_between(before.stats, each.stats)
                now |= {each.address.url: counts} if counts else {}
            self._before[each.address.url] = each
        self.view.heard, self.view.now = heard, now

    # The store ----------------------------------------------------------------------------------

    async def scan_store(self) -> None:
        """Scan the store repeatedly until cancelled; a failure becomes the store's fault.

        Raises:
            UnusableStoreError: the file or database is not a store of greyd's.
        """
        while True:
            started = time.monotonic()
            try:
                await self._scan_once()
                self._scan_seconds = time.monotonic() - started
            except UnusableStoreError:
                raise
            except StoreError as error:
                self.view.store.fault = str(error)
            self.scanned_once.set()
            self.on_scanned()
            await asyncio.sleep(max(self.pause - (time.monotonic() - started), 0.1))

    async def _scan_once(self) -> None:
        view = self.view.store
        async with self.context.open_store() as store:
            await view.measure(store)
            view.fault = ""
            tally = NamedEntryCounts()
            if view.tally is None or not view.tally.complete:
                view.tally = tally
            self.waiting.begin_scan()
            async for records in scan(store, SHARE):
                now = int(time.time())
                for record in records:
                    entry = tally.add_named(record, now, self.context.settings)
                    self.waiting.add_entry(record.key, entry)
                self.on_scanned()
        tally.complete = True
        view.tally = tally
        self.waiting.end_scan()

    async def read_newest(self, keys: Iterable[bytes]) -> None:
        """Read the newest entries, and those under ``keys``, unless each scan shows them anyway.

        Only SQLite knows which entries are the newest. A failure becomes the store's fault.
        """
        if self._scan_seconds <= self.pause:
            return
        try:
            async with self.context.open_store() as store:
                if is_sqlite_url(self.context.store_url):
                    await self._read_beginning(store)
                for key in [*keys][:MAX_REREAD]:
                    await self.reread(store, key)
        except UnusableStoreError:
            raise
        except StoreError as error:
            self.view.store.fault = str(error)

    async def _read_beginning(self, store: Store) -> None:
        read_count = 0
        async for records in scan(store):
            self.waiting.add(records, int(time.time()))
            read_count += len(records)
            if read_count >= MAX_NEWEST:
                return

    async def reread(self, store: Store, key: bytes) -> None:
        """Read one entry again, e.g. after it was changed."""
        record = await store.get(key)
        if record is None:
            self.waiting.remove(key)
        else:
            self.waiting.add([record], int(time.time()))
