"""Counts the hits of each whitelist entry in memory, and adds them to the counts in the store.

A hit is a request that an entry exempts. The store's key depends only on the list and the text of
the entry. So the count survives when the entry moves to another line, and servers that share a
store add up their hits::

    entry = "{hits}!" list "!" hash     ; hits "," last-hit
    since = "{hits}!since"              ; when counting began

A request never waits for the store: a hit only increments a number in a dict. greyd adds these
numbers to the store each minute and at shutdown. Hits that cannot be stored stay pending.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.rules.reserved_keys import HITS_PREFIX
from greyd.rules.transaction import Change
from greyd.store.errors import StoreError
from greyd.whitelist.entries import is_pattern
from greyd.whitelist.list_names import WHITELISTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.rules.transaction import Remembered, Rule
    from greyd.store.circuit_breaker import CircuitBreaker


MAX_ENTRIES = 10_000
"""Maximum number of entries of a list with pending hits; further entries are not counted."""

STORE_INTERVAL_SECONDS = 60
"""Average time between two updates; it varies, so that servers do not update simultaneously."""

KEPT_SECONDS = 365 * 86400
"""Time that the store keeps a count after the last hit."""

SINCE_KEY = HITS_PREFIX + b"since"

_RENEW_SECONDS = 86400
"""Interval at which the start of counting is stored again, so that the record does not expire."""
_BATCH_SIZE = 50


@dataclass(frozen=True, slots=True)
class HitCount:
    """The stored number of hits of an entry."""

    count: int = 0
    last_hit: int = 0
    """When the last hit was stored, in seconds since 1970; 0 for never."""

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d" % (self.count, self.last_hit)

    @classmethod
    def load(cls, text: bytes | None) -> HitCount:
        """Parse a record; a missing or invalid record has no hits."""
        count, comma, last = (text or b"").partition(b",")
        if not (comma and count.isdigit() and last.isdigit() and len(count + last) < 40):
            return cls()
        return cls(int(count), int(last))


def hit_key(which: str, text: bytes) -> bytes:
    """Return the key of the hit count of an entry.

    Args:
        which: the list, ``clients``, ``recipients`` or ``senders``.
        text: the text of the entry; case matters only in patterns.
    """
    normal = text if is_pattern(text) else text.lower()
    digest = hashlib.sha256(normal).hexdigest()[:32]
    return HITS_PREFIX + b"%b!%b" % (which.encode(), digest.encode())


def load_counting_since(text: bytes | None, now: int) -> int:
    """Return when counting began, but at most ``KEPT_SECONDS`` ago; 0 if it never began."""
    if text is None or not text.isdigit() or len(text) > 15:
        return 0
    return max(int(text), now - KEPT_SECONDS)


class PendingHits:
    """The hits of one list that have not been stored yet."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}

    def add(self, text: bytes, count: int = 1) -> None:
        """Count hits of an entry; no effect for a new entry beyond ``MAX_ENTRIES``."""
        counts = self.counts
        if text in counts:
            counts[text] += count
        elif len(counts) < MAX_ENTRIES:
            counts[text] = count


class HitCounter:
    """Counts the hits of all lists in memory, and adds them to the store."""

    def __init__(self) -> None:
        self.of_list = {which: PendingHits() for which in WHITELISTS}
        """The pending hits of each list, by its name."""
        self._renewed_at = 0.0

    async def run(self, store: CircuitBreaker) -> None:
        """Store the pending hits now and about every minute, until cancelled."""
        while True:
            await self.store(store)
            factor = random.uniform(0.7, 1.3)  # noqa: S311 - no secret
            await asyncio.sleep(STORE_INTERVAL_SECONDS * factor)

    async def store(self, store: CircuitBreaker, rest_seconds: float = 0.01) -> None:
        """Store the pending hits in batches, with a pause of ``rest_seconds`` after each.

        If a batch fails, its hits and those of later batches stay pending.
        """
        renew = time.monotonic() - self._renewed_at > _RENEW_SECONDS or not self._renewed_at
        pending = self.of_list
        if store.is_open or not (renew or any(hits.counts for hits in pending.values())):
            return
        taken = [
            (which, text, count)
            for which, hits in pending.items()
            for text, count in hits.counts.items()
        ]
        for hits in pending.values():
            hits.counts = {}
        stored_count = 0
        try:
            while stored_count < len(taken) or (renew and not stored_count):
                batch = taken[stored_count : stored_count + _BATCH_SIZE]
                # Count the batch as stored before it is sent: the store completes a batch in
                # flight even if this task is cancelled.
                stored_count += _BATCH_SIZE
                await _add(store, batch)
                await asyncio.sleep(rest_seconds)
            self._renewed_at = time.monotonic()
        except StoreError:
            # The circuit breaker logs failures and recovery.
            stored_count -= _BATCH_SIZE
        finally:
            for which, text, count in taken[stored_count:]:
                pending[which].add(text, count)


async def _add(store: CircuitBreaker, batch: Sequence[tuple[str, bytes, int]]) -> None:
    counts: Counter[bytes] = Counter()
    for which, text, count in batch:
        counts[hit_key(which, text)] += count
    await store.transact([SINCE_KEY, *counts], _adding_rule(counts, int(time.time())))


def _adding_rule(counts: Counter[bytes], now: int) -> Rule[None]:
    """Return the rule that adds hits to the stored counts."""

    def rule(remembered: Remembered) -> tuple[None, Sequence[Change]]:
        since, *records = remembered
        counting_since = load_counting_since(since, now) or now
        changes = [Change(SINCE_KEY, b"%d" % counting_since, KEPT_SECONDS)]
        for (key, count), record in zip(counts.items(), records, strict=True):
            total = HitCount(HitCount.load(record).count + count, now)
            changes.append(Change(key, total.dump(), KEPT_SECONDS))
        return None, changes

    return rule
