"""Counts the entries that a scan of the store returns, in bounded memory for any store size.

Beyond a limit of names, the rarest are dropped; ``FrequentNames.max_error`` is then the most by
which a count may be too small.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greyd.cli.entries.json_output import json_text
from greyd.cli.sketches import FrequentNames
from greyd.rules.entries import EntryKind, EntryState, interpret

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    hidden: bool = False
    """Whether some names are hashes."""
    clients: FrequentNames = field(default_factory=FrequentNames)
    """The client networks of waiting triplets."""
    recipients: FrequentNames = field(default_factory=FrequentNames)

    def add(self, records: Iterable[Record], settings: Settings) -> None:
        """Count the entries in a group of records."""
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
            # A mail may also have a triplet of its identity: count the mail only once.
            if entry.kind is EntryKind.TRIPLET and entry.state is EntryState.WAITING:
                if entry.is_hidden:
                    self.hidden = True
                    continue
                self.clients.add(entry.names.network)
                self.recipients.add(entry.names.recipient)

    def number(self, kind: EntryKind, *states: EntryState) -> int:
        """Return the number of entries of a kind, in the given states or in any."""
        return sum(self.states[kind, state] for state in states or EntryState)

    def dump(self, most: int) -> dict[str, Any]:
        """Return the counts as a JSON object, with at most ``most`` names per list."""
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
            "waiting_clients": _name_counts("client", self.clients, most),
            "waiting_recipients": _name_counts("recipient", self.recipients, most),
        }


def _name_counts(what: str, counted: FrequentNames, most: int) -> list[dict[str, Any]]:
    return [{what: json_text(name), "waiting": number} for name, number in counted.largest(most)]
