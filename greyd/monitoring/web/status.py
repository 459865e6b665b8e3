"""Collects the data of the status page and of the statistics.

The counters are sampled every few seconds. The store is scanned when a client requests the page or
the statistics, at most once a minute; for Prometheus, while it scrapes the metrics, once in
``METRICS_FRESH_SECONDS``, by one of the workers; for the week's history once in a quarter of an
hour, by one of the workers; and never while the store does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from greyd.monitoring.activity.counter_history import (
    DAY_SECONDS,
    ENTRIES,
    HOUR_SECONDS,
    NOTE_SECONDS,
    CounterHistory,
    totals_of,
)
from greyd.monitoring.activity.dns_activity import DnsActivity
from greyd.monitoring.activity.history_key import history_key, old_history_key
from greyd.monitoring.activity.recent_decisions import RecentDecisions
from greyd.monitoring.activity.stored_week import StoredWeek
from greyd.monitoring.activity.usual import hour_before, usual_hour
from greyd.monitoring.activity.week import SLOT_SECONDS, WeekHistory
from greyd.monitoring.health.problems import STORE_UP, ServerState, find_problems
from greyd.monitoring.metrics import LAST_SCRAPE
from greyd.monitoring.state_metrics import TRIPLETS_COUNTED
from greyd.monitoring.stats import TripletCounts, server_stats
from greyd.monitoring.store.summary import StoreSummary, summarize_store
from greyd.monitoring.web.page import status_page
from greyd.monitoring.web.page.status_page import DAY, DAY_STEPS, WEEK, WEEK_STEPS
from greyd.monitoring.web.page.view import StatusView
from greyd.runtime.time_slices import SharedWork
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.activity.counter_history import CountedPeriod, Totals
    from greyd.monitoring.activity.dns_activity import DnsSourceStatus
    from greyd.monitoring.activity.usual import UsualHour
    from greyd.monitoring.activity.week import ActivitySlot
    from greyd.monitoring.health.problems import HealthProblem
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
"""Maximum time that a page waits for a scan; after that it shows the previous summary. For a scan
that takes longer it does not wait at all."""

STATS_WAIT_SECONDS = 0.5
"""The same for the statistics: ``greyd top`` fetches them every two seconds."""

SCANNED_PER_SECOND = 10_000
"""About how many entries a scan counts in a second, with its pauses, on an ordinary machine."""


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
    dns: DnsActivity = field(default_factory=DnsActivity)
    """Has observed the DNS sources since the start."""
    listens_on: str = ""
    """The first address that the server listens on."""
    summary: StoreSummary | None = None
    started_at: float = field(default_factory=time.monotonic)
    _summarized_at: float = 0
    _failed_at: float = -RETRY_SECONDS
    _scan_seconds: float | None = None
    """How long the last scan took; None before the first one."""
    _summarizing: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._history = CounterHistory(self.metrics.families, self.started_at)
        wall = self._wall_started_at = time.time()
        self._week = WeekHistory(wall, self._history.read())
        self._stored_week = StoredWeek(
            self._week,
            self.circuit_breaker,
            history_key(self.settings, self.listens_on),
            wall,
            old_history_key(self.settings),
        )
        self._decisions = RecentDecisions()
        if self.settings.status_details and not self.settings.privacy:
            self.observers.add(self._decisions)
        self._page = SharedWork(partial(self._make_page, refreshes=True))
        self._still_page = SharedWork(partial(self._make_page, refreshes=False))

    async def run(self) -> None:
        """Sample the counters every ``NOTE_SECONDS`` until cancelled."""
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            totals = await self._totals()
            now, wall = time.monotonic(), time.time()
            self._history.note(now, totals)
            self.dns.note(now, totals)
            self._week.note(wall, totals, self._fresh_waiting(now))
            await self._stored_week.update(wall)
            if is_count_due(totals, wall, self._wall_started_at):
                self._start_summary()

    def _fresh_waiting(self, now: float) -> int | None:
        """Return the number of waiting triplets if they have been counted since the last sample."""
        is_fresh = self.summary is not None and now - self._summarized_at <= 2 * NOTE_SECONDS
        return self.summary.waiting if self.summary is not None and is_fresh else None

    async def page(self, *, refreshes: bool = True) -> bytes:
        """Return the status page as HTML; ``refreshes``: whether the browser reloads it."""
        return await (self._page if refreshes else self._still_page).result()

    async def _make_page(self, *, refreshes: bool) -> bytes:
        await self._summarize_if_old(WAIT_SECONDS)
        now, totals = time.monotonic(), await self._totals()
        wall = time.time()
        self._week.note(wall, totals)
        day_steps, week_steps = [
            await self.slices.run(self._week.steps(wall, span.step_seconds, count))
            for span, count in ((DAY, DAY_STEPS), (WEEK, WEEK_STEPS))
        ]
        view = self._view(now, wall, totals, day_steps, week_steps)
        parts = status_page.render_parts(view, refreshes=refreshes)
        return b"".join(await self.slices.run(parts))

    async def _totals(self) -> Totals:
        return totals_of(await self.slices.run(self.metrics.families()))

    def _view(
        self,
        now: float,
        wall: float,
        totals: Totals,
        day_steps: Sequence[ActivitySlot],
        week_steps: Sequence[ActivitySlot],
    ) -> StatusView:
        mode, usual = self.mode(), usual_hour(self._week.slots(), wall)
        hour = self._history.last(HOUR_SECONDS, now, totals)
        day = self._history.last(DAY_SECONDS, now, totals)
        dns_sources = self.dns.sources(now, totals)
        return StatusView(
            settings=self.settings,
            mode=mode,
            store_name=self.store_name,
            up_seconds=now - self.started_at,
            hour=hour,
            day=day,
            hour_before=hour_before(self._week.slots(), wall),
            usual=usual,
            day_steps=day_steps,
            week_steps=week_steps,
            problems=self._problems(mode, usual, hour, day, totals, dns_sources),
            whitelist_entries={
                name: totals.get((ENTRIES, name), 0.0) for name in ("clients", "recipients")
            },
            store_bytes=(
                totals.get(("greyd_store_size_bytes",), 0.0),
                totals.get(("greyd_store_max_size_bytes",), 0.0),
            ),
            dns_sources=dns_sources,
            summary=self.summary,
            summary_age_seconds=now - self._summarized_at,
            clock=wall,
            decisions=list(self._decisions.newest_first()),
        )

    def _problems(
        self,
        mode: ModeInForce,
        usual: UsualHour,
        hour: CountedPeriod,
        day: CountedPeriod,
        totals: Totals,
        dns_sources: Sequence[DnsSourceStatus],
    ) -> list[HealthProblem]:
        return find_problems(
            ServerState(
                settings=self.settings,
                mode=mode,
                # The circuit breaker of this process may know of a failure before the others do.
                totals={**totals, STORE_UP: 0.0} if self.circuit_breaker.is_open else totals,
                hour=hour,
                day=day,
                usual=usual,
                dns_faults={each.name: each.fault for each in dns_sources if each.fault},
            )
        )

    async def stats(self) -> bytes:
        """Return the statistics, as JSON; see ``greyd.monitoring.stats``."""
        await self._summarize_if_old(STATS_WAIT_SECONDS)
        totals, mode = await self._totals(), self.mode()
        now = time.monotonic()
        hour = self._history.last(HOUR_SECONDS, now, totals)
        day = self._history.last(DAY_SECONDS, now, totals)
        usual = usual_hour(self._week.slots(), time.time())
        problems = self._problems(mode, usual, hour, day, totals, self.dns.sources(now, totals))
        stats = server_stats(
            self.settings,
            self.store_name,
            self._history,
            now,
            now - self.started_at,
            totals,
            TripletCounts.of(self.summary, now - self._summarized_at) if self.summary else None,
            mode,
            problems,
            usual,
        )
        return json.dumps(stats.dump()).encode() + b"\n"

    async def _summarize_if_old(self, wait_seconds: float) -> None:
        now = time.monotonic()
        if self.summary is None or now - self._summarized_at > FRESH_SECONDS:
            self._start_summary()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await self._wait_for_summary(wait_seconds)

    async def _wait_for_summary(self, wait_seconds: float) -> None:
        """Wait for a running scan, unless it takes longer than the time to wait."""
        if self._summarizing is None or await self._expected_seconds() > wait_seconds:
            return
        # The scan may have ended meanwhile.
        if self._summarizing is not None:
            await asyncio.wait([self._summarizing])

    async def _expected_seconds(self) -> float:
        """Return about how long a scan takes: as long as the last one, or by the store's size."""
        if self._scan_seconds is not None:
            return self._scan_seconds
        try:
            size = await self.circuit_breaker.store.size()
        except StoreError:
            return math.inf
        return (size.entries or 0) / SCANNED_PER_SECOND

    def _start_summary(self) -> None:
        may_scan = time.monotonic() - self._failed_at >= RETRY_SECONDS
        if may_scan and not self.circuit_breaker.is_open and self._summarizing is None:
            self._summarizing = asyncio.create_task(self._summarize())

    async def _summarize(self) -> None:
        started = time.monotonic()
        try:
            self.metrics.state.triplet_count_begins()
            self.summary = await summarize_store(self.circuit_breaker.store, self.settings)
            self._summarized_at = time.monotonic()
            self._scan_seconds = self._summarized_at - started
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
        self._still_page.cancel()
        if self._summarizing is not None:
            self._summarizing.cancel()


def is_count_due(totals: Totals, now: float, started_at: float) -> bool:
    """Whether the triplets have to be counted for the metrics or for the week's history.

    Args:
        totals: the values of the metrics of all workers.
        now: the wall-clock time.
        started_at: the wall-clock time of the server's start.
    """
    scraped_at = totals.get((LAST_SCRAPE,), 0.0)
    counted_at = totals.get((TRIPLETS_COUNTED,), 0.0)
    # The clock may have been set back.
    if abs(now - scraped_at) <= MAX_SCRAPE_INTERVAL_SECONDS:
        return abs(now - counted_at) >= METRICS_FRESH_SECONDS
    return abs(now - max(counted_at, started_at)) >= SLOT_SECONDS
