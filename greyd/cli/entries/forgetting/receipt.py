"""Prints the receipt of ``greyd forget``: what was removed, by kind and by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.entries.forgetting.finding import shown_kind
from greyd.cli.entries.json_output import names_object
from greyd.cli.entries.table import name_columns
from greyd.cli.json_values import json_text
from greyd.cli.tables.column import Kind, TableColumn
from greyd.cli.tables.limit import more_line
from greyd.plurals import counted
from greyd.rules.entries import EntryKind, StoredEntry

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.entries.forgetting.finding import FoundToForget

MAX_SHOWN = 20
"""The maximum number of entries that the receipt lists on a terminal."""

MAX_IN_JSON = 10_000
"""The maximum number of entries that the receipt lists with ``--json``."""

_KIND_NAMES = {
    EntryKind.TRIPLET: "triplets",
    EntryKind.IDENTITY_TRIPLET: "triplets of identities",
    EntryKind.CLIENT: "clients",
    EntryKind.IDENTITY: "identities",
    EntryKind.CORRESPONDENCE: "correspondences",
    EntryKind.OTHER: "expect windows, actions for the log, entries of --shadow, unreadable entries",
}


@dataclass
class Receipt:
    """What a command removed, or would remove."""

    entries: Sequence[StoredEntry]
    counts: Counter[EntryKind]
    """Counts of the entries that still existed when they were removed."""
    dry_run: bool

    def print(self, context: CommandContext, found: FoundToForget) -> None:
        """Print the counts and the entries."""
        total = self.counts.total()
        table = {kind.value.replace(" ", "_"): self.counts[kind] for kind in _KIND_NAMES}
        context.print_json(
            {
                "dry_run": self.dry_run,
                "entries": total,
                **table,
                "unchecked_correspondences": found.unchecked_count,
                "removed": [_object(entry) for entry in self.entries[:MAX_IN_JSON]],
            }
        )
        if total:
            self._print_entries(context)
            context.print_rows(
                [
                    TableColumn(
                        "would be forgotten" if self.dry_run else "forgotten", Kind.TEXT,
                        _KIND_NAMES.__getitem__,
                    ),
                    TableColumn("", Kind.NUMBER, self.counts.__getitem__),
                ],
                [kind for kind in _KIND_NAMES if self.counts[kind]],
            )  # fmt: skip
        else:
            context.print("no entry matches")
        if found.unchecked_count:
            context.print(
                f"{counted(found.unchecked_count, 'correspondence was', 'correspondences were')}"
                " not checked: there are too many"
            )

    def _print_entries(self, context: CommandContext) -> None:
        rows = self.entries[:MAX_SHOWN]
        kind = TableColumn[StoredEntry]("entry", Kind.VERDICT, lambda e: shown_kind(e).value)
        context.print_rows([kind, *name_columns(context.settings)], rows)
        if len(self.entries) > MAX_SHOWN:
            context.print(more_line(len(self.entries) - MAX_SHOWN, remedy="--json names more"))
        if rows:
            context.print("")


def _object(entry: StoredEntry) -> dict[str, str]:
    return {"kind": shown_kind(entry).value, **names_object(entry), "key": json_text(entry.key)}
