"""Counts the entries of an import by outcome."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.cli.batches import StoreTransaction
from greyd.cli.importing.items import ImportedEntry, ImportOutcome, SkippedEntry
from greyd.cli.importing.merge import is_expired, last_used_at, merge_rule
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from greyd.cli.importing.items import ImportItem, SourceWarning
    from greyd.config.settings import Settings
    from greyd.rules.entries import EntryKind

_MAX_EXCERPTS = 5


@dataclass
class ImportCounts:
    """The counts of an import's entries by kind and outcome."""

    settings: Settings
    now: int
    dry_run: bool
    outcomes: Counter[tuple[EntryKind, ImportOutcome]] = field(default_factory=Counter)
    skipped: Counter[SkippedEntry] = field(default_factory=Counter)
    unreadable_count: int = 0
    excerpts: list[str] = field(default_factory=list)
    """Excerpts of the first unreadable items."""
    warnings: list[SourceWarning] = field(default_factory=list)
    used_since: int = 0
    """Entries that the source last used before this time are in the store already, so they are
    counted as unchanged; in seconds since 1970."""

    def transactions(self, items: Iterable[ImportItem]) -> Iterator[StoreTransaction]:
        """Yield the transactions that import the items; count the items that are not imported."""
        for item in items:
            if isinstance(item, ImportedEntry):
                if is_expired(item.record, self.now, self.settings):
                    self.outcomes[item.kind, ImportOutcome.EXPIRED] += 1
                elif last_used_at(item.record) < self.used_since:
                    self.outcomes[item.kind, ImportOutcome.UNCHANGED] += 1
                else:
                    rule = merge_rule(item, self.now, self.settings, dry_run=self.dry_run)
                    yield StoreTransaction(item.keys, rule)
            elif isinstance(item, SkippedEntry):
                self.outcomes[item.kind, ImportOutcome.SKIPPED] += 1
                self.skipped[item] += 1
            else:
                self.unreadable_count += 1
                if len(self.excerpts) < _MAX_EXCERPTS:
                    self.excerpts.append(printable(item.excerpt))

    @property
    def changes(self) -> Counter[EntryKind]:
        """The numbers of entries that the import added or changed in the store, by kind."""
        changes: Counter[EntryKind] = Counter()
        for (kind, outcome), count in self.outcomes.items():
            if outcome in (ImportOutcome.IMPORTED, ImportOutcome.MERGED):
                changes[kind] += count
        return changes

    @property
    def has_problems(self) -> bool:
        """Whether the import failed for some entries, so that another import might add them."""
        skipped = any(each.is_problem for each in self.skipped)
        return bool(self.unreadable_count or skipped or any(w.is_problem for w in self.warnings))
