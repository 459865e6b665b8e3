"""``greyd list``: lists the entries of the store."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import CommandContext, option_seconds
from greyd.cli.cpu_priority import lower_cpu_priority
from greyd.cli.entries.listing import Listing
from greyd.cli.entries.search.key_texts import MIN_FILTERED_ENTRIES, texts_of_selection
from greyd.cli.entries.search.typed_word import parse_what
from greyd.cli.entries.selection import parse_selection
from greyd.cli.entries.table import entry_columns
from greyd.cli.tables.sorting import Sort, parse_sort
from greyd.cli.tables.watch import Watch
from greyd.cli.tables.watch import watch as repeat
from greyd.rules.entries import EntryState
from greyd.store.contract import scan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from rich.console import Console

    from greyd.cli.entries.selection import Selection
    from greyd.config.settings import Settings
    from greyd.dns.lookup import Lookup
    from greyd.rules.transaction import Record
    from greyd.store.contract import Store


DEFAULT_LIMIT = 1000
"""The limit without ``--limit`` in a pipe; with ``--json`` the default is unlimited."""

MIN_SHOWN_ENTRIES = 5
"""The number of entries that a terminal shows at least, however few lines it has."""

MIN_TABLE_WIDTH = 70
"""Below this width, in cells, an entry has about ``CARD_LINES`` lines."""

CARD_LINES = 3

_OTHER_LINES = 6
"""The lines for the heading, pools of networks, the last message and the prompt."""


async def list_entries(
    context: CommandContext,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLIENT | ADDRESS | DOMAIN]",
            show_default=False,
            help="What to list, instead of options.",
        ),
    ] = None,
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
            help="Most entries to show; 0 for all. Default: what fits the terminal;"
            f" {DEFAULT_LIMIT} in a pipe; all with --json.",
        ),
    ] = None,
    with_keys: Annotated[
        bool, typer.Option("--keys", help="Show keys instead of names.")
    ] = False,
    sort: Sort = None,
    watch: Watch = None,
) -> int:  # fmt: skip
    """List entries: waiting, passed, never returned; clients.

    An entry must match all selecting options. With several states, it must have one of them.

    The most recently seen entries come first. In a large store, these come from the newest entries
    in SQLite, and from any entries in Redis; --sort scans the whole store. It sorts by any
    column: state, last-seen, passes-at, client, sender, recipient, key; -COLUMN sorts in descending
    order. Without a limit (--limit 0) and --sort, and with --json, entries come in the order of the
    store: newest first in SQLite, none in Redis. An entry that changes during the listing may
    appear twice. The listing does not delay the server. "passes at" is computed with the server's
    delay. "no end" marks an entry without a time to live in Redis; greyd itself never writes one.

    The table fits the terminal; on a narrow one each entry has two or three lines. Mail that waits
    from several networks follows below, with the organisation of these networks and the commands
    that let the mail pass. The host names in the networks show the organisation: the command looks
    up at most 20 addresses in DNS, for at most a second. In a pipe each entry has one line with its
    full text, and nothing is looked up. With --json the output is one document, written while
    entries are found. Each entry is on its own line, so that programs can also read it line by
    line. With --privacy the store contains only hashes: name a client, a sender and a recipient, or
    one client's address. The exit status is 1 if no entry matches.

    Examples:

      greyd list --waiting

      greyd list --waiting --sort=passes-at --watch

      greyd list alice@example.com

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
    since_time = int(time.time()) - option_seconds(since, "--since") if since else 0
    selection = (
        parse_selection(client, sender, recipient, states, since_time)
        if what is None
        else parse_what(what, (client, sender, recipient), states, since_time)
    )
    order = parse_sort(sort, entry_columns(context.settings, keys=with_keys)) if sort else None
    if limit is None:
        limit = 0 if context.as_json else default_limit(context.console)

    organisations = None
    if context.console.is_terminal:
        from greyd.cli.entries.pools.organisations import NetworkOrganisations

        organisations = NetworkOrganisations(lambda: open_resolver(context.settings))

    async def show() -> int:
        async with context.open_store() as store:
            size, texts = await store.size(), tuple[bytes, ...]()
            if size.entries is None or size.entries >= MIN_FILTERED_ENTRIES:
                texts = texts_of_selection(selection, context.settings)
            found, wanted = scan(store, containing=texts), selection
            if context.settings.privacy and selection.names_somebody:
                found = _hashed_records(store, selection, context.settings)
                wanted = parse_selection(None, None, None, states, selection.since)
            listing = Listing(
                context,
                wanted,
                limit,
                organisations,
                order,
                keys=with_keys,
                is_filtered=bool(texts),
            )
            return await listing.show(found, size.entries)

    return await (show() if watch is None else repeat(watch, show, context.console))


def default_limit(console: Console) -> int:
    """Return how many entries fit the terminal; in a pipe ``DEFAULT_LIMIT``."""
    if not console.is_terminal:
        return DEFAULT_LIMIT
    lines = CARD_LINES if console.width < MIN_TABLE_WIDTH else 1
    return max(MIN_SHOWN_ENTRIES, (console.height - _OTHER_LINES) // lines)


@contextlib.asynccontextmanager
async def open_resolver(settings: Settings) -> AsyncIterator[Lookup]:
    """Open a resolver with the server's name servers."""
    # aiodns is slow to import, and only few listings need it.
    from greyd.dns.resolver import Resolver

    resolver = Resolver(settings.resolvers, settings.dns_timeout_seconds)
    try:
        yield resolver
    finally:
        await resolver.close()


async def _hashed_records(
    store: Store, selection: Selection, settings: Settings
) -> AsyncIterator[Sequence[Record]]:
    """Yield the triplet or client that a selection names, from a store of hashes.

    Raises:
        CommandError: the selection does not name a single triplet or client.
    """
    found = [await store.get(key) for key in selection.hashed_keys(settings)]
    yield [record for record in found if record is not None]
