"""Fetches the state of the servers that run here, each within a second."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from greyd.cli.context import EXIT_NO
from greyd.cli.server.notes import identity_of
from greyd.config.values.parsers import parse_endpoint
from greyd.monitoring.health.problems import HealthProblem, ProblemLevel
from greyd.monitoring.stats_client import fetch_all_stats, metrics_addresses

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.config.running.run_record import RunningServer
    from greyd.monitoring.stats import ServerStats

FETCH_SECONDS = 1.0
"""Maximum time for the answers of all servers, which are fetched at the same time."""


class Health(Enum):
    """The state of all servers together; its value is the exit status, as of systemctl status."""

    WELL = 0
    FAULTY = EXIT_NO
    """A server has an error, or does not answer."""
    STOPPED = 3
    """No server runs here."""
    UNKNOWN = 4
    """A server runs, but its state can't be fetched."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """A running server and its answer."""

    server: RunningServer
    stats: ServerStats | None
    fault: str = ""
    """Why there are no statistics."""
    has_metrics: bool = True
    """Whether the server can be asked for its state."""

    @property
    def health(self) -> Health:
        """The state of this server."""
        if self.stats is None:
            return Health.FAULTY if self.has_metrics else Health.UNKNOWN
        if any(each.level is ProblemLevel.ERROR for each in self.problems()):
            return Health.FAULTY
        return Health.WELL

    def problems(self) -> list[HealthProblem]:
        """Return what looks wrong with the server, the errors first."""
        if self.stats is None:
            if not self.has_metrics:
                return []
            text = f"the server's metrics port does not answer: {self.fault}"
            return [HealthProblem(ProblemLevel.ERROR, text, "greyd doctor")]
        found = list(self.stats.problems)
        if not self.stats.ready and not found:
            text = "the store does not answer"
            found = [HealthProblem(ProblemLevel.ERROR, text, "greyd doctor")]
        return found

    def dump(self) -> dict[str, Any]:
        """Return the status as a JSON object."""
        record = self.server.record
        return {
            "pid": record.pid,
            "version": record.version,
            "started_at": record.started_at,
            "sockets": list(record.sockets),
            "metrics": record.metrics,
            "store": record.store,
            "record": str(self.server.path),
            "answers": self.stats is not None,
            "fault": self.fault or None,
            "stats": self.stats.dump() if self.stats else None,
        }


async def fetch_statuses(servers: Sequence[RunningServer]) -> list[ServerStatus]:
    """Return the status of each server; one without an answer has a fault."""
    return list(await asyncio.gather(*map(_fetch_status, servers)))


async def _fetch_status(server: RunningServer) -> ServerStatus:
    if server.record.metrics is None:
        return ServerStatus(server, None, "--metrics=off", has_metrics=False)
    addresses = metrics_addresses([], parse_endpoint(server.record.metrics))
    try:
        (fetched,) = await asyncio.wait_for(fetch_all_stats(addresses), FETCH_SECONDS)
    except TimeoutError:
        return ServerStatus(server, None, f"no answer within {FETCH_SECONDS:g} s")
    return ServerStatus(server, fetched.stats, fetched.fault)


def by_store(statuses: Iterable[ServerStatus]) -> list[list[ServerStatus]]:
    """Return the servers of each store, in the order of their start."""
    groups: dict[tuple[str, str], list[ServerStatus]] = {}
    for each in statuses:
        groups.setdefault(identity_of(each.server), []).append(each)
    return list(groups.values())


def joint_health(statuses: Sequence[ServerStatus], *, is_one_hidden: bool) -> Health:
    """Return the worst state of all servers.

    Args:
        statuses: the servers that have been found.
        is_one_hidden: whether a server runs whose record can't be used.
    """
    found = {each.health for each in statuses}
    for health in (Health.FAULTY, Health.UNKNOWN):
        if health in found:
            return health
    if statuses:
        return Health.WELL
    return Health.UNKNOWN if is_one_hidden else Health.STOPPED
