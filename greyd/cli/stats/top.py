"""``greyd top``: shows ``greyd stats`` live."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import termios
import time
import tty
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import CommandContext, option_seconds
from greyd.cli.cpu_priority import lower_cpu_priority
from greyd.cli.errors import CommandError
from greyd.cli.stats.display import render_screen
from greyd.cli.stats.entry_counts import NamedEntryCounts
from greyd.cli.stats.overview import Overview, StoreStatus
from greyd.cli.stats.server_option import Servers  # noqa: TC001 - typer reads it at run time
from greyd.monitoring.combined_stats import counts_between
from greyd.monitoring.stats_client import (
    FetchedStats,
    MetricsAddress,
    fetch_all_stats,
    metrics_addresses,
)
from greyd.monitoring.store.summary import SHARE
from greyd.store.contract import scan
from greyd.store.errors import StoreError, UnusableStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.live import Live

    from greyd.monitoring.stats import Counts


_NAMES_FOR_PROGRAMS = 10
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def top(
    context: CommandContext,
    server: Servers = None,
    every: Annotated[
        str, typer.Option(metavar="DURATION", help="Time between refreshes.")
    ] = "2s",
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=0, help="Refreshes; 0: unlimited.")
    ] = 0,
) -> None:  # fmt: skip
    """Show decisions, waiting mail, servers and store live.

    Press q or Ctrl-C to end. The command scans the store continually, at a fifth of the possible
    speed so as not to delay mail. Until the first scan ends, the counts are incomplete.

    With --json, or if standard output is not a terminal, each refresh is one line of JSON.

    Examples:

      greyd top

      greyd top --every 10s --server http://mx1:9923 --server http://mx2:9923

      greyd top --json --every 1m --count 60
    """
    lower_cpu_priority()
    pause = option_seconds(every, "--every")
    if not 1 <= pause <= 86400:
        raise CommandError(f"--every={every}: expected a duration from 1s to 1d")
    watch = _LiveDisplay(
        context, metrics_addresses(server or [], context.settings.metrics), pause, count
    )
    await watch.run()


@dataclass
class _LiveDisplay:
    """Fetches and shows the statistics repeatedly, until a signal or key stops it."""

    context: CommandContext
    addresses: list[MetricsAddress]
    pause: int
    count: int
    _before: dict[str, FetchedStats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._view = Overview(StoreStatus(self.context.store_url), self.context.settings)
        self._stop = asyncio.Event()
        self._seen_once = asyncio.Event()

    async def run(self) -> None:
        """Run until the number of refreshes is reached, or a signal or key arrives."""
        loop = asyncio.get_running_loop()
        for number in _STOPS:
            loop.add_signal_handler(number, self._stop.set)
        scanning = asyncio.create_task(self._scan_store())
        try:
            if self.context.as_json or not sys.stdout.isatty():
                await self._write_lines()
            else:
                await self._show()
        finally:
            scanning.cancel()
            await asyncio.wait([scanning])
            for number in _STOPS:
                loop.remove_signal_handler(number)
        if scanning.done() and not scanning.cancelled():
            scanning.result()

    # The servers and the store ------------------------------------------------------------------

    async def _ask_servers(self) -> None:
        heard = await fetch_all_stats(self.addresses)
        now: dict[str, Counts] = {}
        for each in heard:
            before = self._before.get(each.address.url)
            if each.stats and before and before.stats:
                counts = counts_between(before.stats, each.stats)
                now |= {each.address.url: counts} if counts else {}
            self._before[each.address.url] = each
        self._view.heard, self._view.now = heard, now

    async def _scan_store(self) -> None:
        """Scan the store repeatedly until cancelled."""
        view = self._view.store
        while True:
            started = time.monotonic()
            try:
                async with self.context.open_store() as store:
                    await view.measure(store)
                    tally = NamedEntryCounts()
                    if view.tally is None or not view.tally.complete:
                        view.tally = tally
                    async for records in scan(store, SHARE):
                        tally.add_all(records, self.context.settings)
                tally.complete = True
                view.tally, view.fault = tally, ""
            except UnusableStoreError:
                raise
            except StoreError as error:
                view.fault = str(error)
            self._seen_once.set()
            await asyncio.sleep(max(self.pause - (time.monotonic() - started), 0.1))

    # For programs -------------------------------------------------------------------------------

    async def _write_lines(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._seen_once.wait(), self.pause)
        written = 0
        while not self._stop.is_set():
            await self._ask_servers()
            sys.stdout.write(json.dumps(self._view.dump(_NAMES_FOR_PROGRAMS)) + "\n")
            sys.stdout.flush()
            written += 1
            if written == self.count:
                return
            await self._rest()

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self.pause)

    # For people ---------------------------------------------------------------------------------

    async def _show(self) -> None:
        from rich.live import Live

        # Rich prefers these variables to the terminal's size, but a resize does not change them.
        for name in ("COLUMNS", "LINES"):
            os.environ.pop(name, None)
        loop = asyncio.get_running_loop()
        shown = 0
        with (
            _unbuffered_keys(),
            Live(console=self.context.console, screen=True, auto_refresh=False) as live,
        ):
            if sys.stdin.isatty():
                loop.add_reader(sys.stdin, self._take_key)
            loop.add_signal_handler(signal.SIGWINCH, self._draw, live)
            try:
                while not self._stop.is_set() and (not self.count or shown < self.count):
                    await self._ask_servers()
                    self._draw(live)
                    shown += 1
                    await self._rest()
            finally:
                loop.remove_signal_handler(signal.SIGWINCH)
                if sys.stdin.isatty():
                    loop.remove_reader(sys.stdin)

    def _take_key(self) -> None:
        typed = os.read(sys.stdin.fileno(), 100)
        # No input: the terminal is closed.
        if not typed or b"q" in typed.lower():
            self._stop.set()

    def _draw(self, live: Live) -> None:
        from rich.console import Group
        from rich.text import Text

        height = live.console.size.height
        head = Text(time.strftime("greyd top  %Y-%m-%d %H:%M:%S  ") + "q ends", "bold")
        # One line too many would scroll the first one off the screen.
        parts = render_screen(self._view, height - 2)
        live.update(Group(head, parts), refresh=True)


@contextlib.contextmanager
def _unbuffered_keys() -> Iterator[None]:
    """Let the terminal deliver each key at once, without echo; Ctrl-C still interrupts."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
