"""``greyd show``: shows a triplet, a client, an address, a domain or a key in detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.cpu_priority import lower_cpu_priority
from greyd.cli.entries.found_entries import MAX_OTHERS, FoundEntries
from greyd.cli.entries.list import default_limit
from greyd.cli.entries.queries import parse_query
from greyd.cli.entries.table import entry_columns
from greyd.cli.tables.limit import Limit  # noqa: TC001 - typer reads it at run time
from greyd.cli.tables.sorting import Sort, parse_sort
from greyd.cli.tables.watch import Watch
from greyd.cli.tables.watch import watch as repeat

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext


async def show(
    context: CommandContext,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CLIENT [SENDER RECIPIENT] | ADDRESS | DOMAIN | KEY]", show_default=False,
            help="What to show, instead of options.",
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(metavar="CLIENT", help="The client: an address, a network or a name."),
    ] = None,
    sender: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The sender; <> for bounces.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The recipient.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Do not scan the store."),
    ] = False,
    limit: Limit = None,
    sort: Sort = None,
    watch: Watch = None,
) -> int:  # fmt: skip
    """Show what is stored about a mail, client, address or domain.

    For a client, a sender and a recipient, it shows their triplet, the client's count and, with
    --identity, the identities of the same sender's mail to the recipient. For a client's address,
    network or name, it shows the client's count or identity and the mail of the client. For a mail
    address or a domain, it shows what waits, has passed and never returned, as sender and as
    recipient, the identities and correspondences, and what is expected. For a key, written as by
    greyd list --keys, redis-cli or postgrey, it shows that entry.

    A scan of the store finds the entries whose key is not known, which takes a while on a large
    store; --quick omits it. Of the entries that a scan finds, the table has the 100 last seen, on a
    terminal as many as fit; --limit and --sort select others, as in greyd list. greyd explain shows
    how the server would decide. With --privacy the store contains only hashes: the command finds
    triplet, client, identity and expected mail by the hash of what you give, but no other mail. The
    exit status is 1 if nothing is found.

    Examples:

      greyd show 192.0.2.7 alice@example.com bob@example.org

      greyd show 192.0.2.7

      greyd show alice@example.com

      greyd show example.com --sort=passes-at --limit=20

      greyd show --client 192.0.2.7 --sender '<>' --recipient bob@example.org

      greyd show '{192.0.2.0}/alice@example.com/bob@example.org'
    """
    lower_cpu_priority()
    question = parse_query(what or [], client, sender, recipient)

    order = parse_sort(sort, entry_columns(context.settings)) if sort else None
    # On a terminal the counts above the table stay in view, too.
    usual_limit = MAX_OTHERS if context.as_json else min(default_limit(context.console), MAX_OTHERS)

    async def print_answer() -> int:
        found = FoundEntries(context, usual_limit if limit is None else limit, order)
        async with context.open_store() as store:
            await question.answer(store, found, quick=quick)
        return found.end(question.name)

    return await (print_answer() if watch is None else repeat(watch, print_answer, context.console))
