"""``greyd status``, and ``greyd`` without a command: shows the servers that run here."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.server.choice import find_servers
from greyd.cli.server.notes import hidden_server, selecting_options
from greyd.cli.status.display import BOLD, StatusStyle, render_problems, render_store
from greyd.cli.status.server_status import Health, by_store, fetch_statuses, joint_health
from greyd.escaping import printable_text
from greyd.monitoring.health.problems import HealthProblem, ProblemLevel
from greyd.terminal import has_colours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.status.server_status import ServerStatus
    from greyd.config.running.running_servers import FoundServers

SYSTEMD = Path("/run/systemd/system")
"""The folder that exists while systemd manages the machine, see sd_booted(3)."""

UNIT_FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))
"""The folders of the service's unit, if it is installed."""

_PIPE_WIDTH = 400
_LIST_WAITING = "greyd list --waiting"


async def status(context: CommandContext) -> int:
    """Show servers, waiting mail, problems, and the next command.

    greyd without a command shows the same. For each store it shows the servers that run on this
    machine, the mode (who set it, and until when), the requests of the last hour, minute by
    minute, and the triplets that wait, which the server counts every few minutes. All numbers come
    from the running servers, which have a second to answer; the command does not open the store.

    The exit status is that of systemctl status: 0 if all servers are healthy (warnings do not
    count), 1 if one has an error or does not answer, 3 if no server runs here, 4 if a server's
    state can't be fetched.

    Examples:

      greyd

      greyd status --json

      greyd status --run-dir /run/greyd
    """
    found, faults = find_servers(context.options)
    statuses = await fetch_statuses(found.servers)
    hidden = hidden_server(found)
    health = joint_health(statuses, is_one_hidden=bool(hidden))
    problems = _problems(statuses, faults, hidden)
    selected = _selected(statuses)
    next_command = _next_command(statuses, problems, health, selected)
    context.print_json(
        {
            "time": round(time.time(), 3),
            "health": health.name.lower(),
            "servers": [each.dump() for each in statuses],
            "problems": [
                {"level": each.level.value, "text": each.text, "remedy": each.remedy}
                for each in problems
            ],
            "next": next_command,
        }
    )
    if not context.as_json:
        style = _style()
        lines = list(_lines(statuses, found, health, style))
        answers = [each.stats for each in statuses if each.stats]
        lines += render_problems(problems, next_command, style, answers)
        lines += style.row("Next", printable_text(next_command), BOLD)
        if next_command.startswith(_LIST_WAITING):
            lines += style.row("", f"a user misses mail: greyd show ADDRESS{selected}")
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    return health.value


def _style() -> StatusStyle:
    is_terminal = sys.stdout.isatty()
    encoding = sys.stdout.encoding or "utf-8"
    try:
        "●○→▁█…".encode(encoding)
        has_blocks = True
    except UnicodeEncodeError:
        has_blocks = False
    columns = shutil.get_terminal_size().columns if is_terminal or "COLUMNS" in os.environ else 0
    return StatusStyle(columns or _PIPE_WIDTH, has_colours(sys.stdout), has_blocks)


def _lines(
    statuses: Sequence[ServerStatus], found: FoundServers, health: Health, style: StatusStyle
) -> Iterator[str]:
    for number, servers in enumerate(by_store(statuses)):
        if number:
            yield ""
        yield from render_store(servers, style)
    if not statuses and health is Health.UNKNOWN:
        yield style.verdict("a server is running here, but its state can't be fetched", health)
    elif not statuses:
        yield style.verdict("no greyd server is running here", health)
        processes = " and the processes" if found.everywhere else ""
        yield from style.row("Searched", f"{', '.join(map(str, found.searched))}{processes}")


def _problems(
    statuses: Sequence[ServerStatus], faults: Sequence[str], hidden: str
) -> list[HealthProblem]:
    """Return what looks wrong, the errors first; if several servers run, with their addresses."""
    found = []
    for status in statuses:
        server = "" if len(statuses) == 1 else f"{status.server.record.address}: "
        found += [replace(each, text=f"{server}{each.text}") for each in status.problems()]
    found += [HealthProblem(ProblemLevel.WARNING, text, "greyd doctor") for text in faults]
    if hidden:
        remedy = "sudo greyd" if "sudo" in hidden else ""
        found.append(HealthProblem(ProblemLevel.WARNING, hidden, remedy))
    return sorted(found, key=lambda each: each.level is not ProblemLevel.ERROR)


def _selected(statuses: Sequence[ServerStatus]) -> str:
    """Return the options that select the first server, if the servers have several stores."""
    several = len(by_store(statuses)) > 1
    return f" {selecting_options(statuses[0].server)}" if several else ""


def _next_command(
    statuses: Sequence[ServerStatus],
    problems: Sequence[HealthProblem],
    health: Health,
    selected: str,
) -> str:
    """Return the most useful command: for the worst problem, or to see more."""
    for each in problems:
        if each.remedy:
            return each.remedy
    if health is Health.STOPPED:
        return "systemctl start greyd" if _has_unit() else "greyd serve"
    waits = any(
        each.stats and each.stats.triplets and each.stats.triplets.waiting for each in statuses
    )
    return f"{_LIST_WAITING}{selected}" if waits else f"greyd top{selected}"


def _has_unit() -> bool:
    return SYSTEMD.exists() and any((each / "greyd.service").exists() for each in UNIT_FOLDERS)
