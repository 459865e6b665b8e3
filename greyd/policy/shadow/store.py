"""The store of the shadow: keys of its own in the server's store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.lru import LruCache
from greyd.rules.reserved_keys import SHADOW_PREFIX
from greyd.rules.transaction import Change
from greyd.store.contract import Store, StoreSize
from greyd.store.errors import StoreFullError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from greyd.rules.transaction import Answer, Record, Remembered, Rule
    from greyd.store.contract import DoneCallback

MAX_SHARE_IN_USE = 0.9
"""The share of ``--max-store-size`` from which on the shadow stores nothing more.

A full store lets new mail pass without greylisting, and the shadow must not fill it.
"""

MAX_FIRST_RECORDS = 10_000
"""Maximum number of the server's records to keep until the shadow has records of its own."""


class ShadowStore(Store):
    """A view of the shadow's keys, each of which begins with ``SHADOW_PREFIX``.

    A key without a record gets the value that the server's own record had before the server's
    decision, see ``remember``. So the shadow begins with what the server remembers, as a server
    with the shadow's settings would.
    """

    def __init__(self, store: Store) -> None:
        """Use keys in ``store``, the server's store without its circuit breaker."""
        self._store = store
        self._first_records: LruCache[bytes] = LruCache(MAX_FIRST_RECORDS)

    def remember(self, keys: Sequence[bytes], remembered: Remembered) -> None:
        """Keep the server's records for keys under which the shadow has none."""
        for key, value in zip(keys, remembered, strict=True):
            if value is not None:
                self._first_records.put(key, value)

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        """Apply ``rule`` to the shadow's values; see ``greyd.store.contract``."""
        if self._store.bytes_in_use >= MAX_SHARE_IN_USE * self._store.max_bytes:
            on_done(None, StoreFullError("the shadow may not use the rest of --max-store-size"))
            return
        first = [self._first_records.get(key) for key in keys]

        def shadow_rule(remembered: Remembered) -> tuple[Answer, Sequence[Change]]:
            values = [
                own if own is not None else other
                for own, other in zip(remembered, first, strict=True)
            ]
            answer, changes = rule(values)
            return answer, [
                Change(SHADOW_PREFIX + key, value, ttl_seconds)
                for key, value, ttl_seconds in changes
            ]

        self._store.begin([SHADOW_PREFIX + key for key in keys], shadow_rule, on_done)

    async def get(self, key: bytes) -> Record | None:
        """Return the shadow's entry under ``key``; None if it does not exist."""
        record = await self._store.get(SHADOW_PREFIX + key)
        return record and record._replace(key=key)

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete the shadow's entries under ``keys``; return how many existed."""
        return await self._store.delete([SHADOW_PREFIX + key for key in keys])

    async def count(self) -> int:
        """Return the number of all entries of the store."""
        return await self._store.count()

    async def size(self) -> StoreSize:
        """Return the size of the whole store."""
        return await self._store.size()

    def records(self, containing: Sequence[bytes] = ()) -> AsyncIterator[Sequence[Record]]:
        """Yield all entries of the store, under their full keys."""
        return self._store.records(containing)

    async def maintain(self) -> None:
        """Do nothing: the server maintains its store."""
        return

    def abandon(self) -> None:
        """Do nothing: the server's requests go on."""
        return

    async def close(self) -> None:
        """Do nothing: the server closes its store."""
