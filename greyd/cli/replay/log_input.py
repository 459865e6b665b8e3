"""Reads what a simulation needs: whitelists, DNS, and the attempts of a log."""

from __future__ import annotations

import gc
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.replay.progress import SimulationProgress
from greyd.cli.usual_logs import source_name
from greyd.config.settings import Settings
from greyd.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from greyd.cli.context import CommandContext
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.replay.mail_replay import MailReplay
    from greyd.dns.resolver import Resolver
    from greyd.maillog.attempts import Attempt, AttemptStatistics
    from greyd.maillog.statistics import ReadStatistics
    from greyd.whitelist.matcher import Whitelists

_BATCH = 1000


def whitelists_of(settings: Settings) -> Whitelists:
    """Read the whitelists of settings; servers with the same files share them.

    Raises:
        CommandError: a file cannot be read.
    """
    return _whitelists(
        settings.whitelist_clients,
        settings.whitelist_recipients,
        settings.list_override,
        settings.whitelist_senders,
        settings.never_auto_whitelist,
    )


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


def new_resolver(settings: Settings) -> Resolver:
    """Return a resolver for the simulated servers."""
    from greyd.dns.lists.zones import list_zones
    from greyd.dns.resolver import Resolver

    return Resolver(settings.resolvers, settings.dns_timeout_seconds, zones=list_zones(settings))


async def replay_logs(
    context: CommandContext,
    sources: Sequence[str],
    read: ReadStatistics,
    simulation: MailReplay,
    collectors: Sequence[ReplayEvidenceCollector],
    statistics: AttemptStatistics,
    others: Sequence[tuple[MailReplay, Sequence[ReplayEvidenceCollector]]] = (),
) -> None:
    """Read the logs, and replay their attempts in the simulation, and in the ``others``."""
    from greyd.maillog.attempts import attempts_in
    from greyd.maillog.reader import read_lines, total_bytes

    with context.progress_bar("replaying", total_bytes(sources)) as advance:
        progress = SimulationProgress(advance)
        read.on_bytes = progress.add_block
        lines = progress.count(read_lines(sources, statistics=read))
        attempts = attempts_in(lines, statistics, read)
        await _replay_attempts([(simulation, collectors), *others], attempts, progress)


async def _replay_attempts(
    simulations: Sequence[tuple[MailReplay, Sequence[ReplayEvidenceCollector]]],
    attempts: Iterator[Attempt],
    progress: SimulationProgress,
) -> None:
    # The simulation makes no reference cycles, and a collection of millions of records is slow.
    gc.disable()
    try:
        while batch := list(islice(attempts, _BATCH)):
            for simulation, collectors in simulations:
                for collector in collectors:
                    await collector.look_up(batch)
                for attempt in batch:
                    evidence = [each.evidence_for(attempt) for each in collectors]
                    simulation.replay(attempt, evidence)
            progress.show()
        for simulation, _ in simulations:
            simulation.finish()
    finally:
        gc.enable()


def require_mail(
    simulation: MailReplay, statistics: AttemptStatistics, read: ReadStatistics
) -> None:
    """Make sure that a simulation has replayed mail.

    Raises:
        CommandError: it has not; the message says what the logs contain.
    """
    from greyd.maillog.sources.contents import describe

    if simulation.mails:
        return
    if simulation.first:
        raise CommandError("all mail of the log is within --warm-up; make it shorter")
    why = [f"{source_name(path)}: {describe(sample)}" for path, sample in read.samples.items()]
    if statistics.undated_count:
        why.insert(0, f"{counted(statistics.undated_count, 'line has', 'lines have')} no date")
    raise CommandError(f"no decisions of greyd or postgrey, no mail: {'; '.join(why)}")
