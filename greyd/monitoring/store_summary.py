"""Counts the store's entries by state: waiting, passed, never returned, auto-whitelisted.

The scan reads a few entries at a time and pauses between them, so that requests do not wait for it.
Of a large store it counts only the newest entries (SQLite) or a sample (Redis), and the summary
says so.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret
from greyd.rules.keys import TripletNames, is_of_identity
from greyd.rules.records import Client, Identity
from greyd.store.contract import scan

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record
    from greyd.store.contract import Store

MAX_ENTRIES = 100_000
MAX_WAITING = 100
"""Maximum number of waiting triplets to list."""
MAX_NETWORKS = 10_000
"""Maximum number of networks to count triplets without a retry for."""

SHARE = 0.2
"""Share of the time that a scan may use; the rest is for requests."""

RECORDS_A_SLICE = 50
"""Number of entries to read without a pause, which takes less than a millisecond."""

EARLY_BORDERS = (60, 300, 900, 3600)
LATE_BORDERS = (3600, 6 * 3600, 24 * 3600)
"""Class borders in seconds: until a retry passes, and since then. One more class has the rest."""


@dataclass(frozen=True, slots=True, order=True)
class WaitingTriplet:
    """A triplet that has not passed; instances are ordered by the end of the delay."""

    passes_at: int
    first_seen: int
    last_seen: int
    names: TripletNames


@dataclass
class StoreSummary:
    """The counts from a scan of the store."""

    looked_at: int = 0
    complete: bool = False
    passed: int = 0
    """Number of triplets that have passed."""
    early: list[int] = field(default_factory=lambda: [0] * (len(EARLY_BORDERS) + 1))
    """Numbers of triplets in their delay, by the remaining time (``EARLY_BORDERS``)."""
    late: list[int] = field(default_factory=lambda: [0] * (len(LATE_BORDERS) + 1))
    """Numbers of triplets without a retry, by the time since their delay (``LATE_BORDERS``)."""
    unreadable: int = 0
    """Number of entries that the rules cannot read."""
    clients: int = 0
    auto_whitelisted: int = 0
    waiting: list[WaitingTriplet] = field(default_factory=list)
    """A heap of the newest waiting triplets; empty with ``--privacy``, which stores no names."""
    given_up: Counter[bytes] = field(default_factory=Counter)
    """Number of triplets without a retry, by client network."""

    def add(self, record: Record, now: int, settings: Settings) -> None:
        """Count an entry."""
        self.looked_at += 1
        # The same mail also has a triplet of the client's network, which is counted instead.
        if is_of_identity(record.key):
            return
        entry = interpret(record, now, settings, expired=True, unreadable=True)
        if entry is None or entry.state is EntryState.UNREADABLE:
            self.unreadable += entry is not None
            return
        if entry.kind is EntryKind.TRIPLET:
            self._add_triplet(entry, now)
        elif isinstance(entry.record, Client | Identity):
            successes = entry.record.successes
            self.clients += 1
            self.auto_whitelisted += 0 < settings.auto_whitelist_clients <= successes

    def _add_triplet(self, entry: StoredEntry, now: int) -> None:
        if entry.state is EntryState.PASSED:
            self.passed += 1
            return
        if entry.passes_at > now:
            self.early[bisect_left(EARLY_BORDERS, entry.passes_at - now)] += 1
        else:
            self.late[bisect_left(LATE_BORDERS, now - entry.passes_at)] += 1
        if not entry.is_hidden:
            self._name(entry)

    def _name(self, entry: StoredEntry) -> None:
        if entry.state is EntryState.NEVER_RETURNED:
            network = entry.names.network
            if network in self.given_up or len(self.given_up) < MAX_NETWORKS:
                self.given_up[network] += 1
            return
        waiting = WaitingTriplet(entry.passes_at, entry.first_seen, entry.last_seen, entry.names)
        if len(self.waiting) < MAX_WAITING:
            heapq.heappush(self.waiting, waiting)
        else:
            heapq.heappushpop(self.waiting, waiting)


async def summarize_store(store: Store, settings: Settings) -> StoreSummary:
    """Scan a store and count its entries.

    Raises:
        StoreError: the store does not answer.
    """
    summary = StoreSummary()
    async for group in scan(store, SHARE):
        now = int(time.time())
        for first in range(0, len(group), RECORDS_A_SLICE):
            for record in group[first : first + RECORDS_A_SLICE]:
                summary.add(record, now, settings)
            # Let requests run.
            await asyncio.sleep(0)
        if summary.looked_at >= MAX_ENTRIES:
            return summary
    summary.complete = True
    return summary
