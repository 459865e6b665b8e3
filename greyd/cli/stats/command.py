"""``greyd stats``: what is stored, what happens, and whether servers and store are well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.batches import lower_cpu_priority
from greyd.cli.context import EXIT_ERROR, EXIT_NO, CommandContext
from greyd.cli.stats.overview import Overview, StoreView, servers_on_paper, store_on_paper
from greyd.cli.stats.server_option import Servers  # noqa: TC001 - typer reads it at run time
from greyd.cli.stats.tally import Tally
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
            "--names", metavar="N", min=0, max=1000, help="Clients and recipients that are named."
        ),
    ] = 10,
    most: Annotated[
        int | None,
        typer.Option(
            "--most", metavar="N", min=0,
            help="Look at so many entries of the store at most: the newest (SQLite) or some"
            " (Redis); 0 at none. By default at all.",
        ),
    ] = None,
) -> int:  # fmt: skip
    """Show what is stored, what happens, and whether servers and store are well.

    The servers tell, at their metrics ports, what they decided in the last minute, hour and day; if
    there are several, it is added up. The store is looked through: who waits now, what has passed,
    what never returned, which clients are known. That takes a second for each 30,000 entries or so,
    of which half is a rest for the mail.

    A server that does not answer is a line; the others and the store are shown all the same. Exit
    status 1 says that one of them is not well, 2 that nothing could be shown. With --privacy only
    hashes are stored, so that nobody is named.

    Examples:

      greyd stats

      greyd stats --server http://mx1:9923 --server http://mx2:9923

      greyd stats --most 100000 --json
    """
    lower_cpu_priority()
    addresses = metrics_addresses(server or [], context.settings.metrics)
    view = Overview(StoreView(context.store_url), privacy=context.settings.privacy)
    if not addresses:
        print_error("no server is asked, as --metrics=0 is set: only the store is looked at")
    view.heard = await fetch_all_stats(addresses)
    context.print(*servers_on_paper(view))
    await _look_at_store(context, view, most)
    context.print(*store_on_paper(view, names))
    context.print_json(view.dump(names))
    if not view.figures and view.store.fault:
        return EXIT_ERROR
    return 0 if view.is_well else EXIT_NO


async def _look_at_store(context: CommandContext, view: Overview, most: int | None) -> None:
    try:
        async with context.store() as store:
            await view.store.measure(store)
            if most != 0:
                view.store.tally = await _count(context, store, view.store, most)
    except UnusableStoreError:
        raise
    except StoreError as error:
        view.store.fault = str(error)


async def _count(context: CommandContext, store: Store, view: StoreView, most: int | None) -> Tally:
    """Look through the store."""
    tally = Tally()
    rough = view.size.entries if view.size else None
    total = min(rough, most) if rough is not None and most else rough
    with context.progress_bar("looking through the store", total) as done:
        async for records in scan(store):
            wanted = records if most is None else records[: most - tally.looked_at]
            tally.add(wanted, context.settings)
            done(len(wanted))
            if len(wanted) < len(records):
                return tally
    tally.complete = True
    return tally
