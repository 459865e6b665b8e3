"""A connection to one Redis server: commands go out as they come, answers come back in order.

redis-py connects and authenticates; then its transport is given to ``PipelinedConnection``.
``Node`` is a server:
it makes the link when it is needed, in the background, and keeps a connection that is in the making
even where those who wait for it have given up.

Each command may say what an answer to it looks like. An answer that does not fit costs the
connection, since nothing tells which of those behind it belong to which command.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis

from greyd.redaction import excerpt
from greyd.store.errors import StoreError
from greyd.store.redis.single_flight import AbandonedError
from greyd.store.redis.store import (
    ConnectionLostError,
    InvalidReplyError,
    ScriptNotLoadedError,
    SlotMigrationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Connection

    from greyd.store.redis.store import Argument, ReplyCheck


MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Of one answer; the largest that greyd asks for have less than one MiB."""

_MAX_SLOT = 16383
_MAX_PORT = 65535
_INCOMPLETE = object()

_NEW_MASTER = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED")
"""Errors after which it is worth to ask anew who the master is."""


class RedirectionError(StoreError):
    """A Cluster's node says that another one has the key (MOVED, ASK)."""

    def __init__(self, name: str, text: str) -> None:
        """Read what ``name`` says: ``MOVED SLOT HOST:PORT``, where the host may be missing.

        Raises:
            ValueError: the text is no redirection.
        """
        kind, slot, address = text.split(" ")
        host, _, port = address.rpartition(":")
        if not (0 <= int(slot) <= _MAX_SLOT and 0 < int(port) <= _MAX_PORT):
            raise ValueError(text)
        super().__init__(f"{name}: {excerpt(text)}; it is a Cluster's, write redis+cluster://")
        self.ask = kind == "ASK"
        self.host = host
        """Empty for the host that was asked."""
        self.port = int(port)


class PipelinedConnection(asyncio.Protocol):
    """One connection."""

    def __init__(self, name: str, lost: Callable[[PipelinedConnection], None]) -> None:
        self._name = name
        self._lost = lost
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._unfinished_bytes = 0
        self._progress_at = 0.0
        """When something was last received, or first waited for."""
        self._waiting: deque[tuple[asyncio.Future[Any], ReplyCheck | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._transport: asyncio.WriteTransport | None = None

    def take(self, connection: Connection) -> None:
        """Take over a connection that redis-py has made.

        Raises:
            ConnectionLost: the server has closed it already.
        """
        # redis-py has no public names for them.
        reader, writer = connection._reader, connection._writer  # noqa: SLF001
        if reader is None or writer is None or writer.transport.is_closing() or reader.at_eof():
            raise ConnectionLostError(f"{self._name}: connection closed")
        self._connection = connection
        self._transport = writer.transport
        writer.transport.set_protocol(self)

    def send(self, *command: Argument, is_valid: ReplyCheck | None = None) -> asyncio.Future[Any]:
        """Send a command with the others of this turn of the loop; returns its answer."""
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
        """Whether an answer is due."""
        return bool(self._waiting)

    def data_received(self, data: bytes) -> None:
        """Hand each answer to the one who waits longest."""
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
            self._end("does not speak Redis's protocol")
        if self._unfinished_bytes > MAX_REPLY_BYTES:
            self._end(f"an answer of more than {MAX_REPLY_BYTES} bytes")

    def _hand_over(self, reply: Any) -> None:
        if not self._waiting:
            self._end("an answer that nobody asked for")
            return
        future, is_valid = self._waiting.popleft()
        if isinstance(reply, hiredis.ReplyError):
            self._refused(future, str(reply))
        elif is_valid is not None and not is_valid(reply):
            self._misfits(future, reply)
        elif not future.done():
            future.set_result(reply)

    def _refused(self, future: asyncio.Future[Any], text: str) -> None:
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
                self._misfits(future, text)
                return
        else:
            error = StoreError(f"{self._name}: {excerpt(text)}")
        if not future.done():
            future.set_exception(error)
        if code in _NEW_MASTER:
            self.close(text)

    def _misfits(self, future: asyncio.Future[Any], reply: Any) -> None:
        self._waiting.appendleft((future, None))
        self._end(f"{_describe_reply(reply)} is no answer to what was asked", reply)

    def _end(self, reason: str, reply: Any = None) -> None:
        """Close for an answer that is none: the first who waits is told what it was."""
        if self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(InvalidReplyError(f"{self._name}: {reason}", reply))
        self.close(reason, ConnectionLostError)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self.close(str(exc) if exc else "connection closed", ConnectionLostError)

    def abandon(self, patience_seconds: float) -> None:
        """Let nobody wait any longer; close where nothing has been received for so long."""
        if time.monotonic() - self._progress_at > patience_seconds:
            self.close("too slow", AbandonedError)
            return
        for future, _ in self._waiting:
            if not future.done():
                future.set_exception(AbandonedError(f"{self._name}: too slow"))

    def close(self, reason: str, error: type[StoreError] = StoreError) -> None:
        """Give the connection up; all who wait get ``error``."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort()
        if self._connection is not None:
            # Its public way is a coroutine.
            self._connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001
            self._connection = None
        self._lost(self)
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(error(f"{self._name}: {excerpt(reason)}"))


def _describe_reply(reply: Any) -> str:
    """Return an answer in a few words, for the log."""
    if reply is None:
        return "nil"
    if isinstance(reply, bytes):
        return repr(reply[:40])
    if isinstance(reply, str):
        return excerpt(reply[:40])
    if isinstance(reply, int | float):
        return repr(reply)
    return f"a {type(reply).__name__} of {len(reply)}"
