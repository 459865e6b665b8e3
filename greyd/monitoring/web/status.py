"""Collects the data of the status page and of the statistics.

The counters are sampled every few seconds. The store is scanned when a client requests the page or
the statistics, at most once a minute; for Prometheus, while it scrapes the metrics, once in
``METRICS_FRESH_SECONDS``, by one of the workers; and never while the store does not answer.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from greyd.monitoring.activity.counter_history import (
    DAY_SECONDS,
    ENTRIES,
    HOUR_SECONDS,
    NOTE_SECONDS,
    CounterHistory,
    dns_sources_of,
    totals_of,
)
from greyd.monitoring.health.problems import ServerState, find_problems
from greyd.monitoring.metrics import LAST_SCRAPE
from greyd.monitoring.state_metrics import TRIPLETS_COUNTED
from greyd.monitoring.stats import TripletCounts, server_stats
from greyd.monitoring.store.summary import StoreSummary, summarize_store
from greyd.monitoring.web import status_page
from greyd.monitoring.web.status_page import BAR_SECONDS, BARS, StatusView
from greyd.runtime.time_slices import SharedWork
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.activity.counter_history import CountedPeriod, Totals
    from greyd.monitoring.metrics import Metrics
    from greyd.monitoring.mode_in_force import ModeInForce
    from greyd.policy.observers import Observers
    from greyd.runtime.time_slices import TimeSlices
    from greyd.store.circuit_breaker import CircuitBreaker

FRESH_SECONDS = 60
"""Age of the store's summary after which a request for the page starts a new scan."""

METRICS_FRESH_SECONDS = 300
"""Age of the store's summary after which the metrics of the triplets need a new scan."""

MAX_SCRAPE_INTERVAL_SECONDS = 900
"""Time since the last scrape after which these metrics are no longer needed."""

RETRY_SECONDS = 10.0
"""Minimum time between a failed scan and the next one."""

WAIT_SECONDS = 2.0
"""Maximum time that a page waits for a scan; after that it shows the previous summary."""

STATS_WAIT_SECONDS = 0.5
"""The same for the statistics: ``greyd top`` fetches them every two seconds."""


@dataclass
class StatusReporter:
    """Collects the data of the status page and of the statistics."""

    settings: Settings
    circuit_breaker: CircuitBreaker
    observers: Observers
    metrics: Metrics
    store_name: str
    """The URL of the store, without secrets."""
    mode: Callable[[], ModeInForce]
    """Returns the mode in force."""
    slices: TimeSlices
    """The time slices in which all work of the metrics port runs."""
    summary: StoreSummary | None = None
    started_at: float = field(default_factory=time.monotonic)
    _summarized_at: float = 0
    _failed_at: float = -RETRY_SECONDS
    _summarizing: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._history = CounterHistory(self.metrics.families, self.started_at)
        self._page = SharedWork(self._make_page)

    async def run(self) -> None:
        """Sample the counters every ``NOTE_SECONDS`` until cancelled."""
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            totals = await self._totals()
            self._history.note(time.monotonic(), totals)
            self._summarize_for_metrics(totals)

    async def page(self) -> bytes:
        """Return the status page, as HTML."""
        return await self._page.result()

    async def _make_page(self) -> bytes:
        await self._summarize_if_old(WAIT_SECONDS)
        now, totals = time.monotonic(), await self._totals()
        bars = await self.slices.run(self._history.steps(BAR_SECONDS, BARS, now, totals))
        view = self._view(now, totals, bars)
        return b"".join(await self.slices.run(status_page.render_parts(view)))

    async def _totals(self) -> Totals:
        return totals_of(await self.slices.run(self.metrics.families()))

    def _view(self, now: float, totals: Totals, bars: Sequence[CountedPeriod]) -> StatusView:
        return StatusView(
            settings=replace(self.settings, mode=self.mode().mode),
            store_name=self.store_name,
            store_away=self.circuit_breaker.is_open,
            up_seconds=now - self.started_at,
            hour=self._history.last(HOUR_SECONDS, now, totals),
            day=self._history.last(DAY_SECONDS, now, totals),
            bars=bars,
            whitelist_entries={
                name: totals.get((ENTRIES, name), 0.0) for name in ("clients", "recipients")
            },
            dns_sources=dns_sources_of(totals),
            summary=self.summary,
            summary_age_seconds=now - self._summarized_at,
            clock=time.time(),
        )

    async def stats(self) -> bytes:
        """Return the statistics, as JSON; see ``greyd.monitoring.stats``."""
        await self._summarize_if_old(STATS_WAIT_SECONDS)
        totals, mode = await self._totals(), self.mode()
        now = time.monotonic()
        hour = self._history.last(HOUR_SECONDS, now, totals)
        stats = server_stats(
            self.settings,
            self.store_name,
            self._history,
            now,
            now - self.started_at,
            totals,
            TripletCounts.of(self.summary, now - self._summarized_at) if self.summary else None,
            mode,
            find_problems(ServerState(settings=self.settings, mode=mode, totals=totals, hour=hour)),
        )
        return json.dumps(stats.dump()).encode() + b"\n"

    async def _summarize_if_old(self, wait_seconds: float) -> None:
        now = time.monotonic()
        if self.summary is None or now - self._summarized_at > FRESH_SECONDS:
            self._start_summary()
        if self._summarizing is not None:
            await asyncio.wait([self._summarizing], timeout=wait_seconds)

    def _summarize_for_metrics(self, totals: Totals) -> None:
        """Start a scan if Prometheus scrapes the metrics and no worker has scanned recently."""
        now = time.time()
        scraped_at = totals.get((LAST_SCRAPE,), 0.0)
        counted_at = totals.get((TRIPLETS_COUNTED,), 0.0)
        is_scraped = abs(now - scraped_at) <= MAX_SCRAPE_INTERVAL_SECONDS
        # The clock may have been set back.
        if is_scraped and abs(now - counted_at) >= METRICS_FRESH_SECONDS:
            self._start_summary()

    def _start_summary(self) -> None:
        may_scan = time.monotonic() - self._failed_at >= RETRY_SECONDS
        if may_scan and not self.circuit_breaker.is_open and self._summarizing is None:
            self._summarizing = asyncio.create_task(self._summarize())

    async def _summarize(self) -> None:
        try:
            self.metrics.state.triplet_count_begins()
            self.summary = await summarize_store(self.circuit_breaker.store, self.settings)
            self._summarized_at = time.monotonic()
            self.metrics.state.show_triplets(self.summary)
        except StoreError:
            # The circuit breaker notices the error too, and the page shows its state.
            pass
        except Exception as error:  # noqa: BLE001 - the next reader's page tries again
            self._failed_at = time.monotonic()
            self.observers.internal_error("status page", error, "the page shows the last summary")
        finally:
            self._summarizing = None

    def stop(self) -> None:
        """Cancel a running scan, before the store is closed."""
        self._page.cancel()
        if self._summarizing is not None:
            self._summarizing.cancel()
