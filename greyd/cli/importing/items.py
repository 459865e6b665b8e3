"""The items that a source yields: entries to import, entries to skip, unreadable data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from greyd.rules.records import Client, Identity, Triplet

if TYPE_CHECKING:
    from greyd.rules.entries import EntryKind


class ImportOutcome(Enum):
    """The outcome of importing an entry. The values are column heads and JSON keys."""

    IMPORTED = "imported"
    MERGED = "merged"
    """The import updated an entry that the store already had under this key."""
    UNCHANGED = "unchanged"
    EXPIRED = "expired"
    SKIPPED = "not taken over"


@dataclass(frozen=True, slots=True)
class ImportedCorrespondence:
    """The record of a correspondence: when a local user last wrote to the sender."""

    last_written: int

    def dump(self) -> bytes:
        """Return the record in the form that the store has."""
        return b"%d" % self.last_written

    @classmethod
    def load(cls, text: bytes) -> ImportedCorrespondence | None:
        """Parse a record; None if it is invalid."""
        triplet = Triplet.load(text)
        return cls(triplet.first_seen) if triplet else None


ImportedRecord = Triplet | Client | Identity | ImportedCorrespondence


@dataclass(frozen=True, slots=True)
class ImportedEntry:
    """An entry in the form in which this server would have stored it."""

    kind: EntryKind
    keys: tuple[bytes, ...]
    """The entry's keys in this store; all have the same hash tag. An ambiguous key in the source
    gives several; the wrong ones do no harm, because no request reads them."""
    record: ImportedRecord
    ttl_seconds: int = 0
    """The remaining time to live in the source; 0: compute it from the record's times."""


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """An entry that is not imported because this server could not use it."""

    kind: EntryKind
    reason: str
    is_problem: bool = False
    """Whether a server with other settings could use the entry."""


@dataclass(frozen=True, slots=True)
class UnreadableItem:
    """Data that is not an entry."""

    excerpt: bytes
    """The beginning of the data."""


ImportItem = ImportedEntry | SkippedEntry | UnreadableItem


@dataclass(frozen=True, slots=True)
class SourceWarning:
    """A warning about a whole source."""

    text: str
    is_problem: bool
    """Whether entries are missing, or this server cannot use them."""


MAX_EXCERPT_BYTES = 200
"""The maximum size of an excerpt of unreadable data."""
