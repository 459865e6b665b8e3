"""Connections of policy clients.

A connection's requests are answered in their order. What a client can make the process hold is
bounded: a few requests, and as many bytes of replies that it does not read.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.monitoring.http import max_connections
from greyd.policy.protocol import ProtocolError, RequestParser, encode_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.settings import Settings
    from greyd.monitoring.observer import Observer
    from greyd.policy.policy import Policy, Tell
    from greyd.rules.request import Request
    from greyd.store.circuit_breaker import CircuitBreaker


READ_BYTES = 8 * 1024
"""Read from a connection at a time; two such pieces may wait before no more is read from it."""

TURN = 20
"""Requests of one connection after which the others have their turn."""

MAX_UNANSWERED = 100
"""Requests in a row that deserve no answer, after which a connection is closed."""

IDLE_SECONDS = 1000
"""After which a connection without a complete request is closed; Postfix's own limit is 300 s."""

DRAIN_SECONDS = 0.8
"""How long a stop waits for answers under way; the store's deadline is shorter."""

OTHER_DESCRIPTORS = 32
"""File descriptors kept for the store, the log and the like, beside the metrics port's."""

_LATE_BYTES_SECONDS = 0.05


_READ_BUFFER = memoryview(bytearray(READ_BYTES))
"""All connections read into this; what was read is copied out at once."""


class Connection(asyncio.BufferedProtocol):
    """A policy client."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parser = RequestParser(of_identity=service.settings.needs_evidence)
        self._unread: deque[bytes] = deque()
        self._requests: Iterator[Request] = iter(())
        self._transport: Any = None
        self._busy = False
        """Something has been read that is not dealt with yet."""
        self._asking = False
        self._waiting = False
        """An answer is under way."""
        self._writable = True
        self._paused = False
        self._last = False
        self._unanswered = 0
        self.used_at = time.monotonic()

    # What the loop tells ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._service.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - a small buffer bounds memory
        """Return where to read into."""
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has been read; requests in it are taken out only as they are answered."""
        self._unread.append(bytes(_READ_BUFFER[:nbytes]))
        if not self._busy:
            self._busy = True
            self._go_on()
        else:
            self._transport.pause_reading()
            self._paused = True

    def eof_received(self) -> bool:
        """Answer what was asked before the client closed its side."""
        self._last = True
        return self._busy

    def pause_writing(self) -> None:
        """Wait: the client does not read its answers."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        if self._busy:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nobody is left to tell
        """Forget it; what is being decided is still stored."""
        self._unread.clear()
        self._requests = iter(())
        self._service.closed(self)

    # What it does -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Ask for one answer after the other, until one takes its time."""
        try:
            for _ in range(TURN):
                if self._waiting or not self._writable:
                    # Whoever tells the answer, or lets write again, goes on.
                    return
                request = self._next()
                if request is None:
                    self._rest()
                    return
                self._asking = self._waiting = True
                self._service.answer(request, self._tell)
                self._asking = False
        except Exception as error:  # noqa: BLE001 - Postfix asks again where it finds one closed
            self._service.observer.internal_error("connections", error, "closing this connection")
            self.abort()
        else:
            self._service.loop.call_soon(self._go_on)

    def _next(self) -> Request | None:
        """Return the next request; None where there is none yet."""
        try:
            while True:
                request = next(self._requests, None)
                if request is not None or not self._unread:
                    return request
                self._requests = self._parser.feed(self._unread.popleft())
        except ProtocolError as error:
            self._give_up(str(error))
            return None

    def _tell(self, reply: bytes | None) -> None:
        """Send a reply, and go on."""
        if not self._waiting:
            return
        self._waiting = False
        self.used_at = time.monotonic()
        if reply is not None:
            self._unanswered = 0
            if not self._transport.is_closing():
                self._transport.write(encode_reply(reply))
            if self._service.settings.exim:
                self._end()
        else:
            self._unanswered += 1
            if self._unanswered > MAX_UNANSWERED:
                self._give_up(f"{MAX_UNANSWERED} requests in a row deserved no answer")
        if not self._asking:
            self._go_on()

    def _give_up(self, reason: str) -> None:
        self._service.observer.protocol_error(f"closing a connection: {reason}")
        self._end()

    def _end(self) -> None:
        """Answer nothing more, and close."""
        self._unread.clear()
        self._requests = iter(())
        self._last = True

    def _rest(self) -> None:
        self._busy = False
        if self._last:
            self._transport.close()
        elif self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
            self._paused = False

    def finish(self) -> None:
        """Close as soon as nothing is left to answer."""
        self._last = True
        if not self._busy:
            self._transport.close()

    def is_idle(self) -> bool:
        """Whether nobody waits for an answer here."""
        return not self._busy

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()


@dataclass
class Service:
    """What all connections of a process share."""

    settings: Settings
    policy: Policy
    guard: CircuitBreaker
    observer: Observer

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._none_left = asyncio.Event()
        self._said_full_at = 0.0

    def answer(self, request: Request, tell: Tell) -> None:
        """Answer one request, whatever happens."""
        try:
            self.policy.answer(request, tell)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the mail
            tell(self.policy.failed(request, error))

    def opened(self, connection: Connection) -> None:
        """Count a connection; where no more can be, the one that is idle longest has to go."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        others = OTHER_DESCRIPTORS + max_connections()
        if len(self._connections) >= max(descriptors - others, 1):
            self._make_room()
        self._connections.add(connection)
        self.observer.metrics.connections.set(len(self._connections))

    def _make_room(self) -> None:
        idle = [each for each in self._connections if each.is_idle()]
        if idle:
            # Postfix opens another where it finds one closed, and nobody notices.
            min(idle, key=lambda each: each.used_at).abort()
        if time.monotonic() - self._said_full_at >= 1:
            self._said_full_at = time.monotonic()
            self.observer.log.warning(
                f"{len(self._connections)} connections are open and no more can be;"
                " closing idle ones (raise LimitNOFILE or ulimit -n)"
            )

    def closed(self, connection: Connection) -> None:
        """Discount a connection."""
        self._connections.discard(connection)
        self.observer.metrics.connections.set(len(self._connections))
        if not self._connections:
            self._none_left.set()

    async def close_idle(self) -> None:
        """Close connections that ask nothing for long, until cancelled."""
        while True:
            await asyncio.sleep(IDLE_SECONDS / 10)
            oldest = time.monotonic() - IDLE_SECONDS
            for connection in [each for each in self._connections if each.used_at < oldest]:
                connection.abort()

    async def drain(self) -> None:
        """Answer all that has been asked, and close all connections."""
        # What a client has sent a moment ago is still on its way through the kernel.
        await asyncio.sleep(_LATE_BYTES_SECONDS)
        self._none_left.clear()
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            try:
                await asyncio.wait_for(self._none_left.wait(), DRAIN_SECONDS)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
