"""How often each entry of the whitelists let mail pass: counted in memory, kept in the store.

An entry is known by the list that it is of and by its text, so that a line that moves keeps its
count, and the same list on several exchangers counts together::

    entry = "{hits}!" list "!" hash     ; number "," last-hit
    since = "{hits}!since"              ; when the counting began

Requests never wait for it: a hit is a number in a dict, and what has gathered there is added to
the store each minute and at the end. What the store does not take is tried again the next time.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

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
"""Of a list, that can be hit between two times of storing; hits of others are not counted."""

STORE_INTERVAL_SECONDS = 60
"""After which hits are stored, about: exchangers on one store should not all come at once."""

KEPT_SECONDS = 365 * 86400
"""After its last hit an entry's count is forgotten."""

SINCE_KEY = HITS_PREFIX + b"since"

_RENEW_SECONDS = 86400
_BATCH_SIZE = 50


class HitCount(NamedTuple):
    """What is stored of an entry's hits."""

    number: int = 0
    last_hit: int = 0
    """To the minute or so; 0 for never."""

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d" % self

    @classmethod
    def load(cls, text: bytes | None) -> HitCount:
        """Read a record; what can't be read is none."""
        number, comma, last = (text or b"").partition(b",")
        if not (comma and number.isdigit() and last.isdigit() and len(number + last) < 40):
            return cls()
        return cls(int(number), int(last))


def hit_key(which: str, text: bytes) -> bytes:
    """Return where the hits of an entry are stored; ``which`` is ``clients`` or ``recipients``."""
    same = text if is_pattern(text) else text.lower()
    return HITS_PREFIX + b"%b!%b" % (which.encode(), hashlib.sha256(same).hexdigest()[:32].encode())


def load_counting_since(text: bytes | None, now: int) -> int:
    """Return since when hits are known; 0 where none were counted yet."""
    if text is None or not text.isdigit() or len(text) > 15:
        return 0
    return max(int(text), now - KEPT_SECONDS)


class PendingHits:
    """Counts the hits of one list since they were last stored."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[bytes, int] = {}

    def add(self, text: bytes, number: int = 1) -> None:
        """Count hits of an entry."""
        counts = self.counts
        if text in counts:
            counts[text] += number
        elif len(counts) < MAX_ENTRIES:
            counts[text] = number


class HitCounter:
    """Counts the hits of all lists, and stores them."""

    def __init__(self) -> None:
        self.clients = PendingHits()
        self.recipients = PendingHits()
        self._renewed_at = 0.0

    async def run(self, guard: CircuitBreaker) -> None:
        """Store what was counted, now and each minute, until cancelled."""
        while True:
            await self.store(guard)
            await asyncio.sleep(STORE_INTERVAL_SECONDS * random.uniform(0.7, 1.3))  # noqa: S311 - no secret

    async def store(self, guard: CircuitBreaker, rest_seconds: float = 0.01) -> None:
        """Store what was counted, some entries at a time; what fails is kept for the next time."""
        due = time.monotonic() - self._renewed_at > _RENEW_SECONDS or not self._renewed_at
        if guard.is_open or not (due or self.clients.counts or self.recipients.counts):
            return
        tallies = {CLIENTS: self.clients, RECIPIENTS: self.recipients}
        taken = [
            (name, text, number)
            for name, tally in tallies.items()
            for text, number in tally.counts.items()
        ]
        for tally in tallies.values():
            tally.counts = {}
        place = 0
        try:
            while place < len(taken) or (due and not place):
                due_now = taken[place : place + _BATCH_SIZE]
                # Also what is under way when this is cancelled will be stored, and only once.
                place += _BATCH_SIZE
                await _add(guard, due_now)
                await asyncio.sleep(rest_seconds)
            self._renewed_at = time.monotonic()
        except StoreError:
            # The guard has said so, and tells when it is back.
            place -= _BATCH_SIZE
        finally:
            for name, text, number in taken[place:]:
                tallies[name].add(text, number)


async def _add(guard: CircuitBreaker, taken: Sequence[tuple[str, bytes, int]]) -> None:
    more: Counter[bytes] = Counter()
    for name, text, number in taken:
        more[hit_key(name, text)] += number
    await guard.transact([SINCE_KEY, *more], _adding_rule(more, int(time.time())))


def _adding_rule(more: Counter[bytes], now: int) -> Rule[None]:
    """Return the rule that adds hits to those that are stored."""

    def rule(remembered: Remembered) -> tuple[None, Sequence[Change]]:
        since, *before = remembered
        began = load_counting_since(since, now) or now
        changes = [Change(SINCE_KEY, b"%d" % began, KEPT_SECONDS)]
        for (key, number), text in zip(more.items(), before, strict=True):
            hit = HitCount(HitCount.load(text).number + number, now)
            changes.append(Change(key, hit.dump(), KEPT_SECONDS))
        return None, changes

    return rule
