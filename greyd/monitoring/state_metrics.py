"""The gauges of a server's state: its settings, start, descriptors, triplets, and Redis's memory.

A gauge whose value is not known yet has no series, because a 0 could be mistaken for a value.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from greyd.rules.entries import TRIPLET_STATES

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from greyd.config.settings import Settings
    from greyd.monitoring.store.entry_counts import EntryCounts
    from greyd.store.contract import StoreMemory

TRIPLETS_COUNTED = "greyd_triplets_counted_timestamp_seconds"

NONE = "none"
"""The value of a label for a setting that is not set: an empty label would be no label."""


class StateMetrics:
    """The gauges of the server's state; with several workers they cover all workers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._started = Gauge(
            "greyd_start_timestamp_seconds",
            "Start time of the server; of the oldest worker if there are several.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._started.set(time.time())
        self._settings = Gauge(
            "greyd_settings_info",
            "Settings that decide on mail, as labels.",
            ["preset", "greylist", "identity"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._counted_at = Gauge(
            TRIPLETS_COUNTED,
            "When the last count of the store's triplets began; 0: never.",
            registry=registry,
            multiprocess_mode="max",
        )
        self._triplets: dict[str, Gauge] | None = None
        self._descriptors: tuple[Gauge, Gauge] | None = None
        self._memory: tuple[Gauge, Gauge, Gauge] | None = None

    def show_settings(self, settings: Settings) -> None:
        """Set the settings that decide on mail."""
        ways = ",".join(sorted(settings.identity)) or NONE
        self._settings.labels(settings.preset or NONE, settings.greylist, ways).set(1)

    def triplet_count_begins(self) -> None:
        """Set the time of the last count."""
        self._counted_at.set(time.time())

    def show_triplets(self, counts: EntryCounts) -> None:
        """Set the numbers of triplets by state."""
        if self._triplets is None:
            triplets = self._gauge(
                "greyd_triplets",
                "Triplets of networks in the store, by state, from the last count.",
                "livemostrecent",
                "state",
            )
            self._triplets = {
                "complete": self._gauge(
                    "greyd_triplets_complete",
                    "1 if the last count covered all entries; 0 if only part of a large store.",
                    "livemostrecent",
                ),
                **{each.name: triplets.labels(each.name.lower()) for each in TRIPLET_STATES},
            }
        self._triplets["complete"].set(counts.complete)
        for state in TRIPLET_STATES:
            self._triplets[state.name].set(counts.triplets_in(state))

    def show_descriptors(self, open_count: int, max_count: int) -> None:
        """Set the number of open file descriptors, and its limit."""
        if self._descriptors is None:
            self._descriptors = (
                self._gauge(
                    "greyd_open_fds",
                    "Open file descriptors; of the worker with the most if there are several.",
                    "livemax",
                ),
                self._gauge(
                    "greyd_max_fds", "Limit of open file descriptors of a process.", "livemax"
                ),
            )
        for gauge, value in zip(self._descriptors, (open_count, max_count), strict=True):
            gauge.set(value)

    def show_memory(self, memory: StoreMemory) -> None:
        """Set the memory of the store's Redis."""
        if self._memory is None:
            self._memory = (
                self._gauge(
                    "greyd_redis_memory_bytes",
                    "Memory that the store's Redis uses; the sum of a Cluster's nodes.",
                    "livemostrecent",
                ),
                self._gauge(
                    "greyd_redis_max_memory_bytes",
                    "Limit of Redis's memory (maxmemory); 0: no limit.",
                    "livemostrecent",
                ),
                self._gauge(
                    "greyd_redis_evicted_keys",
                    "Keys that Redis has evicted since its start, to stay below its limit.",
                    "livemostrecent",
                ),
            )
        values = (memory.used_bytes, memory.max_bytes, memory.evicted_key_count)
        for gauge, value in zip(self._memory, values, strict=True):
            gauge.set(value)

    def _gauge(self, name: str, text: str, multiprocess_mode: str, *labels: str) -> Gauge:
        return Gauge(
            name,
            text,
            labels,
            registry=self._registry,
            multiprocess_mode=multiprocess_mode,  # type: ignore[arg-type]
        )
