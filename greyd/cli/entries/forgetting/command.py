"""``greyd forget``: removes the entries of a client, a sender or a recipient."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.batches import delete_all
from greyd.cli.context import EXIT_ERROR, EXIT_NO, CommandContext
from greyd.cli.entries.aliases import AddressAliases
from greyd.cli.entries.confirmation import DryRun, Yes, confirm
from greyd.cli.entries.forgetting.control_record import forget_in_control
from greyd.cli.entries.forgetting.finding import (
    FoundToForget,
    find_naming,
    find_selected,
    find_unreadable,
    is_unreadable,
    shown_kind,
)
from greyd.cli.entries.forgetting.receipt import Receipt
from greyd.cli.entries.search.typed_word import parse_what
from greyd.cli.entries.selection import parse_selection
from greyd.cli.errors import CommandError
from greyd.cli.server_control import record_action
from greyd.cli.typed_address.options import read_address_or_domain
from greyd.escaping import printable_text, shell_word
from greyd.rules.entries import EntryKind
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.store.contract import Store


async def forget(
    context: CommandContext,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLIENT | ADDRESS | DOMAIN]",
            show_default=False,
            help="A client, instead of --client; an address needs an option.",
        ),
    ] = None,
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
    dry_run: DryRun = False,
    yes: Yes = False,
) -> int:
    """Forget triplets, clients, or everything about an address.

    The server greylists forgotten mail again. An entry must match all options. Only --client alone
    also removes a client's count, and so its auto-whitelisting.

    --address is for data protection. It removes the triplets that name the address in any form
    (with an extension, rewritten by forwarders and mailing lists, with the domain in UTF-8 or
    ASCII), its correspondences, even though they are hashed, expect windows, actions for the log,
    and any other entry under greyd's prefix that has the address in its key or value. For
    a domain it also removes its identities.

    The command prints what it removed. If this is more than 20 entries, it asks first. The exit
    status is 1 if no entry matches. With --privacy, name a client, a sender and a recipient, a
    sender and a recipient, or a client or identity; --address then removes only expect windows, and
    ends with status 2.

    Examples:

      greyd forget --address bob@example.org

      greyd forget --client 192.0.2.7

      greyd forget --sender example.com --dry-run

      greyd forget --unreadable --dry-run
    """
    settings = context.settings
    if what is not None:
        client = _client_of(what, (client, sender, recipient, address))
    find = _parse_target(client, sender, recipient, address, unreadable=unreadable)
    aliases = None if address is None else _parse_aliases(address)
    async with context.open_store(writable=not dry_run) as store:
        found = await find(store, settings)
        if dry_run:
            counts = Counter(shown_kind(entry) for entry in found.entries)
            receipt = Receipt(found.entries, counts, dry_run=True)
        else:
            number = len(found.entries)
            confirm(context, number, f"forget {number:,} entries", yes=yes)
            receipt = await _remove(store, found, settings)
        if aliases is not None:
            number = await forget_in_control(store, aliases, settings, dry_run=dry_run)
            receipt.counts[EntryKind.OTHER] += number
        if receipt.counts.total() and not dry_run:
            # Leave the options out: the log must not name an address that was just forgotten.
            action = f"forgot {receipt.counts.total()} entries"
            await record_action(store, settings, action, {})
    receipt.print(context, found)
    if aliases is not None and settings.privacy:
        print_error(
            "--privacy: the store has only hashes, so triplets and correspondences can't be found"
            " by one address; give --sender and --recipient together, with --client if you can"
        )
        return EXIT_ERROR
    return 0 if receipt.counts.total() else EXIT_NO


def _parse_target(
    client: str | None,
    sender: str | None,
    recipient: str | None,
    address: str | None,
    *,
    unreadable: bool,
) -> Callable[[Store, Settings], Awaitable[FoundToForget]]:
    """Return the function that finds the entries to forget.

    Raises:
        CommandError: the options select nothing, or can't be combined.
    """
    is_selected = not (client is sender is recipient is None)
    if unreadable:
        if is_selected or address is not None:
            raise CommandError("--unreadable can't be combined with other options")
        return find_unreadable
    if address is not None:
        if is_selected:
            raise CommandError("--address can't be combined with other options")
        return partial(find_naming, _parse_aliases(address))
    selection = parse_selection(client, sender, recipient)
    if not selection.names_somebody:
        raise CommandError("select entries by --client, --sender, --recipient or --address")
    return partial(find_selected, selection)


def _client_of(what: str, options: Sequence[str | None]) -> str:
    """Return the client that the argument names.

    Raises:
        CommandError: the argument is a mail address or a domain, or an option is given, too.
    """
    selection = parse_what(what, options)
    if selection.networks or selection.domain:
        return what
    word = shell_word(selection.either or selection.sender)
    if selection.sender:
        raise CommandError(f"choose: greyd forget --sender={word}, with --recipient if you can")
    raise CommandError(
        f"{printable_text(what)}: choose: greyd forget --sender={word} (the triplets of its mail),"
        f" greyd forget --recipient={word} (those of mail to it), or greyd forget --address={word}"
        " (all that names it)"
    )


def _parse_aliases(address: str) -> AddressAliases:
    return AddressAliases(read_address_or_domain(address, "--address"))


async def _remove(store: Store, found: FoundToForget, settings: Settings) -> Receipt:
    """Delete the entries; return the receipt, which counts those that were still there."""
    entries = found.entries
    if found.are_unreadable:
        # A server may have written a valid record since the scan.
        entries = [each for each in entries if await is_unreadable(store, each.key, settings)]
    counts: Counter[EntryKind] = Counter()
    by_kind: dict[EntryKind, list[bytes]] = defaultdict(list)
    for entry in entries:
        by_kind[shown_kind(entry)].append(entry.key)
    for kind, keys in by_kind.items():
        counts[kind] = await delete_all(store, keys)
    return Receipt(entries, counts, dry_run=False)
