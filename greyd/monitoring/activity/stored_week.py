"""Stores the history of the last week, so that it survives a restart of the server.

Each server has one record, at most about 40 KB, which contains only counts. The workers of a server
count the same, and each of them stores it: of two slots for the same time the longer one is kept,
so a worker that started later removes nothing. Only one worker counts the waiting triplets; the
others read the number from the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.monitoring.activity.week import SLOT_SECONDS, dump_slots, load_slots, longer_slot
from greyd.rules.transaction import Change
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.monitoring.activity.week import ActivitySlot, WeekHistory
    from greyd.rules.transaction import Remembered, Rule
    from greyd.store.circuit_breaker import CircuitBreaker

MAX_RECORD_BYTES = 256 * 1024
"""Maximum size of a record to read; greyd never writes one of this size."""

KEPT_SECONDS = 8 * 86400
"""Time that the store keeps a record after its last update."""


class StoredWeek:
    """The record of a server's history in the store."""

    def __init__(
        self,
        history: WeekHistory,
        store: CircuitBreaker,
        key: bytes,
        now: float,
        old_key: bytes | None = None,
    ) -> None:
        """Keep the record of a history.

        Args:
            history: the history.
            store: the store that keeps the record.
            key: the key of the record.
            now: the time of the start.
            old_key: the key under which an earlier version of greyd kept it; only read.
        """
        self._history = history
        self._store = store
        self._key = key
        self._read_keys = [key] if old_key is None else [key, old_key]
        self._is_loaded = False
        self._stored_at = now

    async def update(self, now: float) -> None:
        """Read the record once; store it when a quarter of an hour has ended since the last time.

        Nothing is stored in the first quarter of an hour after the start. If the store fails, the
        next call tries again.
        """
        if self._store.is_open:
            return
        try:
            if not self._is_loaded:
                self._history.merge(await self._store.transact(self._read_keys, _read))
                self._is_loaded = True
            if now - self._stored_at >= SLOT_SECONDS:
                slots = list(self._history.slots().values())
                stored = await self._store.transact([self._key], _storing(self._key, slots, now))
                self._history.add_waiting(stored)
                self._stored_at = now
        except StoreError:
            # The circuit breaker reports failures. A full store takes no new record.
            return


def _loaded(record: bytes | None) -> Sequence[ActivitySlot]:
    return () if record is None or len(record) > MAX_RECORD_BYTES else load_slots(record)


def _read(remembered: Remembered) -> tuple[Sequence[ActivitySlot], Sequence[Change]]:
    """Return the slots of the first record that exists."""
    return _loaded(next((each for each in remembered if each is not None), None)), ()


def _storing(key: bytes, slots: Sequence[ActivitySlot], now: float) -> Rule[Sequence[ActivitySlot]]:
    """Return the rule that adds the slots to those that other workers have stored.

    Its answer is all slots that are stored then.
    """

    def rule(remembered: Remembered) -> tuple[Sequence[ActivitySlot], Sequence[Change]]:
        (record,) = remembered
        longest = {each.start: each for each in _loaded(record) if each.start > now - KEPT_SECONDS}
        for each in slots:
            other = longest.get(each.start)
            longest[each.start] = each if other is None else longer_slot(other, each)
        kept = list(longest.values())
        return kept, [Change(key, dump_slots(kept), KEPT_SECONDS)]

    return rule
