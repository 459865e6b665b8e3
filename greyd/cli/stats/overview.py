"""The data that ``greyd stats`` and ``greyd top`` show: servers, decisions and the store."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greyd.monitoring.combined_stats import CombinedCounts, combined_counts, combined_periods
from greyd.store.url import redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.cli.stats.entry_counts import NamedEntryCounts
    from greyd.config.settings import Settings
    from greyd.monitoring.stats import Counts, ServerStats
    from greyd.monitoring.stats_client import FetchedStats
    from greyd.store.contract import Store, StoreSize


PROBE_COUNT = 5
"""The number of reads whose duration is measured."""


@dataclass
class StoreStatus:
    """The state of the store."""

    url: str
    tally: NamedEntryCounts | None = None
    size: StoreSize | None = None
    seconds: list[float] = field(default_factory=list)
    """The durations of ``PROBE_COUNT`` reads."""
    fault: str = ""

    @property
    def name(self) -> str:
        """The store's URL without its password."""
        return redact_url(self.url)

    async def measure(self, store: Store) -> None:
        """Measure the store's size and response times.

        Raises:
            StoreError: the store does not answer.
        """
        # This first request also connects.
        self.size = await store.size()
        self.seconds = []
        for _ in range(PROBE_COUNT):
            started = time.perf_counter()
            await store.get(b"probe")
            self.seconds.append(time.perf_counter() - started)

    def dump(self, most: int, settings: Settings) -> dict[str, Any]:
        """Return the state of the store as a JSON object, with at most ``most`` names per list."""
        answers = None
        if self.seconds:
            answers = {
                "median": round(statistics.median(self.seconds), 6),
                "slowest": round(max(self.seconds), 6),
            }
        return {
            "url": self.name,
            "fault": self.fault or None,
            "octets": self.size.size_bytes if self.size else None,
            "answers_within_seconds": answers,
            **({"entries": self.tally.dump(most, settings)} if self.tally else {}),
        }


@dataclass
class Overview:
    """The servers and the store at one moment."""

    store: StoreStatus
    settings: Settings
    """The server's settings."""
    heard: Sequence[FetchedStats] = ()
    now: Mapping[str, Counts] = field(default_factory=dict)
    """The counts of each server since its previous answer, by URL."""

    @property
    def figures(self) -> list[ServerStats]:
        """The statistics of the servers that answered."""
        return [each.stats for each in self.heard if each.stats]

    @property
    def is_well(self) -> bool:
        """Whether all servers answer and are ready, and the store answers."""
        ready = all(each.stats and each.stats.ready for each in self.heard)
        return ready and not self.store.fault

    def periods(self) -> dict[str, CombinedCounts]:
        """Return the sums over all servers, by period."""
        now = {"now": combined_counts(list(self.now.values()))} if self.now else {}
        return {**now, **combined_periods(self.figures)}

    def dump(self, most: int) -> dict[str, Any]:
        """Return the overview as a JSON object, with at most ``most`` names per list."""
        return {
            "time": round(time.time(), 3),
            "servers": [each.dump() for each in self.heard],
            "together": {name: each.dump() for name, each in self.periods().items()},
            "store": self.store.dump(most, self.settings),
        }
