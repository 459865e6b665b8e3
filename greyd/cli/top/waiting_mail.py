"""The mail that waits: the newest triplets of the store, filtered and sorted for a list."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from greyd.cli.entries.table import display_names
from greyd.escaping import printable_text
from greyd.rules.entries import EntryKind, EntryState, interpret
from greyd.rules.records import Triplet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry
    from greyd.rules.transaction import Record

MAX_LISTED = 1000
"""Maximum number of mails in the list: those with the latest attempts."""

_MAX_HELD = 2 * MAX_LISTED


@dataclass(frozen=True, slots=True)
class ListedMail:
    """A triplet that has not passed, and whose retry may still come."""

    entry: StoredEntry
    client: str
    """The client's network in CIDR notation; with ``--privacy`` the hash of the triplet."""
    sender: str
    recipient: str

    @classmethod
    def of(cls, entry: StoredEntry, settings: Settings) -> ListedMail:
        """Return the mail of a waiting triplet; its texts are printable ASCII."""
        return cls(entry, *display_names(entry, settings))

    @property
    def key(self) -> bytes:
        """The key of the triplet."""
        return self.entry.key

    @property
    def released_at(self) -> int | None:
        """When it was released, in seconds since 1970; None if it was not."""
        record = self.entry.record
        return record.released_at if isinstance(record, Triplet) else None

    def passes(self, now: float) -> bool:
        """Whether its sender's next attempt passes."""
        return self.entry.passes_at <= now


class Order(Enum):
    """The orders of the list; the values describe them."""

    NEWEST = "newest first"
    OLDEST = "longest wait first"
    PASSES_NEXT = "next to pass first"
    CLIENT = "by client"
    SENDER = "by sender's domain"
    RECIPIENT = "by recipient's domain"

    def next(self) -> Order:
        """Return the order after this one; after the last one the first."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


def _by_domain(address: str) -> tuple[str, str]:
    local, _, domain = address.lower().rpartition("@")
    return domain, local


_SORT_KEYS: dict[Order, Callable[[ListedMail], tuple[object, ...]]] = {
    Order.NEWEST: lambda mail: (-mail.entry.first_seen,),
    Order.OLDEST: lambda mail: (mail.entry.first_seen,),
    Order.PASSES_NEXT: lambda mail: (mail.entry.passes_at,),
    Order.CLIENT: lambda mail: (mail.client,),
    Order.SENDER: lambda mail: _by_domain(mail.sender),
    Order.RECIPIENT: lambda mail: _by_domain(mail.recipient),
}


@dataclass
class MailList:
    """The newest waiting mail of a store, collected from scans and single reads."""

    settings: Settings
    _held: dict[bytes, ListedMail] = field(default_factory=dict)
    _seen: set[bytes] = field(default_factory=set)
    """The keys that the current scan, or a read since its start, has found waiting."""

    _oldest: int = 0
    """The Unix time of the last attempt before which no mail is among the newest."""

    def begin_scan(self) -> None:
        """Start a scan of the whole store."""
        self._seen.clear()
        self._oldest = 0

    def add(self, records: Iterable[Record], now: int) -> None:
        """Add the waiting mail among records, and update or drop listed mail."""
        for record in records:
            self.add_entry(record.key, interpret(record, now, self.settings))

    def add_entry(self, key: bytes, entry: StoredEntry | None) -> None:
        """Add the entry under a key if it is waiting mail, or drop the mail that it was."""
        # A mail may also have a triplet of its identity: list the mail once.
        if (
            entry is None
            or entry.kind is not EntryKind.TRIPLET
            or entry.state is not EntryState.WAITING
        ):
            self._held.pop(key, None)
            return
        if entry.last_seen < self._oldest and key not in self._held:
            return
        self._held[key] = ListedMail.of(entry, self.settings)
        self._seen.add(key)
        if len(self._held) > _MAX_HELD:
            self._keep_newest()

    def remove(self, key: bytes) -> None:
        """Drop a mail whose triplet no longer exists."""
        self._held.pop(key, None)

    def end_scan(self) -> None:
        """End a scan: drop the mail that it has not found."""
        for key in self._held.keys() - self._seen:
            del self._held[key]
        self._keep_newest()

    def _keep_newest(self) -> None:
        newest = heapq.nlargest(
            MAX_LISTED, self._held.values(), key=lambda mail: mail.entry.last_seen
        )
        self._held = {mail.key: mail for mail in newest}
        if len(newest) == MAX_LISTED:
            self._oldest = newest[-1].entry.last_seen
        # Bounded like the list: a key that was dropped need not be remembered.
        self._seen &= self._held.keys()

    def __len__(self) -> int:
        return min(len(self._held), MAX_LISTED)

    def sorted(self, order: Order, pattern: str = "") -> Sequence[ListedMail]:
        """Return the listed mail that contains all words of ``pattern``, in an order."""
        words = printable_text(pattern).lower().split()
        newest = sorted(self._held.values(), key=lambda mail: (-mail.entry.last_seen, mail.key))
        fitting = [
            mail
            for mail in newest[:MAX_LISTED]
            if not words or _contains(f"{mail.client} {mail.sender} {mail.recipient}", words)
        ]
        return sorted(fitting, key=_SORT_KEYS[order])


def _contains(text: str, words: Iterable[str]) -> bool:
    text = text.lower()
    return all(word in text for word in words)
