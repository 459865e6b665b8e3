"""Prints the output of ``greyd show``."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.entries.details import describe_state, record_details
from greyd.cli.entries.json_output import entry_object
from greyd.cli.entries.selection import dns_is_silent
from greyd.cli.entries.table import entry_columns, is_released
from greyd.cli.json_values import json_text
from greyd.cli.tables.limit import more_line
from greyd.cli.tables.sorting import FirstRows, parse_sort
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable, printable_text, shell_word
from greyd.plurals import counted
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret
from greyd.store.contract import scan
from greyd.terminal import format_timestamp, print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.cli.tables.sorting import SortOrder
    from greyd.config.settings import Settings
    from greyd.rules.control import ExpectWindow
    from greyd.rules.transaction import Record
    from greyd.store.contract import Store


_DOMAIN = re.compile(rb"(?:[^@./, ]+\.)+[a-z][^@./, ]*", re.IGNORECASE)
"""Matches what may be a client's name."""

MAX_OTHERS = 100
"""The number of related entries shown without ``--limit``, e.g. of a client's network."""

MAX_SORTED_ENTRIES = 200_000
"""The maximum number of entries that ``--limit=0`` keeps in memory: some 100 MB."""


@dataclass
class Tally:
    """The number of entries by state, and the first of them."""

    counts: Counter[EntryState] = field(default_factory=Counter)
    entries: list[StoredEntry] = field(default_factory=list)
    """At most one more than ``MAX_OTHERS``."""

    released: int = 0
    """The number of those that wait and are released."""

    def add(self, entry: StoredEntry) -> None:
        """Count an entry."""
        self.counts[entry.state] += 1
        self.released += is_released(entry)
        if len(self.entries) <= MAX_OTHERS:
            self.entries.append(entry)

    def __str__(self) -> str:
        shown = [f"{self.counts[each]:,} {each.value}" for each in _TRIPLET_STATES]
        if self.released:
            shown[0] += f" ({self.released:,} released)"
        rest = [each for each in EntryState if each not in _TRIPLET_STATES]
        return ", ".join(
            [*shown, *(f"{self.counts[e]:,} {e.value}" for e in rest if self.counts[e])]
        )


def _can_be_explained(entry: StoredEntry) -> bool:
    """Whether an entry is a waiting triplet that the arguments of ``greyd explain`` can name."""
    return (
        entry.kind is EntryKind.TRIPLET
        and entry.state is EntryState.WAITING
        and not entry.is_hidden
        and not any(each.startswith(b"-") for each in entry.names)
    )


_TRIPLET_STATES = (EntryState.WAITING, EntryState.PASSED, EntryState.NEVER_RETURNED)


