"""What the metrics port shows at ``/`` and ``/stats.json``: the counters' day, and the store.

The counters are noted every few seconds. The store is looked through only when somebody reads the
page, once a minute at most, and never while it is away.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from greyd.monitoring import status_page
from greyd.monitoring.counter_history import (
    DAY_SECONDS,
    ENTRIES,
    HOUR_SECONDS,
    NOTE_SECONDS,
    CounterHistory,
    totals_of,
)
from greyd.monitoring.stats import server_stats
from greyd.monitoring.status_page import BAR_SECONDS, BARS, StatusView
from greyd.monitoring.store_summary import StoreSummary, summarize_store
from greyd.runtime.time_slices import SharedWork
from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.monitoring.counter_history import CountedPeriod, Totals
    from greyd.monitoring.metrics import Metrics
    from greyd.policy.observers import Observers
    from greyd.runtime.time_slices import TimeSlices
    from greyd.store.circuit_breaker import CircuitBreaker

FRESH_SECONDS = 60
"""How long a look through the store counts as new."""

RETRY_SECONDS = 10.0
"""After a look through the store that failed nobody begins another for so long."""

WAIT_SECONDS = 2.0
"""How long a page waits for a look through the store; then it shows what the one before saw."""


@dataclass
class StatusReporter:
    """Keeps what the page shows."""

    settings: Settings
    guard: CircuitBreaker
    observers: Observers
    metrics: Metrics
    store_name: str
    """Without what is secret of its URL."""
    mode: Callable[[], str]
    """The mode in force."""
    slices: TimeSlices
    """What is made for readers takes turns with what else the metrics port makes."""
    summary: StoreSummary | None = None
    started_at: float = field(default_factory=time.monotonic)
    _summarized_at: float = 0
    _failed_at: float = -RETRY_SECONDS
    _summarizing: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._history = CounterHistory(self.metrics.families, self.started_at)
        self._page = SharedWork(self._make_page)

    async def run(self) -> None:
        """Note the counters every ``NOTE_SECONDS``, until cancelled."""
        while True:
            await asyncio.sleep(NOTE_SECONDS)
            self._history.note(time.monotonic(), await self._totals())

    async def page(self) -> bytes:
        """Return the page, as HTML."""
        return await self._page.result()

    async def _make_page(self) -> bytes:
        await self._summarize_if_old()
        now, totals = time.monotonic(), await self._totals()
        bars = await self.slices.run(self._history.steps(BAR_SECONDS, BARS, now, totals))
        view = self._view(now, totals, bars)
        return b"".join(await self.slices.run(status_page.render_parts(view)))

    async def _totals(self) -> Totals:
        return totals_of(await self.slices.run(self.metrics.families()))

    def _view(self, now: float, totals: Totals, bars: Sequence[CountedPeriod]) -> StatusView:
        return StatusView(
            settings=replace(self.settings, mode=self.mode()),
            store_name=self.store_name,
            store_away=self.guard.is_open,
            up_seconds=now - self.started_at,
            hour=self._history.last(HOUR_SECONDS, now, totals),
            day=self._history.last(DAY_SECONDS, now, totals),
            bars=bars,
            whitelist_entries={
                name: totals.get((ENTRIES, name), 0.0) for name in ("clients", "recipients")
            },
            summary=self.summary,
            summary_age_seconds=now - self._summarized_at,
            clock=time.time(),
        )

    async def figures(self) -> bytes:
        """Return the figures, as JSON; see ``greyd.monitoring.stats``."""
        totals = await self._totals()
        now = time.monotonic()
        figures = server_stats(
            replace(self.settings, mode=self.mode()),
            self.store_name,
            self._history,
            now,
            now - self.started_at,
            totals,
        )
        return json.dumps(figures.dump()).encode() + b"\n"

    async def _summarize_if_old(self) -> None:
        now = time.monotonic()
        old = self.summary is None or now - self._summarized_at > FRESH_SECONDS
        may_look = now - self._failed_at >= RETRY_SECONDS and not self.guard.is_open
        if old and may_look and self._summarizing is None:
            self._summarizing = asyncio.create_task(self._summarize())
        if self._summarizing is not None:
            await asyncio.wait([self._summarizing], timeout=WAIT_SECONDS)

    async def _summarize(self) -> None:
        try:
            self.summary = await summarize_store(self.guard.store, self.settings)
            self._summarized_at = time.monotonic()
        except StoreError:
            # The guard finds out by itself, and the page says so.
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the next reader's page tries again
            self._failed_at = time.monotonic()
            self.observers.internal_error("status page", error, "the page shows the last summary")
        finally:
            self._summarizing = None

    def stop(self) -> None:
        """Look no further: the store is about to be closed."""
        self._page.cancel()
        if self._summarizing is not None:
            self._summarizing.cancel()
