"""The stores of many simulated servers in one: most of their records are the same.

After a first contact, all servers that use the same keys have the same record, and keep it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.rules.transaction import Change

    Column = list[bytes | None]

_MIN_ENTRIES = 10_000


class GridRecords:
    """The records of several servers by key: one value that all share, or one for each server."""

    def __init__(self, server_count: int) -> None:
        self._count = server_count
        self._values: dict[bytes, bytes | Column] = {}
        self._expires_at: dict[bytes, int] = {}
        """By key, when its last value expires, in seconds since 1970."""
        self._max_entries = _MIN_ENTRIES

    def __contains__(self, key: object) -> bool:
        """Whether any server has a record under a key."""
        return key in self._values

    def column(self, key: bytes) -> Sequence[bytes | None]:
        """Return each server's value under a key."""
        value = self._values.get(key)
        return value if isinstance(value, list) else [value] * self._count

    def value(self, key: bytes, server: int) -> bytes | None:
        """Return one server's value under a key."""
        value = self._values.get(key)
        return value[server] if isinstance(value, list) else value

    def store_for_all(self, changes: Iterable[Change], now: int, min_seconds: int = 0) -> None:
        """Store the same records on all servers, for ``min_seconds`` at least."""
        for key, value, ttl_seconds in changes:
            self._values[key] = value
            self._keep(key, now + max(ttl_seconds, min_seconds))
        self._remove_expired(now)

    def store(self, changes: Iterable[tuple[int, Change]], now: int) -> None:
        """Store records, each on the server with that number."""
        values = self._values
        shared: dict[bytes, bytes] = {}
        columns: dict[bytes, Column] = {}
        for server, (key, text, ttl_seconds) in changes:
            if (column := columns.get(key)) is None:
                present = values.get(key)
                column = present if isinstance(present, list) else [present] * self._count
                columns[key] = values[key] = column
            # Equal values are stored once.
            column[server] = shared.setdefault(text, text)
            self._keep(key, now + ttl_seconds)
        for key, column in columns.items():
            first = column[0]
            if first is not None and column.count(first) == self._count:
                values[key] = first
        self._remove_expired(now)

    def _keep(self, key: bytes, until: int) -> None:
        if self._expires_at.get(key, 0) < until:
            self._expires_at[key] = until

    def _remove_expired(self, now: int) -> None:
        """Remove expired records whenever the number of keys has doubled.

        The rules check the times themselves, so this only bounds the memory.
        """
        if len(self._values) <= self._max_entries:
            return
        for key in [key for key, at in self._expires_at.items() if at < now]:
            del self._values[key], self._expires_at[key]
        self._max_entries = max(2 * len(self._values), _MIN_ENTRIES)