@dataclass
class FoundEntries:
    """Prints the entries of a query as they are found."""

    context: CommandContext
    limit: int = MAX_OTHERS
    """The maximum number of related entries to show; 0 for all."""
    order: SortOrder[StoredEntry] | None = None
    """The order of related entries; None for the last seen first."""
    _objects: list[dict[str, Any]] = field(default_factory=list)
    _others: list[StoredEntry] = field(default_factory=list)
    _is_of_client: bool = True
    _missing: int = 0
    _tallies: dict[str, Tally] = field(default_factory=dict)
    _windows: list[ExpectWindow] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    now: int = field(default_factory=lambda: int(time.time()))
    """The time of the query."""

    @property
    def settings(self) -> Settings:
        """The server's settings."""
        return self.context.settings

    async def print_entries(self, store: Store, *keys: bytes) -> bool:
        """Print the entries under these keys; return whether any exists."""
        found = [await store.get(key) for key in keys]
        for record in found:
            if record is not None:
                self._add(record)
        return any(found)

    def _add(self, record: Record) -> None:
        now = int(time.time())
        entry = interpret(record, now, self.settings, expired=True, unreadable=True)
        known = (
            entry_object(entry, now, self.settings) if entry else {"kind": EntryKind.OTHER.value}
        )
        counts = (
            entry is not None and entry.state is not EntryState.UNREADABLE and not entry.is_expired
        )
        self._objects.append(
            {
                **known,
                "counts": counts,
                "ttl_seconds": record.ttl_seconds,
                "key": json_text(record.key),
                "record": json_text(record.value),
                **({"redis_type": record.foreign_type} if record.foreign_type else {}),
            }
        )
        for name, fact in record_details(record, self.settings):
            self.context.print(f"{name + ':':14}{fact}")
        self.context.print("")

    async def scan_store(
        self,
        store: Store,
        wanted: Callable[[StoredEntry], bool],
        containing: Sequence[bytes] = (),
    ) -> list[StoredEntry]:
        """Scan the store for matching entries; stop after ``MAX_OTHERS`` + 1 matches.

        With ``containing``, entries whose key has none of these texts may be left out.
        """
        now, found = int(time.time()), list[StoredEntry]()
        rough = await store.size()
        with self.context.progress_bar("scanning the store", rough.entries) as done:
            async for records in scan(store, containing=containing):
                entries = (interpret(each, now, self.settings) for each in records)
                found += islice(filter(wanted, filter(None, entries)), MAX_OTHERS + 1 - len(found))
                done(len(records))
                if len(found) > MAX_OTHERS:
                    break
        return found

    async def visit_store(
        self,
        store: Store,
        visit: Callable[[StoredEntry], None],
        containing: Sequence[bytes] = (),
    ) -> None:
        """Scan the store; call ``visit`` with each entry that the rules use.

        With ``containing``, entries whose key has none of these texts may be left out.
        """
        now, rough = int(time.time()), await store.size()
        with self.context.progress_bar("scanning the store", rough.entries) as done:
            async for records in scan(store, containing=containing):
                for record in records:
                    if (entry := interpret(record, now, self.settings)) is not None:
                        visit(entry)
                done(len(records))

    @property
    def has_entries(self) -> bool:
        """Whether an entry was found under a key."""
        return bool(self._objects)

    def add_tally(self, title: str, tally: Tally) -> None:
        """Print how many entries have each state."""
        self._tallies[title] = tally
        if tally.entries:
            self.context.print(f"{title + ':':14}{tally}")

    def add_counted(self, entries: Sequence[StoredEntry]) -> None:
        """Print the counts of clients and identities."""
        for entry in entries:
            if entry.kind in (EntryKind.CLIENT, EntryKind.IDENTITY):
                name = printable(entry.names.network)
                state = describe_state(entry, self.now, self.settings)
                self.context.print(f"{entry.kind.value + ':':14}{name}: {state}")

    async def add_correspondences(self, store: Store, keys: Sequence[bytes]) -> None:
        """Print the number of correspondences, and the details of the first ones."""
        self._tallies["correspondences"] = tally = Tally()
        for key in keys:
            record = await store.get(key)
            if record and (entry := interpret(record, self.now, self.settings)):
                tally.add(entry)
        if tally.entries:
            last = max(entry.last_seen for entry in tally.entries)
            self.context.print(
                f"{'wrote to:':14}{counted(tally.counts.total(), 'correspondence')}, the last one"
                f" at {format_timestamp(last)}"
            )

    def add_window(self, window: ExpectWindow) -> None:
        """Print an open window for expected mail."""
        self._windows.append(window)
        sender = printable_text(window.sender_domain) or "anybody"
        until = format_timestamp(window.until)
        self.context.print(f"{'expected:':14}mail from {sender} passes until {until}")

    def add_note(self, text: str) -> None:
        """Add a note on what could not be determined; it is printed at the end."""
        self._notes.append(text)

    def related_rows(self) -> FirstRows[StoredEntry]:
        """Return the rows to which a scan adds related entries, for ``add_others``."""
        order = self.order or parse_sort("-last-seen", entry_columns(self.settings))
        return FirstRows(order, self.limit or MAX_SORTED_ENTRIES)

    def add_others(
        self, rows: FirstRows[StoredEntry], all_of_them: str, *, of_client: bool = True
    ) -> None:
        """Print a table of related entries.

        Args:
            rows: the entries, from ``related_rows``.
            all_of_them: the command that lists all; empty if there is none.
            of_client: whether the entries belong to a client's network, rather than an address.
        """
        self._is_of_client = of_client
        self._others = rows.rows()
        self._missing = rows.count - len(self._others)
        if not self.context.as_json:
            self.context.print_rows(entry_columns(self.settings), self._others, now=self.now)
            if self._missing:
                print_error(more_line(self._missing, remedy=self._remedy(all_of_them)))
            waiting = next(filter(_can_be_explained, self._others), None)
            if waiting is not None and self.context.console.is_terminal:
                self._print_explain_command(waiting)

    def _print_explain_command(self, entry: StoredEntry) -> None:
        """Print the command that explains why a triplet waits.

        The store has the client's network only, so its first address stands for the client.
        """
        names = (entry.names.network, entry.names.sender or b"<>", entry.names.recipient)
        words = [*map(shell_word, names), *map(shell_word, self.context.repeated_options)]
        # Unwrapped: a line that is folded can't be pasted.
        self.context.console.print(f"why it waits: greyd explain {' '.join(words)}", soft_wrap=True)

    def _remedy(self, all_of_them: str) -> str:
        """Return what shows the rows that the limit has left out."""
        commands = ["--limit=0"] if self.limit else []
        commands += [f"{all_of_them} --limit=0"] if all_of_them else []
        return f"{' or '.join(commands)} shows all" if commands else "select fewer entries"

    def end(self, name: bytes) -> int:
        """Finish the output of the query for ``name``; return the exit status."""
        others = [entry_object(each, self.now, self.settings) for each in self._others]
        self.context.print_json(
            {
                "entries": self._objects,
                "of_network": others if self._is_of_client else [],
                "of_address": [] if self._is_of_client else others,
                "more": self._missing > 0,
                "counts": {
                    title: {state.value: number for state, number in tally.counts.items()}
                    for title, tally in self._tallies.items()
                },
                "expected": [
                    {"recipient": each.recipient, "from": each.sender_domain, "until": each.until}
                    for each in self._windows
                ],
            }
        )
        for note in self._notes:
            print_error(note)
        tallies = any(tally.entries for tally in self._tallies.values())
        if self._objects or self._others or self._windows or tallies:
            return 0
        from greyd.whitelist.files import read_whitelist_files

        whitelists = read_whitelist_files(self.settings).whitelists()
        match = whitelists.match_client(name, parse_address(name)) or (
            whitelists.match_recipient(name) if b"@" in name else None
        )
        if match is not None:
            print_error(
                f"no entry of {printable(name)}: its mail passes by the whitelist,"
                f" {match.file}:{match.line}: {printable(match.text)}"
            )
            return EXIT_NO
        delay = format_breakable_duration(self.settings.delay_seconds)
        is_name = _DOMAIN.fullmatch(name) is not None
        unnamed = "; a client's name is not stored, only its address" if is_name else ""
        if is_name and name.isascii() and dns_is_silent(name.decode()):
            unnamed += ", and DNS did not answer for its addresses: name one"
        print_error(
            f"no entry of {printable(name)}; its first mail waits {delay}, unless a whitelist or an"
            f" option lets it pass (see greyd explain){unnamed}"
        )
        return EXIT_NO
