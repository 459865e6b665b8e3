"""Scans the store for the status page, ``/stats.json`` and the metrics.

The counts are those of ``greyd.monitoring.store.entry_counts``, as ``greyd stats`` shows them.
The scan reads a few entries at a time and pauses between them, so that requests do not wait for it.
In a large store it counts only the newest entries (SQLite) or a sample (Redis), and the summary
states this.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.monitoring.store.entry_counts import EntryCounts
from greyd.rules.entries import EntryKind, EntryState
from greyd.store.contract import scan

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry
    from greyd.rules.keys import TripletNames
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
DUE_BORDERS = (3600,)
GONE_BORDERS = (24 * 3600,)
"""Class borders in seconds: until a retry passes; since a retry passes; since the delay of a
triplet that never returned. One more class contains the rest."""


@dataclass(frozen=True, slots=True, order=True)
class WaitingTriplet:
    """A triplet that has not passed; instances are ordered by the end of the delay."""

    passes_at: int
    first_seen: int
    last_seen: int
    names: TripletNames


@dataclass
class StoreSummary(EntryCounts):
    """The counts from a scan of the store, and the triplets and networks to name."""

    early: list[int] = field(default_factory=lambda: [0] * (len(EARLY_BORDERS) + 1))
    """Numbers of waiting triplets in their delay, by the remaining time (``EARLY_BORDERS``)."""
    due: list[int] = field(default_factory=lambda: [0] * (len(DUE_BORDERS) + 1))
    """Numbers of waiting triplets after their delay, by the time since then (``DUE_BORDERS``)."""
    gone: list[int] = field(default_factory=lambda: [0] * (len(GONE_BORDERS) + 1))
    """Numbers of triplets that never returned, by the time since their delay (``GONE_BORDERS``)."""
    named: list[WaitingTriplet] = field(default_factory=list)
    """A heap of the newest waiting triplets; empty with ``--privacy``, which stores no names."""
    given_up: Counter[bytes] = field(default_factory=Counter)
    """Number of triplets that never returned, by client network."""

    def add(self, record: Record, now: int, settings: Settings) -> StoredEntry | None:
        """Count a record; see ``EntryCounts.add``."""
        entry = super().add(record, now, settings)
        # The same mail may also have a triplet of an identity: name and classify it once.
        if entry is not None and entry.kind is EntryKind.TRIPLET:
            self._classify(entry, now)
        return entry

    def _classify(self, entry: StoredEntry, now: int) -> None:
        if entry.state is EntryState.PASSED:
            return
        if entry.state is EntryState.NEVER_RETURNED:
            self.gone[bisect_left(GONE_BORDERS, now - entry.passes_at)] += 1
        elif entry.passes_at > now:
            self.early[bisect_left(EARLY_BORDERS, entry.passes_at - now)] += 1
        else:
            self.due[bisect_left(DUE_BORDERS, now - entry.passes_at)] += 1
        if not entry.is_hidden:
            self._name(entry)

    def _name(self, entry: StoredEntry) -> None:
        if entry.state is EntryState.NEVER_RETURNED:
            network = entry.names.network
            if network in self.given_up or len(self.given_up) < MAX_NETWORKS:
                self.given_up[network] += 1
            return
        waiting = WaitingTriplet(entry.passes_at, entry.first_seen, entry.last_seen, entry.names)
        if len(self.named) < MAX_WAITING:
            heapq.heappush(self.named, waiting)
        else:
            heapq.heappushpop(self.named, waiting)


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
