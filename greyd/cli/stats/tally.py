"""What a look through the whole store counts, in bounded memory: ten million entries are no more.

Names are counted with a bound: where there are more than can be kept, the rarest are given up, and
``Frequent.error`` says how much a count may be too small for that.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from greyd.cli.entries.rows import text_of
from greyd.rules.entries import EntryKind, EntryState, interpret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record

MAX_NAMES = 20_000
"""That are counted at a time."""


class Frequent:
    """Counts names in bounded memory (Misra and Gries 1982, many at a time)."""

    def __init__(self, most: int = MAX_NAMES) -> None:
        self._most = most
        self._counts: Counter[bytes] = Counter()
        self.error = 0
        """So much may be missing from any count."""

    def add(self, name: bytes) -> None:
        """Count a name once more."""
        self._counts[name] += 1
        if len(self._counts) > self._most:
            self._give_up_the_rarest()

    def _give_up_the_rarest(self) -> None:
        """Take from all counts what the name in the middle has; half of the names are gone then."""
        less = sorted(self._counts.values())[len(self._counts) // 2]
        self._counts = Counter(
            {name: number - less for name, number in self._counts.items() if number > less}
        )
        self.error += less

    def top(self, number: int) -> list[tuple[bytes, int]]:
        """Return the most frequent names with their counts, which are at least that."""
        return nlargest(number, self._counts.items(), key=lambda each: (each[1], each[0]))


@dataclass
class Tally:
    """What was found in the store."""

    looked_at: int = 0
    complete: bool = False
    """All entries were looked at."""
    states: Counter[tuple[EntryKind, EntryState]] = field(default_factory=Counter)
    passed_over: int = 0
    """Entries that are too old for the rules, and greyd's notes for itself."""
    unreadable: int = 0
    """Entries that no rule can read: of another program, of another type, or broken."""
    without_end: int = 0
    """Entries without a time to live, which greyd itself never writes."""
    hidden: bool = False
    """Some names are hashes."""
    clients: Frequent = field(default_factory=Frequent)
    """Networks of triplets that wait."""
    recipients: Frequent = field(default_factory=Frequent)

    def add(self, records: Iterable[Record], settings: Settings) -> None:
        """Count some entries."""
        now = int(time.time())
        for record in records:
            self.looked_at += 1
            entry = interpret(record, now, settings, unreadable=True)
            self.without_end += record.ttl_seconds is None
            if entry is None:
                self.passed_over += 1
                continue
            if entry.state is EntryState.UNREADABLE:
                self.unreadable += 1
                continue
            self.states[entry.kind, entry.state] += 1
            # The same mail may be known by its identity too: it waits once.
            if entry.kind is EntryKind.TRIPLET and entry.state is EntryState.WAITING:
                if entry.is_hidden:
                    self.hidden = True
                    continue
                self.clients.add(entry.names.network)
                self.recipients.add(entry.names.recipient)

    def number(self, kind: EntryKind, *states: EntryState) -> int:
        """Return how many entries of a kind there are, in some states or in any."""
        return sum(self.states[kind, state] for state in states or EntryState)

    def dump(self, most: int) -> dict[str, Any]:
        """Return it for a program, with so many names."""
        triplets = {
            state.value.replace(" ", "_"): self.number(EntryKind.TRIPLET, state)
            for state in (EntryState.WAITING, EntryState.PASSED, EntryState.NEVER_RETURNED)
        }
        return {
            "looked_at": self.looked_at,
            "complete": self.complete,
            "triplets": triplets,
            "identity_triplets": self.number(EntryKind.IDENTITY_TRIPLET),
            "clients": self.number(EntryKind.CLIENT),
            "auto_whitelisted_clients": self.number(EntryKind.CLIENT, EntryState.AUTO_WHITELISTED),
            "identities": self.number(EntryKind.IDENTITY),
            "auto_whitelisted_identities": self.number(
                EntryKind.IDENTITY, EntryState.AUTO_WHITELISTED
            ),
            "correspondences": self.number(EntryKind.CORRESPONDENCE),
            "passed_over": self.passed_over,
            "unreadable": self.unreadable,
            "without_end": self.without_end,
            "names_hidden": self.hidden,
            "waiting_clients": _named("client", self.clients, most),
            "waiting_recipients": _named("recipient", self.recipients, most),
        }


def _named(what: str, counted: Frequent, most: int) -> list[dict[str, Any]]:
    return [{what: text_of(name), "waiting": number} for name, number in counted.top(most)]
