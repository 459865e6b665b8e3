"""Prints the output of ``greyd show``."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.entries.details import record_details
from greyd.cli.entries.json_output import entry_object, json_text
from greyd.cli.entries.table import EntryTable
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable
from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret
from greyd.store.contract import scan
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record
    from greyd.store.contract import Store


MAX_OTHERS = 100
"""The maximum number of related entries shown, e.g. of a client's network."""


@dataclass
class FoundEntries:
    """Prints the entries of a query as they are found."""

    context: CommandContext
    _objects: list[dict[str, Any]] = field(default_factory=list)
    _others: list[StoredEntry] = field(default_factory=list)
    _more: bool = False

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
        self, store: Store, wanted: Callable[[StoredEntry], bool]
    ) -> list[StoredEntry]:
        """Scan the store for matching entries; stop after ``MAX_OTHERS`` + 1 matches."""
        now, found = int(time.time()), list[StoredEntry]()
        rough = await store.size()
        with self.context.progress_bar("scanning the store", rough.entries) as done:
            async for records in scan(store):
                entries = (interpret(each, now, self.settings) for each in records)
                found += islice(filter(wanted, filter(None, entries)), MAX_OTHERS + 1 - len(found))
                done(len(records))
                if len(found) > MAX_OTHERS:
                    break
        return found

    def add_others(self, entries: Sequence[StoredEntry], all_of_them: str) -> None:
        """Print a table of related entries; ``all_of_them`` is the command that lists all."""
        self._others, self._more = list(entries[:MAX_OTHERS]), len(entries) > MAX_OTHERS
        if not self.context.as_json:
            EntryTable(self.context, keys=False).show(self._others)
            if self._more:
                print_error(f"there are more: {all_of_them} shows them")

    def end(self, name: bytes) -> int:
        """Finish the output of the query for ``name``; return the exit status."""
        now = int(time.time())
        others = [entry_object(each, now, self.settings) for each in self._others]
        self.context.print_json(
            {"entries": self._objects, "of_network": others, "more": self._more}
        )
        if self._objects or self._others:
            return 0
        delay = format_breakable_duration(self.settings.delay_seconds)
        print_error(
            f"no entry of {printable(name)}; its first mail waits {delay}, unless a whitelist or an"
            " option lets it pass (see greyd explain)"
        )
        return EXIT_NO
