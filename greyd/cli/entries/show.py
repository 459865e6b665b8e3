"""``greyd show``: all that is known of one triplet, one client, one identity, or under one key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.cpu_priority import lower_cpu_priority
from greyd.cli.entries.found_entries import FoundEntries
from greyd.cli.entries.queries import parse_query

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext


async def show(
    context: CommandContext,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLIENT [SENDER RECIPIENT] | DOMAIN | KEY]", show_default=False,
            help="The entry to show, instead of the options.",
        ),
    ] = None,
    client: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The client's address.")
    ] = None,
    sender: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The sender; <> for bounces.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The recipient.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Only look up keys; do not scan the store."),
    ] = False,
) -> int:  # fmt: skip
    """Show all that is known of one mail or one client: counts, times, the records as they stand.

    With client, sender and recipient: their triplet, the client's count, and, where identities are
    in use, those under which the same sender's mail to the recipient is known. With a client
    alone: its count, and the mail of its network. With a domain: that identity. A key is taken as
    greyd list --keys or redis-cli shows it, and as postgrey writes it.

    What no key leads to is found by a look through the store, which takes its time on a large one:
    --quick leaves that out. What would be decided of a mail, greyd explain tells. With --privacy
    only hashes are known: the triplet and the client are found by them, their neighbours are not.
    Exit status 1 says that nothing is known.

    Examples:

      greyd show 192.0.2.7 alice@example.com bob@example.org

      greyd show 192.0.2.7

      greyd show --client 192.0.2.7 --sender '<>' --recipient bob@example.org

      greyd show '{192.0.2.0}/alice@example.com/bob@example.org'
    """
    lower_cpu_priority()
    question = parse_query(what or [], client, sender, recipient)
    async with context.open_store() as store:
        found = FoundEntries(context)
        await question.answer(store, found, quick=quick)
    return found.end(question.name)
