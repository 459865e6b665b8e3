"""``greyd forget``: removes the entries of a client, a sender or a recipient."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.batches import delete_all
from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.entries.selection import Selection, parse_mail_address, parse_selection
from greyd.cli.errors import CommandError
from greyd.cli.server_control import record_action
from greyd.rules.control import Control, change_control, window_key
from greyd.rules.correspondence.keys import keys_to_learn
from greyd.rules.entries import EntryKind, EntryState, interpret, kind_of
from greyd.rules.names.internationalised import unicode_domain
from greyd.rules.reserved_keys import CONTROL_KEY, SHADOW_PREFIX
from greyd.store.contract import scan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry
    from greyd.rules.transaction import Change, Record, Remembered
    from greyd.store.contract import Store

    Found = Sequence[tuple[bytes, EntryKind]]


async def forget(
    context: CommandContext,
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="ADDRESS|NETWORK|NAME", help="Entries of this client."),
    ] = None,
    sender: Annotated[
        str | None,
        typer.Option("--sender", metavar="ADDRESS|DOMAIN", help="Triplets of this sender."),
    ] = None,
    recipient: Annotated[
        str | None,
        typer.Option("--recipient", metavar="ADDRESS|DOMAIN", help="Triplets of this recipient."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS|DOMAIN",
            help="All entries that name this address, as sender or recipient.",
        ),
    ] = None,
    unreadable: Annotated[
        bool,
        typer.Option(
            "--unreadable", help="Entries that greyd can't read: broken, or another program's."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count the entries, forget none.")
    ] = False,
) -> int:
    """Forget triplets, clients, or everything about an address.

    The server greylists forgotten mail again. An entry must match all options. Only --client alone
    also removes a client's count, and so its auto-whitelisting. --address is for data protection:
    it removes triplets, expect windows and actions for the log that name the address, and any other
    entry under greyd's prefix that has the address in its key or value. The exit status is 1 if no
    entry matches. With --privacy you can select one triplet by --client, --sender and --recipient,
    or one client by its address.

    Examples:

      greyd forget --address bob@example.org

      greyd forget --client 192.0.2.7

      greyd forget --sender example.com --dry-run

      greyd forget --unreadable --dry-run
    """
    settings = context.settings
    wanted = _parse_target(client, sender, recipient, address, unreadable=unreadable)
    if address is not None and settings.privacy:
        raise CommandError("--address: with --privacy the store contains only hashes, no addresses")
    counts: Counter[EntryKind] = Counter()
    async with context.open_store(writable=not dry_run) as store:
        async for found in wanted(store, settings):
            counts.update(kind for _, kind in found)
            if not dry_run:
                await delete_all(store, [key for key, _ in found])
        if address is not None and not dry_run:
            counts[EntryKind.OTHER] += await _forget_in_control(store, address, settings)
        number = counts.total()
        if number and not dry_run:
            # Leave the options out: the log must not name an address that was just forgotten.
            await record_action(store, settings, f"forgot {number} entries", {})
    _print_counts(context, counts, dry_run=dry_run)
    return 0 if number else EXIT_NO


def _parse_target(
    client: str | None,
    sender: str | None,
    recipient: str | None,
    address: str | None,
    *,
    unreadable: bool,
) -> Callable[[Store, Settings], AsyncIterator[Found]]:
    """Return the function that finds the entries to forget.

    Raises:
        CommandError: the options select nothing, or can't be combined.
    """
    named = client or sender or recipient
    if unreadable:
        if named or address is not None:
            raise CommandError("--unreadable can't be combined with other options")
        return _unreadable_entries
    if address is not None:
        if named:
            raise CommandError("--address can't be combined with other options")
        return partial(_entries_naming, address)
    selection = parse_selection(client, sender, recipient)
    if not selection.names_somebody:
        raise CommandError("select entries by --client, --sender, --recipient or --address")
    return partial(_selected_entries, selection)


async def _selected_entries(
    selection: Selection, store: Store, settings: Settings
) -> AsyncIterator[Found]:
    """Yield the selected entries, including expired ones.

    Raises:
        CommandError: the store contains only hashes, and the selection names no single entry.
    """
    if settings.privacy:
        wanted = selection.hashed_keys(settings)
        if selection.recipient:
            learnt = keys_to_learn(selection.recipient, selection.sender_as_given, settings)
            wanted += [each.key for each in learnt]
        for key in wanted:
            for each in (key, SHADOW_PREFIX + key):
                if await store.get(each) is not None:
                    yield [(each, kind_of(each))]
        return
    now = int(time.time())
    async for group in scan(store):
        yield [
            (record.key, _kind(record, entry))
            for record in group
            if (entry := _meaning(record, now, settings)) and selection.matches(entry, settings)
        ]


async def _unreadable_entries(store: Store, settings: Settings) -> AsyncIterator[Found]:
    now = int(time.time())
    async for group in scan(store):
        entries = [
            interpret(record, now, settings, expired=True, unreadable=True) for record in group
        ]
        yield [(e.key, e.kind) for e in entries if e and e.state is EntryState.UNREADABLE]


async def _entries_naming(address: str, store: Store, settings: Settings) -> AsyncIterator[Found]:
    """Yield all entries that name an address, including unreadable ones."""
    now, naming = int(time.time()), _mention_pattern(address)
    selections = [parse_selection(None, address, None), parse_selection(None, None, address)]
    async for group in scan(store):
        found = []
        for record in group:
            entry = _meaning(record, now, settings)
            if entry is None:
                continue
            is_meant = any(each.matches(entry, settings) for each in selections)
            if entry.state is EntryState.UNREADABLE:
                is_meant = is_meant or any(map(naming.search, (record.key, record.value)))
            if is_meant:
                found.append((record.key, _kind(record, entry)))
        yield found


def _meaning(record: Record, now: int, settings: Settings) -> StoredEntry | None:
    """Interpret an entry, or one of the shadow as if it were the server's own."""
    meant = record._replace(key=record.key.removeprefix(SHADOW_PREFIX))
    return interpret(meant, now, settings, expired=True, unreadable=True)


