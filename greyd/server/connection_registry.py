"""All connections of a process, and their limits."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from greyd.monitoring.http import max_connections

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.monitoring.log import Log
    from greyd.monitoring.metrics import Metrics
    from greyd.policy.observers import Observers
    from greyd.policy.pending_reply import PendingReply
    from greyd.policy.policy import Policy
    from greyd.rules.request import Request
    from greyd.store.circuit_breaker import CircuitBreaker


MAX_IDLE_SECONDS = 1000
"""After which a connection without a complete request is closed; Postfix's own limit is 300 s."""

MAX_DRAIN_SECONDS = 0.8
"""How long a stop waits for answers under way; the store's deadline is shorter."""

RESERVED_DESCRIPTORS = 32
"""File descriptors kept for the store, the log and the like, beside the metrics port's."""

_LATE_BYTES_SECONDS = 0.05


class RegisteredConnection(Protocol):
    """A connection that the registry can close."""

    used_at: float
    """When its last request was answered, on the monotonic clock."""

    def is_idle(self) -> bool:
        """Whether no request waits for its reply."""

    def finish(self) -> None:
        """Close as soon as all requests received are answered."""

    def abort(self) -> None:
        """Close at once."""


@dataclass
class ConnectionRegistry:
    """What all connections of a process share."""

    settings: Settings
    policy: Policy
    circuit_breaker: CircuitBreaker
    observers: Observers
    metrics: Metrics
    log: Log

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._connections: set[RegisteredConnection] = set()
        self._all_closed = asyncio.Event()
        self._warned_at = 0.0

    def answer(self, request: Request, reply: PendingReply) -> None:
        """Answer one request."""
        self.policy.answer(request, reply)

    def add(self, connection: RegisteredConnection) -> None:
        """Count a connection; where no more can be, the one that is idle longest has to go."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        others = RESERVED_DESCRIPTORS + max_connections()
        if len(self._connections) >= max(descriptors - others, 1):
            self._make_room()
        self._connections.add(connection)
        self.metrics.connections.set(len(self._connections))

    def _make_room(self) -> None:
        idle = [each for each in self._connections if each.is_idle()]
        if idle:
            # Postfix opens another where it finds one closed, and nobody notices.
            min(idle, key=lambda each: each.used_at).abort()
        if time.monotonic() - self._warned_at >= 1:
            self._warned_at = time.monotonic()
            self.log.warning(
                f"{len(self._connections)} connections are open and no more can be;"
                " closing idle ones (raise LimitNOFILE or ulimit -n)"
            )

    def remove(self, connection: RegisteredConnection) -> None:
        """Discount a connection."""
        self._connections.discard(connection)
        self.metrics.connections.set(len(self._connections))
        if not self._connections:
            self._all_closed.set()

    async def close_idle(self) -> None:
        """Close connections that ask nothing for long, until cancelled."""
        while True:
            await asyncio.sleep(MAX_IDLE_SECONDS / 10)
            oldest = time.monotonic() - MAX_IDLE_SECONDS
            for connection in [each for each in self._connections if each.used_at < oldest]:
                connection.abort()

    async def drain(self) -> None:
        """Answer all that has been asked, and close all connections."""
        # What a client has sent a moment ago is still on its way through the kernel.
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
