"""``greyd forget``: removes what is remembered of a client, a sender, a recipient."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.admin import NO, Admin, AdminError, command, delete_all, note_act
from greyd.admin.selection import Selection, select
from greyd.control import CONTROL_KEY, Control, change_control, window_key
from greyd.entries import Kind, kind_of, understand
from greyd.greylist import correspondence_key
from greyd.store import walk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from greyd.greylist import Change
    from greyd.settings import Settings
    from greyd.store import Remembered, Store

    Found = Sequence[tuple[bytes, Kind]]


@command
async def forget(
    admin: Admin,
    client: Annotated[
        str | None,
        typer.Option(
            "--client", metavar="ADDRESS|NETWORK|NAME", help="What is known of this client."
        ),
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
            help="Everything about this address, as a sender and as a recipient.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only count what would be forgotten.")
    ] = False,
) -> int:
    """Forget triplets, clients, and everything about an address.

    Mail of whom is forgotten waits once more. What is selected by several options has to fit all of
    them; a client's count and its auto-whitelisting go with --client alone. --address is for data
    protection: triplets, windows and notes for the log that name it, as sender or recipient. Exit
    status 1 where nothing is known. With --privacy only one triplet, by --client, --sender and
    --recipient, or one client's count, by its address, can be found.

    Examples:

      greyd forget --address bob@example.org

      greyd forget --client 192.0.2.7

      greyd forget --sender example.com --dry-run
    """
    settings = admin.settings
    if address is not None and (client or sender or recipient):
        raise AdminError("--address stands alone: it is everything about an address")
    selections = _selections(client, sender, recipient, address)
    if address is not None and settings.privacy:
        raise AdminError("--address: with --privacy only hashes are stored, which name nobody")
    counts: Counter[Kind] = Counter()
    async with admin.store() as store:
        async for found in _found(store, selections, settings):
            counts.update(kind for _, kind in found)
            if not dry_run:
                await delete_all(store, [key for key, _ in found])
        if address is not None and not dry_run:
            counts[Kind.OTHER] += await _forget_told(store, address, settings)
        number = counts.total()
        if number and not dry_run:
            # The log is not to name whom the store has just forgotten.
            await note_act(store, settings, f"forgot {number} entries", {})
    _show(admin, counts, dry_run=dry_run)
    return 0 if number else NO


def _selections(
    client: str | None, sender: str | None, recipient: str | None, address: str | None
) -> list[Selection]:
    if address is not None:
        return [select(None, address, None), select(None, None, address)]
    selection = select(client, sender, recipient)
    if not selection.names_somebody:
        raise AdminError("name whom: --client, --sender, --recipient, or --address")
    return [selection]


async def _found(
    store: Store, selections: Sequence[Selection], settings: Settings
) -> AsyncIterator[Found]:
    """Go through what is selected, expired or not: nothing is to be left of it.

    Raises:
        AdminError: only hashes are stored, and nothing is named that has one.
    """
    if settings.privacy:
        selection = selections[0]
        wanted = selection.hashed_keys(settings)
        if selection.recipient:
            wanted.append(correspondence_key(selection.sender, selection.recipient, settings))
        for key in wanted:
            if (record := await store.get(key)) is not None:
                yield [(key, kind_of(record.key))]
        return
    now = int(time.time())
    async for group in walk(store):
        entries = [understand(record, now, settings, expired=True) for record in group]
        yield [
            (entry.key, entry.kind)
            for entry in entries
            if entry and any(each.takes(entry, settings) for each in selections)
        ]


async def _forget_told(store: Store, address: str, settings: Settings) -> int:
    """Forget the windows for an address, and what waits for the log and names it."""
    now = int(time.time())
    key, name = window_key(address, settings), address.lower()

    def without(control: Control) -> Control:
        acts = tuple(act for act in control.acts if name not in act.what.lower())
        return control.without_window(key)._replace(acts=acts)

    def rule(remembered: Remembered) -> tuple[int, Sequence[Change]]:
        before = Control.load(remembered[0])
        after = without(before)
        gone = len(before.windows) - len(after.windows) + len(before.acts) - len(after.acts)
        return gone, change_control(without, now)(remembered)[1] if gone else ()

    return await store.transact([CONTROL_KEY], rule)


_NAMES = {
    Kind.TRIPLET: "triplets",
    Kind.IDENTITY_TRIPLET: "triplets of identities",
    Kind.CLIENT: "clients",
    Kind.IDENTITY: "identities",
    Kind.CORRESPONDENCE: "correspondences",
    Kind.OTHER: "windows and notes for the log",
}


def _show(admin: Admin, counts: Counter[Kind], *, dry_run: bool) -> None:
    table = {kind.value.replace(" ", "_"): counts[kind] for kind in _NAMES}
    admin.tell_json({"dry_run": dry_run, "entries": counts.total(), **table})
    if not counts.total():
        admin.tell("nothing is known that fits")
        return
    admin.table(
        ["would be forgotten" if dry_run else "forgotten", ""],
        [[name, str(counts[kind])] for kind, name in _NAMES.items() if counts[kind]],
        numbers=[""],
    )
