"""Polls the resources in use: the server's file descriptors, and the memory of its Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
from typing import TYPE_CHECKING

from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from greyd.monitoring.state_metrics import StateMetrics
    from greyd.store.contract import Store

POLL_SECONDS = 15.0

TIMEOUT_SECONDS = 5.0
"""Maximum time for the answer of Redis."""

_DESCRIPTOR_FOLDERS = ("/proc/self/fd", "/dev/fd")
"""The folders with this process's descriptors, on Linux and on the BSDs."""


class ResourceMonitor:
    """Updates the metrics of the server's descriptors and of Redis's memory."""

    def __init__(self, store: Store, metrics: StateMetrics) -> None:
        self._store = store
        self._metrics = metrics

    async def run(self) -> None:
        """Poll every ``POLL_SECONDS`` until cancelled."""
        while True:
            await self.poll()
            await asyncio.sleep(POLL_SECONDS)

    async def poll(self) -> None:
        """Update the metrics; a figure that cannot be read keeps its last value."""
        open_count = _open_descriptor_count()
        if open_count is not None:
            limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            self._metrics.show_descriptors(open_count, limit)
        # An unavailable Redis is reported elsewhere; its user may lack the right to INFO.
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                memory = await self._store.memory()
            if memory is not None:
                self._metrics.show_memory(memory)


def _open_descriptor_count() -> int | None:
    """Return the number of open descriptors of this process; None if it cannot be read."""
    for folder in _DESCRIPTOR_FOLDERS:
        with contextlib.suppress(OSError):
            # Without the descriptor of the folder itself.
            return sum(1 for _ in os.scandir(folder)) - 1
    return None
