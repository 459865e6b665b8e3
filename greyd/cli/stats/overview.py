"""What ``greyd stats`` and ``greyd top`` show: the servers, what they decide, and the store."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from greyd.monitoring.combined_stats import CombinedCounts, combined_counts, combined_periods
from greyd.store.url import redact_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.cli.stats.entry_counts import EntryCounts
    from greyd.monitoring.stats import Counts, ServerStats
    from greyd.monitoring.stats_client import FetchedStats
    from greyd.store.contract import Store, StoreSize


PROBE_COUNT = 5
"""At the store, to see how soon it answers."""


@dataclass
class StoreStatus:
    """What is known of the store."""

    url: str
    tally: EntryCounts | None = None
    size: StoreSize | None = None
    seconds: list[float] = field(default_factory=list)
    """How long it took to answer, some times."""
    fault: str = ""

    @property
    def name(self) -> str:
        """Its URL without what is secret in it."""
        return redact_url(self.url)

    async def measure(self, store: Store) -> None:
        """See how large it is, and how soon it answers.

        Raises:
            StoreError: it does not answer.
        """
        # The first look makes the connection.
        self.size = await store.size()
        self.seconds = []
        for _ in range(PROBE_COUNT):
            started = time.perf_counter()
            await store.get(b"probe")
            self.seconds.append(time.perf_counter() - started)

    def dump(self, most: int) -> dict[str, Any]:
        """Return it for a program."""
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
            **({"entries": self.tally.dump(most)} if self.tally else {}),
        }


@dataclass
class Overview:
    """All that is known at a moment."""

    store: StoreStatus
    heard: Sequence[FetchedStats] = ()
    now: Mapping[str, Counts] = field(default_factory=dict)
    """What servers counted since they were asked before, by URL."""
    privacy: bool = False

    @property
    def figures(self) -> list[ServerStats]:
        """Those of the servers that answered."""
        return [each.stats for each in self.heard if each.stats]

    @property
    def is_well(self) -> bool:
        """Whether all servers answer and are ready, and the store answers."""
        ready = all(each.stats and each.stats.ready for each in self.heard)
        return ready and not self.store.fault

    def periods(self) -> dict[str, CombinedCounts]:
        """Return what all servers counted together."""
        now = {"now": combined_counts(list(self.now.values()))} if self.now else {}
        return {**now, **combined_periods(self.figures)}

    def dump(self, most: int) -> dict[str, Any]:
        """Return it for a program."""
        return {
            "time": round(time.time(), 3),
            "servers": [each.dump() for each in self.heard],
            "together": {name: each.dump() for name, each in self.periods().items()},
            "store": self.store.dump(most),
        }
