"""A connection to one Redis server that sends commands without waiting for earlier replies.

redis-py opens connections and authenticates (``greyd.store.redis.redis_py``), hiredis parses the
replies, and this module writes the commands and assigns the replies. redis-py's public API does
that too, but slower. Transactions per second relative to this module, with a real Redis
on loopback, median of five alternating rounds (new triplets / known ones):

======================================================  ================  ================
through redis-py's                                      50 at once        1 at a time
======================================================  ================  ================
``Redis`` client, a pooled connection per command       0.67 / 0.57       0.70 / 0.73
``Connection``, one task that reads the replies         0.48 / 0.45       0.70 / 0.68
======================================================  ================  ================

With these two, a whole server with 50 clients that send new triplets reached 0.37 and 0.66 of the
throughput.

Each command may come with a check of its reply. A reply that fails the check closes the connection,
since from then on it is unknown which reply belongs to which command.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis

from greyd.redaction import excerpt
from greyd.store.errors import StoreError
from greyd.store.redis.errors import (
    AbandonedError,
    ConnectionLostError,
    InvalidReplyError,
    RedirectionError,
    ScriptNotLoadedError,
    SlotMigrationError,
)
from greyd.store.redis.redis_py import release, take_transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Connection

    from greyd.store.redis.transport import Argument, ReplyCheck

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""The maximum size of a reply; the largest that greyd requests are smaller than 1 MiB."""

_INCOMPLETE = object()

_CLOSING_ERRORS = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED")
"""Errors after which greyd reconnects, to find the current master."""


class PipelinedConnection(asyncio.Protocol):
    """One open connection to a Redis server."""

    def __init__(self, name: str, on_lost: Callable[[PipelinedConnection], None]) -> None:
        self._name = name
        self._on_lost = on_lost
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._unfinished_bytes = 0
        self._progress_at = 0.0
        """The monotonic time of the last received bytes, or of the oldest command since then."""
        self._waiting: deque[tuple[asyncio.Future[Any], ReplyCheck | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._transport: asyncio.WriteTransport | None = None

    def take_over(self, connection: Connection) -> None:
        """Take over a connection that redis-py has opened.

        Raises:
            ConnectionLostError: the server has closed it already.
        """
        transport = take_transport(connection, self)
        if transport is None:
            raise ConnectionLostError(f"{self._name}: connection closed")
        self._connection = connection
        self._transport = transport

    def send(self, *command: Argument, is_valid: ReplyCheck | None = None) -> asyncio.Future[Any]:
        """Send a command; return a future of its reply."""
        future = self._loop.create_future()
        if self._transport is None:
            future.set_exception(ConnectionLostError(f"{self._name}: connection lost"))
            return future
        if not self._waiting:
            self._progress_at = time.monotonic()
        self._waiting.append((future, is_valid))
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]
        return future

    @property
    def is_busy(self) -> bool:
        """Whether a command waits for its reply."""
        return bool(self._waiting)

    def data_received(self, data: bytes) -> None:
        """Complete the oldest request with each reply."""
        self._unfinished_bytes += len(data)
        self._progress_at = time.monotonic()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                self._unfinished_bytes = 0
                self._hand_over(reply)
                if self._transport is None:
                    return
        except Exception:  # noqa: BLE001 - hiredis has several, MemoryError for a length among them
            self._close_invalid("does not speak Redis's protocol")
        if self._unfinished_bytes > MAX_REPLY_BYTES:
            self._close_invalid(f"a reply of more than {MAX_REPLY_BYTES} bytes")

    def _hand_over(self, reply: Any) -> None:
        if not self._waiting:
            self._close_invalid("a reply without a request")
            return
        future, is_valid = self._waiting.popleft()
        if isinstance(reply, hiredis.ReplyError):
            self._fail(future, str(reply))
        elif is_valid is not None and not is_valid(reply):
            self._reject(future, reply)
        elif not future.done():
            future.set_result(reply)

    def _fail(self, future: asyncio.Future[Any], text: str) -> None:
        """Fail a request with the error that Redis replied."""
        code = text.partition(" ")[0]
        error: StoreError
        if code == "NOSCRIPT":
            error = ScriptNotLoadedError(text)
        elif code == "TRYAGAIN":
            error = SlotMigrationError(text)
        elif code in ("MOVED", "ASK"):
            try:
                error = RedirectionError(self._name, text)
            except ValueError:
                self._reject(future, text)
                return
        else:
            error = StoreError(f"{self._name}: {excerpt(text)}")
        if not future.done():
            future.set_exception(error)
        if code in _CLOSING_ERRORS:
            self.close(text)

    def _reject(self, future: asyncio.Future[Any], reply: Any) -> None:
        self._waiting.appendleft((future, None))
        self._close_invalid(f"{_describe_reply(reply)} is no reply to the command sent", reply)

    def _close_invalid(self, reason: str, reply: Any = None) -> None:
        """Close after an invalid reply; the error of the oldest request contains the reply."""
        if self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(InvalidReplyError(f"{self._name}: {reason}", reply))
        self.close(reason, ConnectionLostError)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail all requests."""
        self.close(str(exc) if exc else "connection closed", ConnectionLostError)

    def abandon(self, patience_seconds: float) -> None:
        """Fail all requests; close the connection if no byte came for ``patience_seconds``."""
        if time.monotonic() - self._progress_at > patience_seconds:
            self.close("too slow", AbandonedError)
            return
        for future, _ in self._waiting:
            if not future.done():
                future.set_exception(AbandonedError(f"{self._name}: too slow"))

    def close(self, reason: str, error: type[StoreError] = StoreError) -> None:
        """Close the connection, and fail all requests with ``error``."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        if self._connection is not None:
            release(self._connection)
            self._connection = None
        self._on_lost(self)
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(error(f"{self._name}: {excerpt(reason)}"))


def _describe_reply(reply: Any) -> str:
    """Describe a reply briefly, for the log."""
    if reply is None:
        return "nil"
    if isinstance(reply, bytes):
        return repr(reply[:40])
    if isinstance(reply, str):
        return excerpt(reply[:40])
    if isinstance(reply, int | float):
        return repr(reply)
    return f"a {type(reply).__name__} of {len(reply)}"
