"""``greyd replay``: simulates other settings with the mail of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR
from greyd.cli.errors import CommandError
from greyd.cli.replay.log_input import (
    AttemptReplay,
    new_resolver,
    replay_logs,
    require_mail,
    whitelists_of,
)
from greyd.cli.replay.notes import notes_after_result
from greyd.cli.replay.other_settings import limits, read_other_settings
from greyd.cli.simulation_options import (  # noqa: TC001 - typer reads them at run time
    Logs,
    LookUpClients,
    WarmUp,
)
from greyd.cli.usual_logs import USUAL_LOGS, choose_logs
from greyd.config.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.cli.context import CommandContext
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.replay.simulation import Simulation
    from greyd.config.settings import Settings
    from greyd.dns.resolver import Resolver


async def replay(
    context: CommandContext,
    logs: Logs = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=VALUE",
            help="Set another value, e.g. delay=60 or preset=recommended; may be repeated.",
        ),
    ] = None,
    warm_up: WarmUp = "0",
    dns: LookUpClients = False,
    top: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="Senders in each list.")
    ] = 5,
) -> int:
    """Simulate other settings, e.g. the preset, on a mail log.

    The command replays the mail, in simulated time, on a server with today's settings and on one
    with other settings, each with its own store. It shows the results side by side: how much mail
    waits and for how long, and how much mail would pass that never came back, which is probably
    spam. It reads only the real server's settings, and writes nothing.

    It reads logs of greyd and postgrey, or of Postfix alone. docs/what-if.md describes the
    simulation of senders and its limits.

    Examples:

      greyd replay --with preset=recommended

      greyd replay /var/log/mail.log --with delay=60

      greyd replay /var/log/mail.log.1 /var/log/mail.log --warm-up=1d --with identity=name

      greyd replay /var/log/mail.log --with preset=recommended --dns
    """
    warm_up_seconds = _duration("--warm-up", warm_up)
    with notes_after_result() as note:
        sources = list(logs) if logs else choose_logs(USUAL_LOGS, 0.0, "replay", note)
        settings = [context.settings]
        if changes:
            settings.append(read_other_settings(context.settings, changes, note, dns=dns))
        for limit in limits(settings, dns=dns):
            note(limit)
        return await _replay(
            context, sources, settings, changes or [], note,
            warm_up_seconds=warm_up_seconds, dns=dns, top=top,
        )  # fmt: skip


async def _replay(
    context: CommandContext,
    sources: Sequence[str],
    settings: Sequence[Settings],
    changes: Sequence[str],
    note: Callable[[str], None],
    *,
    warm_up_seconds: int,
    dns: bool,
    top: int,
) -> int:
    from greyd.cli.not_read import NotRead
    from greyd.cli.replay.json_document import as_json
    from greyd.cli.replay.results import largest_differences
    from greyd.cli.replay.summary import ReplaySummary
    from greyd.cli.replay.text import print_simulation
    from greyd.maillog.attempts import AttemptStatistics
    from greyd.maillog.statistics import ReadStatistics

    statistics, read = AttemptStatistics(), ReadStatistics()
    resolver = new_resolver(settings[-1]) if dns else None
    try:
        simulation, collectors = _prepare(settings, warm_up_seconds, resolver)
        consumers = [AttemptReplay(simulation, collectors)]
        await replay_logs(context, sources, read, statistics, consumers)
    finally:
        if resolver is not None:
            await resolver.close()
    not_read = NotRead.of(read)
    not_read.print_errors(note)
    require_mail(ReplaySummary.of(simulation), statistics, read)
    differences = largest_differences(simulation.origins.items(), top)
    dns_counts = [each.dns_counts for each in collectors] if dns else []
    if context.as_json:
        context.print_json(
            as_json(simulation, statistics, not_read, changes, differences, dns_counts)
        )
    else:
        print_simulation(context, simulation, statistics, changes, differences, dns_counts, note)
    return EXIT_ERROR if not_read.has_unread_files else 0


def _duration(option: str, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{option}={text}: expected {error}") from None


def _prepare(
    all_settings: Sequence[Settings], warm_up_seconds: int, resolver: Resolver | None
) -> tuple[Simulation, list[ReplayEvidenceCollector]]:
    """Return a simulation, and an evidence collector for each simulated server."""
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.replay.servers.simulated_server import SimulatedServer
    from greyd.cli.replay.simulation import Simulation

    servers, collectors = [], []
    for settings in all_settings:
        whitelists = whitelists_of(settings)
        servers.append(SimulatedServer(settings, whitelists))
        collectors.append(ReplayEvidenceCollector(settings, whitelists, resolver))
    return Simulation(servers, warm_up_seconds), collectors
