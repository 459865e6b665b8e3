"""The registry of open connections: limits their number, and closes them."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greyd.monitoring.web.http import max_connections

if TYPE_CHECKING:
    from greyd.monitoring.log import Log
    from greyd.monitoring.metrics import Metrics


MAX_IDLE_SECONDS = 1000
"""greyd closes a connection that is idle for longer; Postfix itself does after 300 s."""

MAX_DRAIN_SECONDS = 0.8
"""How long a shutdown waits for pending replies; the store's timeout is shorter."""

RESERVED_DESCRIPTORS = 32
"""File descriptors reserved for the store, the log etc., besides those of the metrics port."""

_LATE_BYTES_SECONDS = 0.05


class RegisteredConnection(Protocol):
    """A connection that the registry can close."""

    used_at: float
    """When its last request was answered, on the monotonic clock."""

    def is_idle(self) -> bool:
        """Whether no request waits for its reply."""

    def finish(self) -> None:
        """Close once all received requests are answered."""

    def abort(self) -> None:
        """Close at once, and discard unsent replies."""


@dataclass
class ConnectionRegistry:
    """All open connections of a process; limits their number."""

    metrics: Metrics
    log: Log

    def __post_init__(self) -> None:
        self._connections: set[RegisteredConnection] = set()
        self._all_closed = asyncio.Event()
        self._warned_at = 0.0

    def add(self, connection: RegisteredConnection) -> None:
        """Register a connection; at the limit, close the one that has been idle the longest."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        others = RESERVED_DESCRIPTORS + max_connections()
        if len(self._connections) >= max(descriptors - others, 1):
            self._make_room()
        self._connections.add(connection)
        self.metrics.connections.set(len(self._connections))

    def _make_room(self) -> None:
        idle = [each for each in self._connections if each.is_idle()]
        if idle:
            # No mail is affected: Postfix opens another connection.
            min(idle, key=lambda each: each.used_at).abort()
        if time.monotonic() - self._warned_at >= 1:
            self._warned_at = time.monotonic()
            self.log.warning(
                f"{len(self._connections)} connections are open and no more can be;"
                " closing idle ones (raise LimitNOFILE or ulimit -n)"
            )

    def remove(self, connection: RegisteredConnection) -> None:
        """Unregister a closed connection."""
        self._connections.discard(connection)
        self.metrics.connections.set(len(self._connections))
        if not self._connections:
            self._all_closed.set()

    async def close_idle(self) -> None:
        """Close connections idle for more than ``MAX_IDLE_SECONDS``; runs until cancelled."""
        while True:
            await asyncio.sleep(MAX_IDLE_SECONDS / 10)
            oldest = time.monotonic() - MAX_IDLE_SECONDS
            for connection in [each for each in self._connections if each.used_at < oldest]:
                connection.abort()

    async def drain(self) -> None:
        """Close all connections: once their requests are answered, or at ``MAX_DRAIN_SECONDS``."""
        # The kernel may not have delivered the latest requests yet.
        await asyncio.sleep(_LATE_BYTES_SECONDS)
        self._all_closed.clear()
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            try:
                await asyncio.wait_for(self._all_closed.wait(), MAX_DRAIN_SECONDS)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
