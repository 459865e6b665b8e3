"""Connections of policy clients.

A connection's requests are answered in their order. What a client can make the process hold is
bounded: a few requests, and as many bytes of replies that it does not read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from greyd.policy.pending_reply import PendingReply
from greyd.policy.protocol import ProtocolError, RequestParser, encode_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.rules.request import Request
    from greyd.server.connection_registry import ConnectionRegistry


READ_BYTES = 8 * 1024
"""Read from a connection at a time; two such pieces may wait before no more is read from it."""

MAX_REQUESTS_PER_TURN = 20
"""Requests of one connection after which the others have their turn."""

MAX_UNANSWERED = 100
"""Requests in a row that deserve no answer, after which a connection is closed."""


_READ_BUFFER = memoryview(bytearray(READ_BYTES))
"""All connections read into this; what was read is copied out at once."""


class Connection(asyncio.BufferedProtocol):
    """A policy client."""

    def __init__(self, registry: ConnectionRegistry) -> None:
        self._registry = registry
        self._parser = RequestParser(of_identity=registry.settings.needs_evidence)
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
        self._registry.add(self)

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
        self._registry.remove(self)

    # What it does -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Ask for one answer after the other, until one takes its time."""
        try:
            for _ in range(MAX_REQUESTS_PER_TURN):
                if self._waiting or not self._writable:
                    # Whoever tells the answer, or lets write again, goes on.
                    return
                request = self._next()
                if request is None:
                    self._rest()
                    return
                self._asking = self._waiting = True
                self._registry.answer(request, PendingReply(self._tell))
                self._asking = False
        except Exception as error:  # noqa: BLE001 - Postfix asks again where it finds one closed
            self._registry.observer.internal_error("connections", error, "closing this connection")
            self.abort()
        else:
            self._registry.loop.call_soon(self._go_on)

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
        self._waiting = False
        self.used_at = time.monotonic()
        if reply is not None:
            self._unanswered = 0
            if not self._transport.is_closing():
                self._transport.write(encode_reply(reply))
            if self._registry.settings.exim:
                self._end()
        else:
            self._unanswered += 1
            if self._unanswered > MAX_UNANSWERED:
                self._give_up(f"{MAX_UNANSWERED} requests in a row deserved no answer")
        if not self._asking:
            self._go_on()

    def _give_up(self, reason: str) -> None:
        self._registry.observer.protocol_error(f"closing a connection: {reason}")
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
