"""Stores the history of the last week, so that it survives a restart of the server.

Each server has one record, at most about 40 KB, which contains only counts. The workers of a server
count the same, and each of them stores it: of two slots for the same time the longer one is kept,
so a worker that started later removes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.monitoring.activity.week import SLOT_SECONDS, dump_slots, load_slots
from greyd.rules.reserved_keys import HISTORY_PREFIX
from greyd.rules.transaction import Change
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.activity.week import ActivitySlot, WeekHistory
    from greyd.rules.transaction import Remembered, Rule
    from greyd.store.circuit_breaker import CircuitBreaker

MAX_RECORD_BYTES = 256 * 1024
"""Maximum size of a record to read; greyd never writes one of this size."""

KEPT_SECONDS = 8 * 86400
"""Time that the store keeps a record after its last update."""


def history_key(settings: Settings) -> bytes:
    """Return the key of this server's record: its host name and metrics port."""
    port = settings.metrics.port if settings.metrics else 0
    return HISTORY_PREFIX + f"{settings.hostname or ''}!{port}".encode(errors="replace")[:300]


class StoredWeek:
    """The record of a server's history in the store."""

    def __init__(self, history: WeekHistory, store: CircuitBreaker, key: bytes, now: float) -> None:
        """Keep the record of ``history`` under ``key``; ``now`` is the time of the start."""
        self._history = history
        self._store = store
        self._key = key
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
                self._history.merge(await self._store.transact([self._key], _read))
                self._is_loaded = True
            if now - self._stored_at >= SLOT_SECONDS:
                slots = list(self._history.slots().values())
                await self._store.transact([self._key], _storing(self._key, slots, now))
                self._stored_at = now
        except StoreError:
            # The circuit breaker reports failures. A full store takes no new record.
            return


def _loaded(record: bytes | None) -> Sequence[ActivitySlot]:
    return () if record is None or len(record) > MAX_RECORD_BYTES else load_slots(record)


def _read(remembered: Remembered) -> tuple[Sequence[ActivitySlot], Sequence[Change]]:
    (record,) = remembered
    return _loaded(record), ()


def _storing(key: bytes, slots: Sequence[ActivitySlot], now: float) -> Rule[None]:
    """Return the rule that adds the slots to those that other workers have stored."""

    def rule(remembered: Remembered) -> tuple[None, Sequence[Change]]:
        (record,) = remembered
        longest = {each.start: each for each in _loaded(record) if each.start > now - KEPT_SECONDS}
        for each in slots:
            other = longest.get(each.start)
            if other is None or other.seconds <= each.seconds:
                longest[each.start] = each
        return None, [Change(key, dump_slots(longest.values()), KEPT_SECONDS)]

    return rule
