"""``greyd replay``: simulates other settings with the mail of a log."""

from __future__ import annotations

import gc
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from greyd.cli.context import EXIT_ERROR
from greyd.cli.errors import CommandError
from greyd.cli.replay.other_settings import print_limits, read_other_settings
from greyd.cli.usual_logs import USUAL_LOGS, choose_logs, source_name
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
    from greyd.maillog.statistics import ReadStatistics
    from greyd.whitelist.matcher import Whitelists

_BATCH = 1000


async def replay(
    context: CommandContext,
    logs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LOG]...",
            help="Mail logs, compressed or not; - is standard input. Default: this machine's mail"
            " log or the journal.",
            show_default=False,
        ),
    ] = None,
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
) -> int:
    """Simulate other settings on the mail of a log.

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
    from greyd.cli.not_read import NotRead
    from greyd.cli.replay.json_document import as_json
    from greyd.cli.replay.results import largest_differences
    from greyd.cli.replay.text import print_simulation
    from greyd.maillog.attempts import AttemptStatistics
    from greyd.maillog.statistics import ReadStatistics

    warm_up_seconds = _duration("--warm-up", warm_up)
    sources = list(logs) if logs else choose_logs(USUAL_LOGS, 0.0, "replay")
    changes = changes or []
    settings = [context.settings]
    if changes:
        settings.append(read_other_settings(context.settings, changes, dns=dns))
    print_limits(settings, dns=dns)
    statistics, read = AttemptStatistics(), ReadStatistics()
    resolver = _resolver(settings[-1]) if dns else None
    try:
        simulation, collectors = _prepare(settings, warm_up_seconds, resolver)
        await _replay(context, sources, read, simulation, collectors, statistics)
    finally:
        if resolver is not None:
            await resolver.close()
    not_read = NotRead.of(read)
    not_read.print_errors()
    _require_mail(simulation, statistics, read)
    differences = largest_differences(simulation.origins.items(), top)
    if context.as_json:
        context.print_json(as_json(simulation, statistics, not_read, changes, differences))
    else:
        print_simulation(context, simulation, statistics, changes, differences)
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
    sources: Sequence[str],
    read: ReadStatistics,
    simulation: Simulation,
    collectors: Sequence[ReplayEvidenceCollector],
    statistics: AttemptStatistics,
) -> None:
    """Read the logs, and replay their attempts in the simulation."""
    from greyd.maillog.attempts import attempts_in
    from greyd.maillog.reader import read_lines, total_bytes

    with context.progress_bar("replaying", total_bytes(sources)) as advance:
        read.on_bytes = advance
        lines = read_lines(sources, statistics=read)
        await _replay_attempts(simulation, collectors, attempts_in(lines, statistics, read))


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
    simulation: Simulation, statistics: AttemptStatistics, read: ReadStatistics
) -> None:
    from greyd.maillog.sources.contents import describe

    if simulation.mails:
        return
    if simulation.first:
        raise CommandError("all mail of the log is within --warm-up; make it shorter")
    why = [f"{source_name(path)}: {describe(sample)}" for path, sample in read.samples.items()]
    if statistics.undated_count:
        why.insert(0, f"{statistics.undated_count} lines have no date")
    raise CommandError(f"no decisions of greyd or postgrey, no mail: {'; '.join(why)}")
