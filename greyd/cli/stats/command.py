"""``greyd stats``: shows the servers, their decisions and the entries of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR, EXIT_NO, CommandContext
from greyd.cli.cpu_priority import lower_cpu_priority
from greyd.cli.errors import CommandError
from greyd.cli.stats.display import SORT_COLUMNS, print_servers, print_store
from greyd.cli.stats.entry_counts import NamedEntryCounts
from greyd.cli.stats.overview import Overview, StoreStatus
from greyd.cli.stats.server_option import Servers  # noqa: TC001 - typer reads it at run time
from greyd.cli.tables.sorting import Sort, parse_shared_sort
from greyd.cli.tables.watch import Watch
from greyd.cli.tables.watch import watch as repeat
from greyd.monitoring.stats_client import fetch_all_stats, metrics_addresses
from greyd.store.contract import scan
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.terminal import print_error

if TYPE_CHECKING:
    from greyd.store.contract import Store


async def stats(
    context: CommandContext,
    server: Servers = None,
    names: Annotated[
        int,
        typer.Option(
            "--names", metavar="N", min=0, max=1000, help="Clients and recipients to name."
        ),
    ] = 10,
    most: Annotated[
        int | None,
        typer.Option(
            "--most", metavar="N", min=0,
            help="Maximum number of entries to count: the newest ones in SQLite, arbitrary ones in"
            " Redis; 0 counts none. Default: all.",
        ),
    ] = None,
    sort: Sort = None,
    watch: Watch = None,
) -> int:  # fmt: skip
    """Show the servers' state and decisions, and count entries.

    The servers' metrics ports return the decisions of the last minute, hour and day; the command
    adds up those of several servers. A scan of the store counts the mail that waits, has passed or
    never returned, and the known clients. It takes about a second per 30,000 entries, half of it
    pauses in which the servers use the store.

    --sort sorts the tables that have the column. The clients and recipients are always those with
    most waiting mail.

    The command reports a server that does not answer in one line. The exit status is 1 if a server
    or the store has a fault, and 2 if the command can show nothing. With --privacy it shows no
    names, as the store contains only hashes.

    Examples:

      greyd stats

      greyd stats --server http://mx1:9923 --server http://mx2:9923

      greyd stats --most 100000 --json
    """
    lower_cpu_priority()
    order = parse_shared_sort(sort, SORT_COLUMNS) if sort else None
    if order and context.as_json:
        raise CommandError("--sort: sorts the printed tables; it has no effect with --json")
    addresses = metrics_addresses(server or [], context.settings.metrics)
    if not addresses:
        print_error("--metrics=0: no server to ask; showing only the store")

    async def show() -> int:
        view = Overview(StoreStatus(context.store_url), context.settings)
        view.heard = await fetch_all_stats(addresses)
        print_servers(context, view, order)
        await _read_store(context, view, most)
        print_store(context, view, names, order)
        context.print_json(view.dump(names))
        if not view.figures and view.store.fault:
            return EXIT_ERROR
        return 0 if view.is_well else EXIT_NO

    return await (show() if watch is None else repeat(watch, show, context.console))


async def _read_store(context: CommandContext, view: Overview, most: int | None) -> None:
    try:
        async with context.open_store() as store:
            await view.store.measure(store)
            if most != 0:
                view.store.tally = await _count_entries(context, store, view.store, most)
    except UnusableStoreError:
        raise
    except StoreError as error:
        view.store.fault = str(error)


async def _count_entries(
    context: CommandContext, store: Store, view: StoreStatus, most: int | None
) -> NamedEntryCounts:
    """Scan the store, and count its entries, at most ``most`` of them."""
    tally = NamedEntryCounts()
    rough = view.size.entries if view.size else None
    total = min(rough, most) if rough is not None and most else rough
    with context.progress_bar("scanning the store", total) as done:
        async for records in scan(store):
            wanted = records if most is None else records[: most - tally.looked_at]
            tally.add_all(wanted, context.settings)
            done(len(wanted))
            if len(wanted) < len(records):
                return tally
    tally.complete = True
    return tally
