"""``greyd list``: lists the entries of the store."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_NO, CommandContext, option_seconds
from greyd.cli.cpu_priority import lower_cpu_priority
from greyd.cli.entries.json_output import EntryJsonWriter
from greyd.cli.entries.selection import parse_selection
from greyd.cli.entries.table import EntryTable
from greyd.rules.entries import EntryKind, EntryState, StoredEntry, interpret, is_internal_key
from greyd.store.contract import scan
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from greyd.cli.entries.selection import Selection
    from greyd.config.settings import Settings
    from greyd.rules.transaction import Record
    from greyd.store.contract import Store


DEFAULT_LIMIT = 1000
"""The limit without ``--limit``; with ``--json`` the default is unlimited."""


async def list_entries(
    context: CommandContext,
    client: Annotated[
        str | None,
        typer.Option(metavar="CLIENT", help="Entries of this address, network or name."),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Entries of this sender or domain; <> for bounces."),
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Entries of this recipient or domain.")
    ] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Triplets that wait for their retry.")
    ] = False,
    passed: Annotated[bool, typer.Option("--passed", help="Triplets that have passed.")] = False,
    never_returned: Annotated[
        bool,
        typer.Option("--never-returned", help="Triplets whose sender has not retried."),
    ] = False,
    auto_whitelisted: Annotated[
        bool,
        typer.Option("--auto-whitelisted", help="Clients and identities that need not wait."),
    ] = False,
    unreadable: Annotated[
        bool, typer.Option("--unreadable", help="Entries that greyd can't read.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Entries seen within this time: 90s, 10m, 2h, 1d."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", metavar="N", min=0,
            help=f"Most entries to show; 0 for all. Default: {DEFAULT_LIMIT}; all with --json.",
        ),
    ] = None,
    with_keys: Annotated[
        bool, typer.Option("--keys", help="Show keys instead of names.")
    ] = False,
) -> int:  # fmt: skip
    """List entries: waiting, passed, never returned; clients.

    An entry must match all selecting options. With several states, it must have one of them.

    SQLite returns the newest entries first; Redis returns them in no order. An entry that changes
    during the listing may appear twice. The first entries appear at once, however large the store,
    and the listing does not delay the server. "passes at" is computed with the server's delay. "no
    end" marks an entry without a time to live in Redis; greyd itself never writes one.

    With --json the output is one document, written while entries are found. Each entry is on its
    own line, so that programs can also read it line by line. With --privacy the store contains only
    hashes: name a client, a sender and a recipient, or one client's address. The exit status is 1
    if no entry matches.

    Examples:

      greyd list --waiting

      greyd list --client 192.0.2.0/24 --since 2h

      greyd list --sender example.com --recipient bob@example.org

      greyd list --never-returned --limit 0 | less

      greyd list --auto-whitelisted --json
    """
    lower_cpu_priority()
    states = {
        state
        for state, wanted in (
            (EntryState.WAITING, waiting),
            (EntryState.PASSED, passed),
            (EntryState.NEVER_RETURNED, never_returned),
            (EntryState.AUTO_WHITELISTED, auto_whitelisted),
            (EntryState.UNREADABLE, unreadable),
        )
        if wanted
    }
    selection = parse_selection(
        client,
        sender,
        recipient,
        states,
        int(time.time()) - option_seconds(since, "--since") if since else 0,
    )
    if limit is None:
        limit = 0 if context.as_json else DEFAULT_LIMIT
    async with context.open_store() as store:
        records: AsyncIterator[Sequence[Record]] = scan(store)
        if context.settings.privacy and selection.names_somebody:
            records = _hashed_records(store, selection, context.settings)
            selection = parse_selection(None, None, None, states, selection.since)
        return await _Listing(context, selection, limit, keys=with_keys).show(records)


class _Listing:
    """Prints the entries that match a selection, up to a limit."""

    def __init__(
        self, context: CommandContext, selection: Selection, limit: int, *, keys: bool
    ) -> None:
        self._selection = selection
        self._settings = context.settings
        self._limit = limit
        self._rows = (
            EntryJsonWriter(context.settings) if context.as_json else EntryTable(context, keys=keys)
        )
        self._shown = 0
        self._of_identities = 0
        self._looked_at = 0
        self._internal = 0

    async def show(self, groups: AsyncIterator[Sequence[Record]]) -> int:
        """Print the matching entries in groups of records; return the exit status."""
        more = False
        async for records in groups:
            self._looked_at += len(records)
            self._internal += sum(is_internal_key(record.key) for record in records)
            found = self._fitting(records)
            # One entry more than the limit shows that there are more.
            room = self._limit - self._shown if self._limit else len(found)
            self._rows.show(found[:room])
            self._shown += len(found[:room])
            self._of_identities += sum(
                each.kind is EntryKind.IDENTITY_TRIPLET for each in found[:room]
            )
            if more := len(found) > room:
                break
        self._end(more)
        return 0 if self._shown else EXIT_NO

    def _fitting(self, records: Sequence[Record]) -> list[StoredEntry]:
        now, settings = int(time.time()), self._settings
        entries = (
            interpret(record, now, settings, expired=True, unreadable=True) for record in records
        )
        # The store removes expired entries soon, except those without a time to live.
        there = (
            each for each in entries if each and (each.ttl_seconds is None or not each.is_expired)
        )
        fitting = (each for each in there if self._selection.matches(each, settings))
        most = self._limit - self._shown + 1 if self._limit else None
        return list(islice(fitting, most))

    def _end(self, more: bool) -> None:
        if isinstance(self._rows, EntryJsonWriter):
            self._rows.end(
                shown=self._shown,
                identity_triplets=self._of_identities,
                more=more,
                looked_at=self._looked_at,
            )
        if more:
            print_error(f"{self._shown} shown, and there are more; --limit=0 shows all")
        elif 0 < self._looked_at == self._internal:
            print_error("the store has no entries yet")
        elif not self._shown:
            print_error(f"none of {self._looked_at:,} entries matches")
        else:
            print_error(f"{self._shown:,} of {self._looked_at:,} entries shown{self._identities()}")

    def _identities(self) -> str:
        if not self._of_identities:
            return ""
        return (
            f"; {self._of_identities:,} of them are triplets of identities, for mail that also has"
            " a triplet of its network"
        )


async def _hashed_records(
    store: Store, selection: Selection, settings: Settings
) -> AsyncIterator[Sequence[Record]]:
    """Yield the triplet or client that a selection names, from a store of hashes.

    Raises:
        CommandError: the selection does not name a single triplet or client.
    """
    found = [await store.get(key) for key in selection.hashed_keys(settings)]
    yield [record for record in found if record is not None]
