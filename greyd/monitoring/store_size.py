"""Polls the size of the SQLite file, and logs when it is nearly full, full, or has room again.

At ``--max-store-size`` the store refuses new triplets (``StoreFullError``). Their mail then passes
without greylisting. The store still updates the records of known triplets and clients.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.monitoring.log import Log
    from greyd.monitoring.metrics import Metrics
    from greyd.store.contract import Store

POLL_SECONDS = 1.0

NEARLY_FULL = 0.8
"""Share of the limit above which greyd logs a warning."""

_BACK_BELOW = 0.95
"""Factor of a level's threshold below which the level ends; it keeps the level from flapping."""


class FillLevel(Enum):
    """The fill level of the store; the values are the thresholds, as shares of the limit."""

    ROOMY = 0.0
    NEARLY_FULL = NEARLY_FULL
    FULL = 1.0


class StoreSizeMonitor:
    """Logs changes of the fill level, and sets the metric of the size."""

    def __init__(self, store: Store, metrics: Metrics, log: Log) -> None:
        self._store = store
        self._metrics = metrics
        self._log = log
        self._level = FillLevel.ROOMY
        if math.isfinite(store.max_bytes):
            metrics.max_store_bytes.set(store.max_bytes)

    async def run(self) -> None:
        """Poll the size every ``POLL_SECONDS`` until cancelled."""
        while True:
            self.poll()
            await asyncio.sleep(POLL_SECONDS)

    def poll(self) -> None:
        """Update the metric of the size, and log a change of the fill level."""
        used, limit = self._store.bytes_in_use, self._store.max_bytes
        self._metrics.store_bytes.set(used)
        level = self._level_of(used / limit)
        if level is not self._level:
            self._level = level
            self._log_level(used, limit)

    def _level_of(self, share: float) -> FillLevel:
        if share < self._level.value * _BACK_BELOW or share >= self._level.value:
            return max(
                (each for each in FillLevel if share >= each.value), key=lambda each: each.value
            )
        return self._level

    def _log_level(self, used: int, limit: float) -> None:
        size = f"{used / 2**20:,.1f} of at most {limit / 2**20:,.1f} MiB are in use"
        if self._level is FillLevel.FULL:
            self._log.error(
                f"the store is full: {size}; passing new triplets without greylisting; raise"
                " --max-store-size, or find the clients with the most triplets (greyd stats)"
            )
        elif self._level is FillLevel.NEARLY_FULL:
            self._log.warning(
                f"the store is nearly full: {size}; once it is full, new triplets pass without"
                " greylisting"
            )
        else:
            self._log.notice(f"the store has room again: {size}")
