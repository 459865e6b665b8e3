"""``greyd replay``: simulates other settings with the mail of a log."""

from __future__ import annotations

import gc
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.errors import CommandError
from greyd.cli.replay.other_settings import print_limits, read_other_settings
from greyd.config.durations import parse_duration
from greyd.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from greyd.cli.context import CommandContext
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.replay.simulation import Simulation
    from greyd.dns.resolver import Resolver
    from greyd.maillog.attempts import Attempt, AttemptStatistics
    from greyd.whitelist.matcher import Whitelists

_BATCH = 1000


async def replay(
    context: CommandContext,
    logs: Annotated[
        list[str],
        typer.Argument(metavar="LOG", help="Mail logs, compressed or not; - is standard input."),
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=VALUE",
            help="Set another value, e.g. delay=60; may be repeated.",
        ),
    ] = None,
    warm_up: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="Simulate the beginning of the log without counting it."
        ),
    ] = "0",
    dns: Annotated[
        bool,
        typer.Option("--dns", help="Look clients up in today's DNS."),
    ] = False,
    top: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="Senders in each list.")
    ] = 5,
) -> None:
    """Simulate how other settings would have treated the mail of a log.

    The command replays the mail, in simulated time, on a server with today's settings and on one
    with other settings, each with its own store. It shows the results side by side: how much mail
    waits and for how long, and how much mail would pass that never came back, which is probably
    spam. It reads only the real server's settings, and writes nothing.

    It reads logs of greyd and postgrey, or of Postfix alone. docs/what-if.md describes the
    simulation of senders and its limits.

    Examples:

      greyd replay /var/log/mail.log --with delay=60

      greyd replay /var/log/mail.log.1 /var/log/mail.log --warm-up=1d --with identity=name

      greyd replay /var/log/mail.log --with preset=recommended --dns
    """
    from greyd.cli.replay.json_document import as_json
    from greyd.cli.replay.results import largest_differences
    from greyd.cli.replay.text import print_simulation
    from greyd.maillog.attempts import AttemptStatistics

    warm_up_seconds = _duration("--warm-up", warm_up)
    changes = changes or []
    settings = [context.settings]
    if changes:
        settings.append(read_other_settings(context.settings, changes, dns=dns))
    print_limits(settings, dns=dns)
    statistics = AttemptStatistics()
    resolver = _resolver(settings[-1]) if dns else None
    try:
        simulation, collectors = _prepare(settings, warm_up_seconds, resolver)
        await _replay(context, logs, simulation, collectors, statistics)
    finally:
        if resolver is not None:
            await resolver.close()
    _require_mail(simulation, statistics, logs)
    differences = largest_differences(simulation.origins.items(), top)
    if context.as_json:
        context.print_json(as_json(simulation, statistics, changes, differences))
    else:
        print_simulation(context, simulation, statistics, changes, differences)


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
    from greyd.cli.replay.simulated_server import SimulatedServer
    from greyd.cli.replay.simulation import Simulation

    servers, collectors = [], []
    for settings in all_settings:
        whitelists = _whitelists(
            settings.whitelist_clients,
            settings.whitelist_recipients,
            settings.list_override,
            settings.whitelist_senders,
            settings.never_auto_whitelist,
        )
        servers.append(SimulatedServer(settings, whitelists))
        collectors.append(ReplayEvidenceCollector(settings, whitelists, resolver))
    return Simulation(servers, warm_up_seconds), collectors


@cache
def _whitelists(
    clients: tuple[Path, ...],
    recipients: tuple[Path, ...],
    override: tuple[Path, ...],
    senders: tuple[Path, ...],
    never_auto: tuple[Path, ...],
) -> Whitelists:
    """Read whitelists; cache them, so that servers with the same files share them.

    Raises:
        CommandError: a file cannot be read.
    """
    from greyd.cli.replay.simulated_server import CachingWhitelists
    from greyd.whitelist.files import read_whitelist_files

    files = read_whitelist_files(
        Settings(
            whitelist_clients=clients,
            whitelist_recipients=recipients,
            list_override=override,
            whitelist_senders=senders,
            never_auto_whitelist=never_auto,
        )
    )
    for error in files.errors:
        raise CommandError(f"whitelist {error}")
    return CachingWhitelists(files.whitelists())


def _resolver(settings: Settings) -> Resolver:
    from greyd.dns.lists.zones import list_zones
    from greyd.dns.resolver import Resolver

    return Resolver(settings.resolvers, settings.dns_timeout_seconds, zones=list_zones(settings))


async def _replay(
    context: CommandContext,
    logs: Sequence[str],
    simulation: Simulation,
    collectors: Sequence[ReplayEvidenceCollector],
    statistics: AttemptStatistics,
) -> None:
    """Read the logs, and replay their attempts in the simulation."""
    from greyd.maillog.attempts import PROGRAMS, attempts_in
    from greyd.maillog.lines import ReadStatistics
    from greyd.maillog.reader import read_lines, total_bytes

    programs = (*PROGRAMS, context.settings.syslog_ident.encode())
    with context.progress_bar("replaying", total_bytes(logs)) as advance:
        lines = read_lines(logs, programs=programs, statistics=ReadStatistics(on_bytes=advance))
        await _replay_attempts(simulation, collectors, attempts_in(lines, statistics))


async def _replay_attempts(
    simulation: Simulation,
    collectors: Sequence[ReplayEvidenceCollector],
    attempts: Iterator[Attempt],
) -> None:
    # The simulation makes no reference cycles, and a collection of millions of records is slow.
    gc.disable()
    try:
        while batch := list(islice(attempts, _BATCH)):
            for collector in collectors:
                await collector.look_up(batch)
            for attempt in batch:
                simulation.replay(attempt, [each.evidence_for(attempt) for each in collectors])
        simulation.finish()
    finally:
        gc.enable()


def _require_mail(
    simulation: Simulation, statistics: AttemptStatistics, logs: Sequence[str]
) -> None:
    if simulation.mails:
        return
    if simulation.first:
        raise CommandError("all mail of the log is within --warm-up; make it shorter")
    why = f": {statistics.undated_count} lines have no date" if statistics.undated_count else ""
    raise CommandError(f"{', '.join(logs)}: no decisions of greyd or postgrey, no mail{why}")
