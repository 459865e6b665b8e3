"""The items that a source yields: entries to import, entries to skip, unreadable data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from greyd.rules.records import Client, Identity, Triplet

if TYPE_CHECKING:
    from greyd.rules.entries import EntryKind


class ImportOutcome(Enum):
    """What happened to an entry. The values are column heads and JSON keys."""

    IMPORTED = "imported"
    MERGED = "merged"
    """The store had an entry under this key; it was updated."""
    UNCHANGED = "unchanged"
    EXPIRED = "expired"
    SKIPPED = "not taken over"


@dataclass(frozen=True, slots=True)
class ImportedCorrespondence:
    """When a local user last wrote to a sender."""

    last_written: int

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d" % self.last_written

    @classmethod
    def load(cls, text: bytes) -> ImportedCorrespondence | None:
        """Parse a record; None if it is invalid."""
        triplet = Triplet.load(text)
        return cls(triplet.first_seen) if triplet else None


ImportedRecord = Triplet | Client | Identity | ImportedCorrespondence


@dataclass(frozen=True, slots=True)
class ImportedEntry:
    """An entry as this server would have stored it."""

    kind: EntryKind
    keys: tuple[bytes, ...]
    """Its keys in this store. More than one if the source's key is ambiguous: no request asks for
    the wrong ones. All keys have the same hash tag."""
    record: ImportedRecord
    ttl_seconds: int = 0
    """Remaining time to live in the source; 0: to be computed from the record's times."""


@dataclass(frozen=True, slots=True)
class SkippedEntry:
    """An entry that this server could not use."""

    kind: EntryKind
    reason: str
    is_problem: bool = False
    """Whether a server with other settings could use it."""


@dataclass(frozen=True, slots=True)
class UnreadableItem:
    """Data that is not an entry."""

    excerpt: bytes
    """The beginning of the data."""


ImportItem = ImportedEntry | SkippedEntry | UnreadableItem


@dataclass(frozen=True, slots=True)
class SourceWarning:
    """A remark about a whole source."""

    text: str
    is_problem: bool
    """Whether entries are missing, or of no use to this server."""


MAX_EXCERPT_BYTES = 200
"""Bytes of unreadable data that are kept for the output."""
