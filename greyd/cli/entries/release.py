"""``greyd release``: lets the next attempt of waiting mail pass."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.batches import StoreTransaction, transact_all
from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.entries.selection import Selection, parse_selection
from greyd.cli.errors import CommandError
from greyd.cli.server_control import record_action
from greyd.escaping import printable
from greyd.rules.entries import EntryState, interpret
from greyd.rules.site_rules.recipient_settings import settings_to_release
from greyd.rules.triplets import release as released
from greyd.store.contract import scan
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.contract import Store


MAX_SHOWN = 20

_WAITING = (EntryState.WAITING, EntryState.NEVER_RETURNED)


async def release(
    context: CommandContext,
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="ADDRESS|NETWORK|NAME", help="Mail of this client."),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option("--sender", metavar="ADDRESS|DOMAIN", help="Mail of this sender."),
    ] = None,
    recipient: Annotated[
        str | None,
        typer.Option("--recipient", metavar="ADDRESS|DOMAIN", help="Mail to this recipient."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the triplets, release none.")
    ] = False,
) -> int:
    """Let the next attempt of waiting mail pass.

    A triplet must match all options. The mail itself is still in its sender's queue. It arrives at
    the sender's next attempt, which greyd can't hasten. The exit status is 1 if no matching mail
    waits. With --privacy you can release one triplet, by its client's address, its sender and its
    recipient.

    Examples:

      greyd release --recipient bob@example.org

      greyd release --client 192.0.2.0/24 --sender example.com

      greyd release --sender alice@example.com --recipient bob@example.org --dry-run
    """
    selection = parse_selection(client, sender, recipient, _WAITING)
    if not selection.names_somebody:
        raise CommandError("select the mail by --client, --sender or --recipient")
    now = int(time.time())
    number = 0
    shown: list[StoredEntry] = []
    async with context.open_store(writable=not dry_run) as store:
        async for entries in _waiting_triplets(context, store, selection, now):
            number += len(entries)
            shown += entries[: MAX_SHOWN - len(shown)]
            if not dry_run:
                await _release_entries(store, entries, now, context.settings)
        if number and not dry_run:
            named = {"client": client, "sender": sender, "recipient": recipient}
            await record_action(
                store, context.settings, f"released {number} waiting triplets", named
            )
    _print_released(context, shown, number, dry_run=dry_run)
    return 0 if number else EXIT_NO


async def _waiting_triplets(
    context: CommandContext, store: Store, selection: Selection, now: int
) -> AsyncIterator[Sequence[StoredEntry]]:
    """Yield the waiting triplets that match the selection.

    Raises:
        CommandError: the store contains only hashes, and the selection names no single triplet.
    """
    settings = context.settings
    if settings.privacy:
        names = selection.hashed_triplets(settings)
        entries = [await _read_entry(store, name, now, settings) for name in names]
        yield [entry for entry in entries if entry and entry.state in _WAITING]
        return
    async for group in scan(store):
        entries = [interpret(record, now, settings) for record in group]
        if found := [e for e in entries if e and _is_triplet(e) and selection.matches(e, settings)]:
            yield found


async def _read_entry(store: Store, key: bytes, now: int, settings: Settings) -> StoredEntry | None:
    record = await store.get(key)
    return record and interpret(record, now, settings)


def _is_triplet(entry: StoredEntry) -> bool:
    return entry.kind.is_triplet


async def _release_entries(
    store: Store, entries: Sequence[StoredEntry], now: int, settings: Settings
) -> None:
    def rule(key: bytes, remembered: Remembered) -> tuple[None, Sequence[Change]]:
        (text,) = remembered
        return None, released(key, text, now, settings_to_release(key, settings))

    async for _ in transact_all(
        store, [StoreTransaction([e.key], partial(rule, e.key)) for e in entries]
    ):
        pass


def _print_released(
    context: CommandContext, entries: Sequence[StoredEntry], number: int, *, dry_run: bool
) -> None:
    context.print_json(
        {"released": 0 if dry_run else number, "waiting": number, "dry_run": dry_run}
    )
    if not number:
        context.print("no matching mail waits")
        return
    rows = [
        [
            *(printable(name) or "<>" for name in entry.names),
            format_timestamp(entry.first_seen),
            format_timestamp(entry.passes_at),
        ]
        for entry in entries
        if not entry.is_hidden
    ]
    if rows:
        context.print_table(
            ["client", "sender", "recipient", "first seen", "would pass from"], rows
        )
    if rows and number > len(rows):
        context.print(f"… and {number - len(rows)} more")
    context.print(f"{number} would be released" if dry_run else f"{number} released")
