"""Counts how often each whitelist entry let mail pass: in memory, and from there in the store.

An entry is identified by its list and its text, so its count survives a move to another line, and
servers with the same list count together::

    entry = "{hits}!" list "!" hash     ; hits "," last-hit
    since = "{hits}!since"              ; when counting began

Requests never wait: a hit only increments a number in a dict. These numbers are added to the store
each minute and at shutdown; what the store does not accept is kept for the next time.
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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.rules.transaction import Remembered, Rule
    from greyd.store.circuit_breaker import CircuitBreaker


CLIENTS, RECIPIENTS = "clients", "recipients"

MAX_ENTRIES = 10_000
"""Entries of a list with pending hits; the hits of further entries are not counted."""

STORE_INTERVAL_SECONDS = 60
"""The average time between two updates; it varies, so that servers do not update all at once."""

KEPT_SECONDS = 365 * 86400
"""How long a count is kept after the last hit."""

SINCE_KEY = HITS_PREFIX + b"since"

_RENEW_SECONDS = 86400
"""How often the start of counting is written again, so that the store keeps it."""
_BATCH_SIZE = 50


@dataclass(frozen=True, slots=True)
class HitCount:
    """The stored hits of an entry."""

    count: int = 0
    last_hit: int = 0
    """The time of the last hit, to about a minute; 0 for never."""

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d" % (self.count, self.last_hit)

    @classmethod
    def load(cls, text: bytes | None) -> HitCount:
        """Read a record; an invalid one counts no hits."""
        count, comma, last = (text or b"").partition(b",")
        if not (comma and count.isdigit() and last.isdigit() and len(count + last) < 40):
            return cls()
        return cls(int(count), int(last))


def hit_key(which: str, text: bytes) -> bytes:
    """Return the key of an entry's hits; ``which`` is ``clients`` or ``recipients``."""
    normal = text if is_pattern(text) else text.lower()
    digest = hashlib.sha256(normal).hexdigest()[:32]
    return HITS_PREFIX + b"%b!%b" % (which.encode(), digest.encode())


def load_counting_since(text: bytes | None, now: int) -> int:
    """Return when counting began, as far as counts are kept; 0 if it never did."""
    if text is None or not text.isdigit() or len(text) > 15:
        return 0
    return max(int(text), now - KEPT_SECONDS)


class PendingHits:
    """The hits of one list that are not stored yet."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}

    def add(self, text: bytes, count: int = 1) -> None:
        """Add hits of an entry."""
        counts = self.counts
        if text in counts:
            counts[text] += count
        elif len(counts) < MAX_ENTRIES:
            counts[text] = count


class HitCounter:
    """Counts the hits of both lists, and stores them."""

    def __init__(self) -> None:
        self.clients = PendingHits()
        self.recipients = PendingHits()
        self._renewed_at = 0.0

    async def run(self, store: CircuitBreaker) -> None:
        """Store the pending hits, now and each minute, until cancelled."""
        while True:
            await self.store(store)
            factor = random.uniform(0.7, 1.3)  # noqa: S311 - no secret
            await asyncio.sleep(STORE_INTERVAL_SECONDS * factor)

    async def store(self, store: CircuitBreaker, rest_seconds: float = 0.01) -> None:
        """Store the pending hits in batches; those of a batch that fails stay pending."""
        renew = time.monotonic() - self._renewed_at > _RENEW_SECONDS or not self._renewed_at
        if store.is_open or not (renew or self.clients.counts or self.recipients.counts):
            return
        pending = {CLIENTS: self.clients, RECIPIENTS: self.recipients}
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
                # Counted first: a batch in flight is stored even if this task is cancelled.
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
    """Return the rule that adds hits to those that are stored."""

    def rule(remembered: Remembered) -> tuple[None, Sequence[Change]]:
        since, *records = remembered
        counting_since = load_counting_since(since, now) or now
        changes = [Change(SINCE_KEY, b"%d" % counting_since, KEPT_SECONDS)]
        for (key, count), record in zip(counts.items(), records, strict=True):
            total = HitCount(HitCount.load(record).count + count, now)
            changes.append(Change(key, total.dump(), KEPT_SECONDS))
        return None, changes

    return rule
