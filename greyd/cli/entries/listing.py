"""Finds the entries of ``greyd list``, sorts them in bounded memory, and prints them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.entries.found_entries import MAX_SORTED_ENTRIES
from greyd.cli.entries.json_output import EntryJsonWriter
from greyd.cli.entries.table import entry_columns
from greyd.cli.tables.limit import more_line
from greyd.cli.tables.sorting import FirstRows, SortOrder, parse_sort
from greyd.plurals import noun
from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret, is_internal_key
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from greyd.cli.entries.pools.mail_pools import MailPools
    from greyd.cli.entries.pools.organisations import NetworkOrganisations
    from greyd.cli.entries.selection import Selection
    from greyd.cli.tables.rendering import TableWriter
    from greyd.rules.transaction import Record

COUNTING_SECONDS = 0.1
"""How long the scan goes on after the limit is reached, to count the entries that are left."""


@dataclass
class Listing:
    """Prints the entries that match a selection, up to a limit."""

    context: CommandContext
    selection: Selection
    limit: int
    """The maximum number of entries; 0 for all."""
    organisations: NetworkOrganisations | None
    """Names the organisations of waiting mail that comes from several networks; None in a pipe."""
    order: SortOrder[StoredEntry] | None
    """The order of all entries in the store; None for the last seen of those found at once."""
    keys: bool = False
    """Whether the table shows keys instead of names."""
    is_filtered: bool = False
    """Whether the store leaves out entries that do not match; they are counted roughly."""
    _shown: int = 0
    _matched: int = 0
    _of_identities: int = 0
    _looked_at: int = 0
    _internal: int = 0
    _is_complete: bool = True
    _json: EntryJsonWriter | None = None
    _table: TableWriter[StoredEntry] | None = None
    _pools: MailPools | None = None
    _started: float = field(default_factory=time.monotonic)

    async def show(self, groups: AsyncIterator[Sequence[Record]], rough: int | None) -> int:
        """Print the matching entries in groups of records; return the exit status.

        Args:
            groups: the records.
            rough: about how many records there are, for the progress bar; None if unknown.
        """
        columns = entry_columns(
            self.context.settings, keys=self.keys, one_state=self._have_one_state
        )
        if self.context.as_json:
            self._json = EntryJsonWriter(self.context.settings)
        else:
            self._table = self.context.table_writer(columns, fill=not (self.order or self.limit))
            if self.organisations is not None and not self.keys:
                from greyd.cli.entries.pools.mail_pools import MailPools

                self._pools = MailPools(self.context.settings, self.organisations)
        if self.order is not None:
            await self._show_sorted(groups, self.order, self.limit or MAX_SORTED_ENTRIES, rough)
        elif self.limit and not self.context.as_json:
            newest = parse_sort("-last-seen", columns[:2])
            await self._show_sorted(groups, newest, self.limit, rough)
        else:
            await self._show_as_found(groups)
        if self.is_filtered and self._is_complete:
            self._looked_at = max(self._looked_at, rough or 0)
        await self._end()
        return 0 if self._shown else EXIT_NO

    @property
    def _have_one_state(self) -> bool:
        """Whether all entries show the same state; waiting ones may be released."""
        return len(self.selection.states) == 1 and EntryState.WAITING not in self.selection.states

    async def _show_as_found(self, groups: AsyncIterator[Sequence[Record]]) -> None:
        """Print entries in the order of the store, until the limit is passed."""
        async for records in groups:
            found = self._fitting(records)
            self._matched += len(found)
            room = self.limit - self._shown if self.limit else len(found)
            self._print(found[:room])
            # One entry more than the limit shows that there are more.
            if len(found) > room:
                self._is_complete = False
                break

    async def _show_sorted(
        self,
        groups: AsyncIterator[Sequence[Record]],
        order: SortOrder[StoredEntry],
        limit: int,
        rough: int | None,
    ) -> None:
        """Print the first entries in an order; without ``--sort``, of those found at once."""
        first = FirstRows(order, limit)
        with self.context.progress_bar("scanning the store", rough) as done:
            async for records in groups:
                for entry in self._fitting(records):
                    first.add(entry)
                done(len(records))
                is_late = time.monotonic() - self._started > COUNTING_SECONDS
                if self.order is None and first.count > limit and is_late:
                    self._is_complete = False
                    break
        self._matched = first.count
        self._print(first.rows())

    def _print(self, entries: Sequence[StoredEntry]) -> None:
        self._shown += len(entries)
        self._of_identities += sum(each.kind is EntryKind.IDENTITY_TRIPLET for each in entries)
        if self._json is not None:
            self._json.show(entries)
        elif self._table is not None:
            self._table.write(entries)
            if self._pools is not None:
                self._pools.add(entries)
            self.context.console.file.flush()

    def _fitting(self, records: Sequence[Record]) -> list[StoredEntry]:
        now, settings = int(time.time()), self.context.settings
        self._looked_at += len(records)
        self._internal += sum(is_internal_key(record.key) for record in records)
        # The store removes expired entries soon, except those without a time to live.
        entries = (
            interpret(each, now, settings, expired=each.ttl_seconds is None, unreadable=True)
            for each in records
        )
        return [each for each in entries if each and self.selection.matches(each, settings)]

    async def _end(self) -> None:
        missing = self._matched - self._shown
        if self._json is not None:
            self._json.end(
                shown=self._shown,
                identity_triplets=self._of_identities,
                more=missing > 0,
                looked_at=self._looked_at,
            )
        elif self._table is not None:
            self._table.end()
        for line in await self._pools.lines() if self._pools is not None else ():
            if "greyd " in line:
                # Unwrapped, so that the command can be pasted.
                self.context.console.print(line, soft_wrap=True)
            else:
                self.context.print(line)
        if missing:
            is_capped = self.order is not None and not self.limit
            remedy = (
                "--sort keeps no more in memory; select entries, or omit --sort"
                if is_capped
                else "--limit=0 shows all"
            )
            line = more_line(missing, at_least=not self._is_complete, remedy=remedy)
            print_error(f"{self._shown:,} {noun(self._shown, 'entry', 'entries')} shown {line}")
        elif 0 < self._looked_at == self._internal:
            print_error("the store has no entries yet")
        elif not self._shown:
            print_error(f"none of {self._entries:,} entries matches")
        else:
            print_error(f"{self._shown:,} of {self._entries:,} entries shown{self._identities()}")

    @property
    def _entries(self) -> int:
        """The number of entries among which the shown ones were found, without internal records."""
        return self._looked_at - self._internal

    def _identities(self) -> str:
        if not self._of_identities:
            return ""
        verb = noun(
            self._of_identities, "is a triplet of an identity", "are triplets of identities"
        )
        return (
            f"; {self._of_identities:,} of them {verb}, for mail that also has a triplet of its"
            " network"
        )
