"""Counts the entries that a scan of the store returns, in bounded memory for any store size.

Beyond a limit of names, the rarest are dropped; ``FrequentNames.max_error`` is then the most by
which a count may be too small.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greyd.cli.json_values import client_network_field, json_text
from greyd.cli.sketches import FrequentNames
from greyd.monitoring.store.entry_counts import EntryCounts
from greyd.rules.entries import TRIPLET_STATES, EntryKind, EntryState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry
    from greyd.rules.transaction import Record


@dataclass
class NamedEntryCounts(EntryCounts):
    """Counts of the entries of a store, and of the names of waiting triplets."""

    hidden: bool = False
    """Whether some names are hashes."""
    clients: FrequentNames = field(default_factory=FrequentNames)
    """The client networks of waiting triplets, as their keys contain them."""
    recipients: FrequentNames = field(default_factory=FrequentNames)

    def add_all(
        self, records: Iterable[Record], settings: Settings, now: int | None = None
    ) -> None:
        """Count the entries in a group of records; ``now`` is a Unix time; None: this moment."""
        now = int(time.time()) if now is None else now
        for record in records:
            self.add_named(record, now, settings)

    def add_named(self, record: Record, now: int, settings: Settings) -> StoredEntry | None:
        """Count a record at a Unix time; return its entry, if it is one that counts."""
        entry = self.add(record, now, settings)
        # A mail may also have a triplet of its identity: count the mail only once.
        if (
            entry is None
            or entry.kind is not EntryKind.TRIPLET
            or entry.state is not EntryState.WAITING
        ):
            return entry
        if entry.is_hidden:
            self.hidden = True
        else:
            self.clients.add(entry.names.network)
            self.recipients.add(entry.names.recipient)
        return entry

    def dump(self, most: int, settings: Settings) -> dict[str, Any]:
        """Return the counts as a JSON object, with at most ``most`` names per list."""
        return {
            "looked_at": self.looked_at,
            "complete": self.complete,
            "triplets": self._of_states(EntryKind.TRIPLET),
            "identity_triplets": self.number(EntryKind.IDENTITY_TRIPLET),
            "identity_triplet_states": self._of_states(EntryKind.IDENTITY_TRIPLET),
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
            "waiting_clients": [
                {
                    "client": json_text(name),
                    "waiting": number,
                    **client_network_field(name, settings),
                }
                for name, number in self.clients.largest(most)
            ],
            "waiting_recipients": [
                {"recipient": json_text(name), "waiting": number}
                for name, number in self.recipients.largest(most)
            ],
        }

    def _of_states(self, kind: EntryKind) -> dict[str, int]:
        return {state.value.replace(" ", "_"): self.number(kind, state) for state in TRIPLET_STATES}
