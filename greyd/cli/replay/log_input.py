"""Reads what a simulation needs: whitelists, DNS, and the attempts of a log."""

from __future__ import annotations

import gc
import signal
import threading
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Protocol

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
    from greyd.cli.replay.summary import ReplaySummary
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
    from greyd.cli.replay.servers.simulated_server import CachingWhitelists
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


class AttemptReplay:
    """A simulation, and what collects the evidence for it."""

    def __init__(
        self, simulation: MailReplay, collectors: Sequence[ReplayEvidenceCollector]
    ) -> None:
        """Take a simulation, and the collectors whose evidence it needs."""
        self.simulation = simulation
        self.collectors = collectors

    async def add(self, batch: Sequence[Attempt]) -> None:
        """Look the clients of attempts up in DNS, if wanted, and replay the attempts."""
        for collector in self.collectors:
            await collector.look_up(batch)
        self.replay(batch)

    def replay(self, batch: Sequence[Attempt]) -> None:
        """Replay attempts with the evidence that is known."""
        collectors, replay = self.collectors, self.simulation.replay
        for attempt in batch:
            replay(attempt, [each.evidence_for(attempt) for each in collectors])

    def end(self) -> None:
        """End the log."""
        self.simulation.finish()


class BatchConsumer(Protocol):
    """Takes the attempts of a log: an ``AttemptReplay``, or one in another process."""

    async def add(self, batch: Sequence[Attempt]) -> None:
        """Take the next attempts."""

    def end(self) -> None:
        """Take the end of the log."""


async def replay_logs(
    context: CommandContext,
    sources: Sequence[str],
    read: ReadStatistics,
    statistics: AttemptStatistics,
    consumers: Sequence[BatchConsumer],
) -> None:
    """Read the logs, and give their attempts to the consumers."""
    from greyd.maillog.attempts import attempts_in
    from greyd.maillog.reader import read_lines, total_bytes

    with context.progress_bar("replaying", total_bytes(sources)) as advance:
        progress = SimulationProgress(advance)
        read.on_bytes = progress.add_block
        lines = progress.count(read_lines(sources, statistics=read))
        attempts = attempts_in(lines, statistics, read)
        # The simulation makes no reference cycles, and a collection of millions is slow.
        gc.disable()
        try:
            with _interruptible():
                while batch := list(islice(attempts, _BATCH)):
                    for each in consumers:
                        await each.add(batch)
                    progress.show()
                for each in consumers:
                    each.end()
        finally:
            gc.enable()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end the work at once: asyncio's handler waits for a task that never pauses."""
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if before in (signal.SIG_IGN, None) or not is_main:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def require_mail(
    replayed: ReplaySummary, statistics: AttemptStatistics, read: ReadStatistics
) -> None:
    """Make sure that a log has mail.

    Raises:
        CommandError: it has none; the message says what the logs contain.
    """
    from greyd.maillog.sources.contents import describe

    if replayed.mails:
        return
    if replayed.first:
        raise CommandError("all mail of the log is within --warm-up; make it shorter")
    why = [f"{source_name(path)}: {describe(sample)}" for path, sample in read.samples.items()]
    if statistics.undated_count:
        why.insert(0, f"{counted(statistics.undated_count, 'line has', 'lines have')} no date")
    raise CommandError(f"no decisions of greyd or postgrey, no mail: {'; '.join(why)}")