def _kind(record: Record, entry: StoredEntry) -> EntryKind:
    return EntryKind.OTHER if record.key.startswith(SHADOW_PREFIX) else entry.kind


def _mention_pattern(address: str) -> re.Pattern[bytes]:
    """Return a pattern that finds an address, or a domain with its subdomains, in a text."""
    in_ascii = parse_mail_address(address)
    local, at, domain = in_ascii.rpartition(b"@")
    forms = b"|".join(map(re.escape, {in_ascii, local + at + unicode_domain(domain)}))
    before = rb"(?<![\w.+-])" if at else rb"(?<![\w-])"
    return re.compile(before + b"(?:%b)" % forms + rb"(?![\w-]|\.\w)", re.IGNORECASE)


async def _forget_in_control(store: Store, address: str, settings: Settings) -> int:
    """Remove the expect windows and the actions that name an address from the control record."""
    now = int(time.time())
    key = window_key(address, settings)
    name = parse_mail_address(address, null=b"<>").lower().decode(errors="surrogateescape")

    def without(control: Control) -> Control:
        acts = tuple(act for act in control.acts if name not in act.what.lower())
        return replace(control.without_window(key), acts=acts)

    naming = _mention_pattern(address)

    def rule(remembered: Remembered) -> tuple[int, Sequence[Change]]:
        (text,) = remembered
        before = Control.load(text)
        after = without(before)
        gone = len(before.windows) - len(after.windows) + len(before.acts) - len(after.acts)
        # Unreadable parts may name the address too; rewriting the record drops them.
        gone = gone or int(naming.search(text or b"") is not None)
        return gone, change_control(without, now)(remembered)[1] if gone else ()

    return await store.transact([CONTROL_KEY], rule)


_KIND_NAMES = {
    EntryKind.TRIPLET: "triplets",
    EntryKind.IDENTITY_TRIPLET: "triplets of identities",
    EntryKind.CLIENT: "clients",
    EntryKind.IDENTITY: "identities",
    EntryKind.CORRESPONDENCE: "correspondences",
    EntryKind.OTHER: "expect windows, actions for the log, entries of --shadow, unreadable entries",
}


def _print_counts(context: CommandContext, counts: Counter[EntryKind], *, dry_run: bool) -> None:
    table = {kind.value.replace(" ", "_"): counts[kind] for kind in _KIND_NAMES}
    context.print_json({"dry_run": dry_run, "entries": counts.total(), **table})
    if not counts.total():
        context.print("no entry matches")
        return
    context.print_table(
        ["would be forgotten" if dry_run else "forgotten", ""],
        [[name, str(counts[kind])] for kind, name in _KIND_NAMES.items() if counts[kind]],
        numbers=[""],
    )
