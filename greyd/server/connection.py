"""Connections of policy clients.

A connection answers its requests in order. A client can occupy a bounded amount of memory: two
reads of requests, and the transport's buffer of unread replies.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from greyd.policy.pending_reply import PendingReply
from greyd.policy.protocol import ProtocolError, RequestParser, encode_reply
from greyd.server.connection_state import (
    INTAKE,
    PROGRESS,
    Intake,
    IntakeEvent,
    Progress,
    ProgressEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.settings import Settings
    from greyd.policy.observers import Observers
    from greyd.policy.policy import Policy
    from greyd.rules.request import Request
    from greyd.server.connection_registry import ConnectionRegistry


READ_BYTES = 8 * 1024
"""The size of one read. A read while earlier requests are pending pauses further reading."""

MAX_REQUESTS_PER_TURN = 20
"""Requests that a connection answers in one turn of the event loop."""

MAX_UNANSWERED = 100
"""Consecutive requests without a reply; after one more the connection is closed."""


_READ_BUFFER = memoryview(bytearray(READ_BYTES))
"""Shared by all connections: each copies its bytes out before the next read."""

# Module-level names for the members: on Python 3.11 each access through the class calls a Python
# function, too slow several times per request.
_IDLE, _BLOCKED, _RUNNING = Progress.IDLE, Progress.BLOCKED, Progress.RUNNING
_WAITING = Progress.WAITING
_RECEIVED, _RESUMED, _LOST = ProgressEvent.RECEIVED, ProgressEvent.RESUMED, ProgressEvent.LOST
_STALLED, _TAKEN, _RETURNED = ProgressEvent.STALLED, ProgressEvent.TAKEN, ProgressEvent.RETURNED
_REPLIED, _EXHAUSTED = ProgressEvent.REPLIED, ProgressEvent.EXHAUSTED
_OPEN, _ENDING, _PAUSED = Intake.OPEN, Intake.ENDING, Intake.PAUSED
_OVERRUN, _ENDED, _CAUGHT_UP = IntakeEvent.OVERRUN, IntakeEvent.ENDED, IntakeEvent.CAUGHT_UP


class Connection(asyncio.BufferedProtocol):
    """A connection of a policy client; ``greyd.server.connection_state`` defines its states."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Settings,
        policy: Policy,
        observers: Observers,
        registry: ConnectionRegistry,
    ) -> None:
        self._loop = loop
        self._closes_after_reply = settings.exim
        self._policy = policy
        self._observers = observers
        self._registry = registry
        self._parser = RequestParser(of_identity=settings.reads_evidence_attributes)
        self._unread: deque[bytes] = deque()
        """Received bytes that are not parsed yet."""
        self._requests: Iterator[Request] = iter(())
        """Parses requests lazily: each one after the previous request is answered."""
        self._transport: Any = None
        self._progress = _IDLE
        self._intake = _OPEN
        self._is_writable = True
        """Whether the transport's buffer of replies has room."""
        self._unanswered_count = 0
        self.used_at = time.monotonic()
        """When the last request was answered, on the monotonic clock."""

    # Called by the event loop -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        self._transport = transport
        self._registry.add(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - a small buffer bounds memory
        """Return the buffer to read into."""
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Queue the bytes read; answer their requests, or pause reading if others are pending."""
        self._unread.append(bytes(_READ_BUFFER[:nbytes]))
        before = self._progress
        self._progress = PROGRESS[before][_RECEIVED]
        if before is _IDLE:
            self._run()
        else:
            self._transport.pause_reading()
            self._intake = INTAKE[self._intake][_OVERRUN]

    def eof_received(self) -> bool:
        """Close once all received requests are answered; return whether any still is pending."""
        self._intake = INTAKE[self._intake][_ENDED]
        return self._progress is not _IDLE

    def pause_writing(self) -> None:
        """Stop answering requests: the client does not read its replies."""
        self._is_writable = False

    def resume_writing(self) -> None:
        """Continue answering requests."""
        self._is_writable = True
        before = self._progress
        self._progress = PROGRESS[before][_RESUMED]
        if before is _BLOCKED:
            self._run()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - no reply can be sent
        """Discard the remaining requests; the policy still stores a decision in progress."""
        self._progress = PROGRESS[self._progress][_LOST]
        self._discard_requests()
        self._registry.remove(self)

    # Answering ----------------------------------------------------------------------------------

    def _run(self) -> None:
        """Answer requests until none is left, a reply is deferred, or the turn is over."""
        try:
            for _ in range(MAX_REQUESTS_PER_TURN):
                if not self._is_writable:
                    self._progress = PROGRESS[self._progress][_STALLED]
                    return
                request = self._next_request()
                if request is None:
                    self._rest()
                    return
                self._progress = PROGRESS[self._progress][_TAKEN]
                self._policy.answer(request, PendingReply(self._send_reply))
                self._progress = PROGRESS[self._progress][_RETURNED]
                if self._progress is not _RUNNING:
                    # _send_reply continues when the reply comes.
                    return
        except Exception as error:  # noqa: BLE001 - Postfix reconnects and sends the request again
            self._progress = PROGRESS[self._progress][_LOST]
            self._observers.internal_error("connections", error, "closing this connection")
            self.abort()
        else:
            self._loop.call_soon(self._run_again)

    def _run_again(self) -> None:
        if self._progress is _RUNNING:
            self._run()

    def _next_request(self) -> Request | None:
        """Return the next complete request, or None."""
        try:
            while True:
                request = next(self._requests, None)
                if request is not None or not self._unread:
                    return request
                self._requests = self._parser.feed(self._unread.popleft())
        except ProtocolError as error:
            self._give_up(str(error))
            return None

    def _send_reply(self, reply: bytes | None) -> None:
        """Send a reply (None: send nothing), and continue with the next request."""
        before = self._progress
        self._progress = PROGRESS[before][_REPLIED]
        self.used_at = time.monotonic()
        if reply is not None:
            self._unanswered_count = 0
            if not self._transport.is_closing():
                self._transport.write(encode_reply(reply))
            if self._closes_after_reply:
                self._end()
        else:
            self._unanswered_count += 1
            if self._unanswered_count > MAX_UNANSWERED:
                self._give_up(f"{MAX_UNANSWERED} requests in a row deserved no answer")
        if before is _WAITING:
            self._run()

    def _rest(self) -> None:
        """Resume reading, or close, after all received requests are answered."""
        self._progress = PROGRESS[self._progress][_EXHAUSTED]
        before = self._intake
        self._intake = INTAKE[before][_CAUGHT_UP]
        if before is _ENDING:
            self._transport.close()
        elif before is _PAUSED and not self._transport.is_closing():
            self._transport.resume_reading()

    def _give_up(self, reason: str) -> None:
        self._observers.protocol_error(f"closing a connection: {reason}")
        self._end()

    def _end(self) -> None:
        """Discard the remaining requests, and close once the replies are sent."""
        self._discard_requests()
        self._intake = INTAKE[self._intake][_ENDED]

    def _discard_requests(self) -> None:
        self._unread.clear()
        self._requests = iter(())

    # Called by the registry ---------------------------------------------------------------------

    def finish(self) -> None:
        """Close once all received requests are answered."""
        self._intake = INTAKE[self._intake][_ENDED]
        if self._progress is _IDLE:
            self._transport.close()

    def is_idle(self) -> bool:
        """Whether no request waits for its reply."""
        return self._progress is _IDLE

    def abort(self) -> None:
        """Close at once, and discard unsent replies."""
        self._transport.abort()
