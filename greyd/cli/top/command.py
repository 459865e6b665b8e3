"""``greyd top``: shows waiting mail, servers and decisions live, and acts on the mail."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from greyd.cli.context import CommandContext, option_seconds
from greyd.cli.cpu_priority import lower_cpu_priority
from greyd.cli.errors import CommandError
from greyd.cli.stats.server_option import Servers  # noqa: TC001 - typer reads it at run time
from greyd.monitoring.stats_client import metrics_addresses

_WITHOUT_CURSOR = ("", "dumb", "unknown")
"""Values of TERM for terminals that can't place the cursor."""


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
    """Show waiting mail and servers live, and act on the mail.

    Move through the waiting mail with the arrow keys; type / to filter it. Enter explains a mail, r
    releases it, w whitelists its client, domain or recipient, e expects mail for its recipient, and
    f forgets it; each key says what it will do and asks first. ? shows all keys; q or Ctrl-C ends.

    The list has the 1,000 mails with the latest attempts; the line above it has the total number.
    The command scans the store continually, at a fifth of the possible speed so as not to delay
    mail. Until the first scan ends, the counts are incomplete. Only what has changed is sent to the
    terminal; over a slow line, refresh less often (--every).

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
    addresses = metrics_addresses(server or [], context.settings.metrics)
    from greyd.cli.top.live_data import LiveData

    data = LiveData(context, addresses, pause)
    if context.as_json or not sys.stdout.isatty():
        from greyd.cli.top.json_lines import write_lines

        await write_lines(data, count)
        return
    if os.environ.get("TERM", "") in _WITHOUT_CURSOR:
        raise CommandError(
            f"TERM={os.environ.get('TERM', '')}: this terminal can't place the cursor; use greyd"
            " stats, greyd list, or greyd top --json"
        )
    if not sys.stdin.isatty():
        raise CommandError("standard input is not a terminal, so keys can't be read; use --json")
    from greyd.cli.top.interface.app import run

    await run(data, count)
