"""The stores of many simulated servers in one: most of their records are the same.

A record that several servers have is kept once, with the set of these servers. A set of servers is
a bit mask: bit N is the server at place N of the grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greyd.cli.replay.servers.known_before import KNOWN_FOR_SECONDS
from greyd.rules.keys import is_triplet
from greyd.rules.records import Triplet
from greyd.rules.retention import ttl_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MIN_ENTRIES = 10_000


class Part(NamedTuple):
    """Servers with the same record under a key. A tuple, because each request creates some."""

    servers: int
    text: bytes | None
    """None if these servers have no record."""


class PlacedChange(NamedTuple):
    """A record to store. A tuple, because each request creates some."""

    place: int
    """The place of its key among the keys of the request."""
    text: bytes
    ttl_seconds: int


class GridRecords:
    """The records of several servers by key: one text that all share, or one for each set."""

    def __init__(self, servers: int, retry_window_seconds: int) -> None:
        """Keep the triplets that have not passed for ``retry_window_seconds``, the longest one."""
        self._servers = servers
        self._parts: dict[bytes, bytes | tuple[Part, ...]] = {}
        self._sets: dict[int, int] = {}
        """Each set of servers once, because most records have the same ones."""
        self._waiting_ttl = ttl_for(retry_window_seconds)
        self._longest_ttl = self._waiting_ttl
        self._max_entries = _MIN_ENTRIES

    def parts(self, key: bytes, servers: int) -> tuple[Part, ...]:
        """Return the records of some servers under a key, each with the servers that have it."""
        present = self._parts.get(key)
        if present is None or isinstance(present, bytes):
            return (Part(servers, present),)
        found = [Part(both, text) for part, text in present if (both := part & servers)]
        for part, _ in found:
            servers &= ~part
        return (*found, Part(servers, None)) if servers else tuple(found)

    def groups(
        self, keys: Sequence[bytes], servers: int
    ) -> list[tuple[int, tuple[bytes | None, ...]]]:
        """Return the servers with the same records under all keys, and these records."""
        groups: list[tuple[int, tuple[bytes | None, ...]]] = [(servers, ())]
        for key in keys:
            present = self._parts.get(key)
            if present is None or isinstance(present, bytes):
                groups = [(members, (*texts, present)) for members, texts in groups]
            else:
                groups = [
                    (part, (*texts, text))
                    for members, texts in groups
                    for part, text in self.parts(key, members)
                ]
        return groups

    def store(self, key: bytes, changes: Sequence[tuple[int, PlacedChange]], now: int) -> None:
        """Store records under a key, each on some servers; no server may have two of them."""
        first_servers, (_, text, ttl_seconds) = changes[0]
        self._longest_ttl = max(self._longest_ttl, ttl_seconds)
        if first_servers == self._servers:
            self._parts[key] = text
        else:
            self._parts[key] = self._merged(key, changes)
        if len(self._parts) > self._max_entries:
            self._remove_expired(now)

    def _merged(
        self, key: bytes, changes: Sequence[tuple[int, PlacedChange]]
    ) -> bytes | tuple[Part, ...]:
        """Return the records under a key with those that are changed."""
        unchanged = self._servers
        for changed, _ in changes:
            unchanged &= ~changed
        present = self.parts(key, unchanged) if unchanged else ()
        by_text = {text: servers for servers, text in present if text is not None}
        for changed, (_, text, ttl_seconds) in changes:
            self._longest_ttl = max(self._longest_ttl, ttl_seconds)
            by_text[text] = by_text.get(text, 0) | changed
        if by_text.get(text) == self._servers:
            return text
        shared = self._sets.setdefault
        return tuple([Part(shared(each, each), text) for text, each in by_text.items()])

    def _remove_expired(self, now: int) -> None:
        """Remove expired records whenever the number of keys has doubled.

        The rules check the times themselves, so this only bounds the memory.
        """
        over = [
            key
            for key, present in self._parts.items()
            if all(self._expires_at(key, text) < now for text in _texts(present))
        ]
        for key in over:
            del self._parts[key]
        self._max_entries = max(2 * len(self._parts), _MIN_ENTRIES)

    def _expires_at(self, key: bytes, text: bytes) -> int:
        """Return a time after which no rule uses a record, in seconds since 1970."""
        if is_triplet(key) and (triplet := Triplet.load(text)) and triplet.passed_at is None:
            return triplet.last_seen + self._waiting_ttl
        # A count and the time of the last one, or only a time; see ``rules.records``.
        numbers = text.split(b",")
        # An entry from before the log has an age when it is stored.
        used_at = int(numbers[1] if len(numbers) > 1 else numbers[0])
        return used_at + self._longest_ttl + KNOWN_FOR_SECONDS


def _texts(present: bytes | tuple[Part, ...]) -> Iterator[bytes]:
    if isinstance(present, bytes):
        yield present
    else:
        yield from (part.text for part in present if part.text is not None)
