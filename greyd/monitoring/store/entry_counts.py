"""Counts entries by kind and state, as ``greyd.rules.entries`` defines them.

The status page, ``/stats.json``, the metrics, ``greyd stats`` and ``greyd top`` show these counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record


@dataclass
class EntryCounts:
    """Counts of the entries of a store."""

    looked_at: int = 0
    complete: bool = False
    """Whether the scan has counted all entries."""
    states: Counter[tuple[EntryKind, EntryState]] = field(default_factory=Counter)
    passed_over: int = 0
    """The number of expired and internal entries."""
    unreadable: int = 0
    """The number of broken entries, and of those of another program or type."""
    without_end: int = 0
    """The number of entries without a time to live; greyd itself never writes one."""

    def add(self, record: Record, now: int, settings: Settings) -> StoredEntry | None:
        """Count a record.

        Returns:
            The entry if it counts in one of the states; None if it is internal, expired or
            unreadable.
        """
        self.looked_at += 1
        entry = interpret(record, now, settings, unreadable=True)
        self.without_end += record.ttl_seconds is None
        if entry is None:
            self.passed_over += 1
            return None
        if entry.state is EntryState.UNREADABLE:
            self.unreadable += 1
            return None
        self.states[entry.kind, entry.state] += 1
        return entry

    def number(self, kind: EntryKind, *states: EntryState) -> int:
        """Return the number of entries of a kind, in the given states or in any."""
        return sum(self.states[kind, state] for state in states or EntryState)

    def triplets_in(self, state: EntryState) -> int:
        """Return the number of triplets of networks in a state.

        The same mail may also have a triplet of an identity, which does not count here.
        """
        return self.number(EntryKind.TRIPLET, state)

    @property
    def waiting(self) -> int:
        """The number of triplets of networks that wait."""
        return self.triplets_in(EntryState.WAITING)

    @property
    def passed(self) -> int:
        """The number of triplets of networks that have passed."""
        return self.triplets_in(EntryState.PASSED)

    @property
    def never_returned(self) -> int:
        """The number of triplets of networks that have not passed, and have been given up."""
        return self.triplets_in(EntryState.NEVER_RETURNED)
