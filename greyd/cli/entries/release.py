"""``greyd release``: lets the next attempt of waiting mail pass."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.batches import StoreTransaction, transact_all
from greyd.cli.context import EXIT_NO, CommandContext
from greyd.cli.entries.confirmation import DryRun, Yes, confirm
from greyd.cli.entries.selection import Selection, parse_selection
from greyd.cli.entries.table import display_names
from greyd.cli.errors import CommandError
from greyd.cli.server_control import record_action
from greyd.rules.entries import EntryState, interpret
from greyd.rules.records import Triplet
from greyd.rules.site_rules.recipient_settings import settings_to_release
from greyd.rules.triplets import ReleaseOutcome
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
    dry_run: DryRun = False,
    yes: Yes = False,
) -> int:
    """Let the next attempt of waiting mail pass.

    A triplet must match all options. The mail itself is still in its sender's queue. It arrives at
    the sender's next attempt, which greyd can't hasten. Mail that was released before, or has
    waited for its delay, is reported and left as it is. If the command would release more than 20
    triplets, it asks first. The exit status is 1 if no matching mail waits. With --privacy you can
    release one triplet, by its client's address, its sender and its recipient.

    Examples:

      greyd release --recipient bob@example.org

      greyd release --client 192.0.2.0/24 --sender example.com

      greyd release --sender alice@example.com --recipient bob@example.org --dry-run
    """
    selection = parse_selection(client, sender, recipient, _WAITING)
    if not selection.names_somebody:
        raise CommandError("select the mail by --client, --sender or --recipient")
    now = int(time.time())
    settings = context.settings
    async with context.open_store(writable=not dry_run) as store:
        found = [
            entry
            async for entries in _waiting_triplets(context, store, selection, now)
            for entry in entries
        ]
        outcomes = [_outcome(entry, now, settings) for entry in found]
        if not dry_run:
            due = [
                entry
                for entry, outcome in zip(found, outcomes, strict=True)
                if outcome is ReleaseOutcome.RELEASED
            ]
            confirm(context, len(due), f"release {len(due)} waiting triplets", yes=yes)
            outcomes = await _release_entries(store, found, settings)
        counts = Counter(outcomes)
        if (number := counts[ReleaseOutcome.RELEASED]) and not dry_run:
            named = {"client": client, "sender": sender, "recipient": recipient}
            await record_action(store, settings, f"released {number} waiting triplets", named)
    _print_released(context, list(zip(found, outcomes, strict=True)), counts, dry_run=dry_run)
    return 0 if found else EXIT_NO


def _outcome(entry: StoredEntry, now: int, settings: Settings) -> ReleaseOutcome:
    """Return the outcome that a release of an entry would have."""
    assert isinstance(entry.record, Triplet)  # noqa: S101 - only triplets wait
    own = settings_to_release(entry.key, settings)
    return released(entry.key, entry.record.dump(), now, own)[0]


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
    store: Store, entries: Sequence[StoredEntry], settings: Settings
) -> list[ReleaseOutcome]:
    """Release triplets, each in a transaction of its own that sees what servers changed."""

    def rule(
        key: bytes, remembered: Remembered
    ) -> tuple[tuple[bytes, ReleaseOutcome], Sequence[Change]]:
        (text,) = remembered
        outcome, changes = released(key, text, int(time.time()), settings_to_release(key, settings))
        return (key, outcome), changes

    transactions = [StoreTransaction([e.key], partial(rule, e.key)) for e in entries]
    outcomes: dict[bytes, ReleaseOutcome] = {}
    async for answers in transact_all(store, transactions):
        outcomes.update(answers)
    return [outcomes[entry.key] for entry in entries]


_SENTENCES = {
    ReleaseOutcome.ALREADY_RELEASED: "{} released already: the sender's next attempt passes",
    ReleaseOutcome.DELAY_OVER: "{} not released: the delay is over, the next attempt passes",
    ReleaseOutcome.NOT_WAITING: "{} passed or expired in the meantime",
}


def _print_released(
    context: CommandContext,
    entries: Sequence[tuple[StoredEntry, ReleaseOutcome]],
    counts: Counter[ReleaseOutcome],
    *,
    dry_run: bool,
) -> None:
    number = counts[ReleaseOutcome.RELEASED]
    context.print_json(
        {
            "released": 0 if dry_run else number,
            "waiting": len(entries) - counts[ReleaseOutcome.NOT_WAITING],
            "dry_run": dry_run,
            **({"would_release": number} if dry_run else {}),
            "already_released": counts[ReleaseOutcome.ALREADY_RELEASED],
            "delay_over": counts[ReleaseOutcome.DELAY_OVER],
        }
    )
    if not entries:
        context.print("no matching mail waits")
        return
    rows = [
        [
            *display_names(entry, context.settings),
            format_timestamp(entry.first_seen),
            _passes_from(entry, outcome),
        ]
        for entry, outcome in entries
        if not entry.is_hidden
    ]
    if rows:
        context.print_table(
            ["client", "sender", "recipient", "first seen", "would pass from"], rows[:MAX_SHOWN]
        )
    if len(rows) > MAX_SHOWN:
        context.print(f"… and {len(rows) - MAX_SHOWN} more")
    context.print(f"{number} would be released" if dry_run else f"{number} released")
    for outcome, sentence in _SENTENCES.items():
        if counts[outcome]:
            context.print(sentence.format(counts[outcome]))


def _passes_from(entry: StoredEntry, outcome: ReleaseOutcome) -> str:
    if outcome is ReleaseOutcome.ALREADY_RELEASED:
        return f"its next attempt, since {format_timestamp(entry.passes_at)}"
    return format_timestamp(entry.passes_at)
