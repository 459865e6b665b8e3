"""Divides a grid into parts, which are simulated one after the other or at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from greyd.cli.replay.log_input import AttemptReplay, whitelists_of
from greyd.cli.replay.summary import ReplaySummary
from greyd.cli.tune.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.cli.replay.counting_lookup import DnsCounts
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.replay.results import SimulationResult
    from greyd.cli.replay.simulation import Simulation
    from greyd.cli.tune.grid import GridPoint
    from greyd.cli.tune.grid_replay import GridReplay, GridResult
    from greyd.dns.resolver import Resolver


@dataclass(frozen=True, slots=True)
class GridPart:
    """Points of a grid that are simulated together."""

    points: Sequence[GridPoint]
    """Today's settings come first: they show which entries the server had before the log."""
    shares_records: bool
    """Whether the points differ only in the settings that the grid varies."""


@dataclass(frozen=True, slots=True)
class PartResult:
    """The result of the simulation of a part."""

    summary: ReplaySummary
    outcomes: Sequence[Outcome]
    """The outcome of each point."""
    dns_counts: Sequence[DnsCounts] = ()
    """What the DNS knew; empty without DNS."""


def divide(
    points: Sequence[GridPoint],
    presets: Sequence[GridPoint],
    process_count: int,
    *,
    shares_records: bool,
) -> list[GridPart]:
    """Divide a grid into parts for a number of processes; the first one is part of the grid.

    Args:
        points: the points of the grid, today's settings first.
        presets: further points, which need evidence of their own, and so no shared records.
        process_count: the number of processes.
        shares_records: whether the points differ only in the settings that the grid varies.
    """
    today, *others = points
    # Servers with the same network share most.
    others.sort(key=lambda each: (each.settings.ipv4cidr, each.settings.ipv6cidr))
    count = max(min(process_count - bool(presets), len(others)), 1)
    bounds = [len(others) * number // count for number in range(count + 1)]
    parts = [
        GridPart([today, *others[start:end]], shares_records) for start, end in pairwise(bounds)
    ]
    if presets:
        parts.append(GridPart([today, *presets], shares_records=False))
    return parts


class PartReplay(AttemptReplay):
    """Replays a log on the servers of a part, in this process."""

    def __init__(self, part: GridPart, warm_up_seconds: int, resolver: Resolver | None) -> None:
        """Prepare the servers.

        Args:
            part: the part.
            warm_up_seconds: from when on mail counts, in seconds from the log's first attempt.
            resolver: queries DNS about the clients; None without DNS.
        """
        self._part = part
        self._uses_dns = resolver is not None
        self._grid: GridReplay | Simulation
        if part.shares_records:
            self._grid, collectors = _with_shared_records(part.points, warm_up_seconds, resolver)
        else:
            self._grid, collectors = _one_by_one(part.points, warm_up_seconds, resolver)
        super().__init__(self._grid, collectors)

    async def result(self) -> PartResult:
        """Return the result, after the end of the log."""
        return self.result_now()

    def result_now(self) -> PartResult:
        """Return the result, after the end of the log."""
        results: Iterable[GridResult | SimulationResult] = self._grid.results
        outcomes = [
            Outcome.of(point, result)
            for point, result in zip(self._part.points, results, strict=True)
        ]
        dns_counts = [each.dns_counts for each in self.collectors] if self._uses_dns else ()
        return PartResult(ReplaySummary.of(self._grid), outcomes, dns_counts)

    def close(self) -> None:
        """Do nothing: no process has to be ended."""


def _with_shared_records(
    points: Sequence[GridPoint], warm_up_seconds: int, resolver: Resolver | None
) -> tuple[GridReplay, list[ReplayEvidenceCollector]]:
    """Return a replay on servers that share records, and the collector of their evidence."""
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.tune.grid_replay import GridReplay
    from greyd.cli.tune.grid_servers import GridServers

    today = points[0].settings
    whitelists = whitelists_of(today)
    servers = GridServers([each.settings for each in points], whitelists)
    collector = ReplayEvidenceCollector(today, whitelists, resolver)
    return GridReplay(servers, len(points), warm_up_seconds), [collector]


def _one_by_one(
    points: Sequence[GridPoint], warm_up_seconds: int, resolver: Resolver | None
) -> tuple[Simulation, list[ReplayEvidenceCollector]]:
    """Return a simulation with a server for each point, and the collectors of their evidence."""
    from greyd.cli.replay.evidence import ReplayEvidenceCollector
    from greyd.cli.replay.servers.simulated_server import SimulatedServer
    from greyd.cli.replay.simulation import Simulation

    whitelists = whitelists_of(points[0].settings)
    servers = [SimulatedServer(each.settings, whitelists) for each in points]
    collectors = [ReplayEvidenceCollector(each.settings, whitelists, resolver) for each in points]
    return Simulation(servers, warm_up_seconds), collectors
