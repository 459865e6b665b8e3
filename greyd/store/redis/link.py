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
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import hiredis

from greyd.redaction import shown
from greyd.store.contract import StoreError
from greyd.store.redis.store import BadReply, ConnectionLost, KeysApart, ScriptMissing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Connection

    from greyd.store.redis.store import Argument, Fits

    Connect = Callable[[], Awaitable[Connection]]

MAX_REPLY_BYTES = 64 * 1024 * 1024
"""Of one answer; the largest that greyd asks for have less than one MiB."""

MAX_ROUND_TRIPS = 3
"""That a request may need: one call of the script, one more where Redis has lost it, and one more
where something else was there than was last seen."""

_MAX_SLOT = 16383
_MAX_PORT = 65535
_CLIENT_NAME = "greyd"
_INCOMPLETE = object()

_NEW_MASTER = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "UNBLOCKED")
"""Errors after which it is worth to ask anew who the master is."""

Result = TypeVar("Result")


class Redirected(StoreError):
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
        super().__init__(f"{name}: {shown(text)}; it is a Cluster's, write redis+cluster://")
        self.ask = kind == "ASK"
        self.host = host
        """Empty for the host that was asked."""
        self.port = int(port)


class Abandoned(StoreError):
    """Nobody waits for the answer any longer."""


class PipelinedConnection(asyncio.Protocol):
    """One connection."""

    def __init__(self, name: str, lost: Callable[[PipelinedConnection], None]) -> None:
        self._name = name
        self._lost = lost
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._unfinished_bytes = 0
        self._progress_at = 0.0
        """When something was last received, or first waited for."""
        self._waiting: deque[tuple[asyncio.Future[Any], Fits | None]] = deque()
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
            raise ConnectionLost(f"{self._name}: connection closed")
        self._connection = connection
        self._transport = writer.transport
        writer.transport.set_protocol(self)

    def send(self, *command: Argument, fits: Fits | None = None) -> asyncio.Future[Any]:
        """Send a command with the others of this turn of the loop; returns its answer."""
        future = self._loop.create_future()
        if self._transport is None:
            future.set_exception(ConnectionLost(f"{self._name}: connection lost"))
            return future
        if not self._waiting:
            self._progress_at = time.monotonic()
        self._waiting.append((future, fits))
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
        future, fits = self._waiting.popleft()
        if isinstance(reply, hiredis.ReplyError):
            self._refused(future, str(reply))
        elif fits is not None and not fits(reply):
            self._misfits(future, reply)
        elif not future.done():
            future.set_result(reply)

    def _refused(self, future: asyncio.Future[Any], text: str) -> None:
        code = text.partition(" ")[0]
        error: StoreError
        if code == "NOSCRIPT":
            error = ScriptMissing(text)
        elif code == "TRYAGAIN":
            error = KeysApart(text)
        elif code in ("MOVED", "ASK"):
            try:
                error = Redirected(self._name, text)
            except ValueError:
                self._misfits(future, text)
                return
        else:
            error = StoreError(f"{self._name}: {shown(text)}")
        if not future.done():
            future.set_exception(error)
        if code in _NEW_MASTER:
            self.close(text)

    def _misfits(self, future: asyncio.Future[Any], reply: Any) -> None:
        self._waiting.appendleft((future, None))
        self._end(f"{_described(reply)} is no answer to what was asked", reply)

    def _end(self, reason: str, reply: Any = None) -> None:
        """Close for an answer that is none: the first who waits is told what it was."""
        if self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_exception(BadReply(f"{self._name}: {reason}", reply))
        self.close(reason, ConnectionLost)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self.close(str(exc) if exc else "connection closed", ConnectionLost)

    def abandon(self, patience_seconds: float) -> None:
        """Let nobody wait any longer; close where nothing has been received for so long."""
        if time.monotonic() - self._progress_at > patience_seconds:
            self.close("too slow", Abandoned)
            return
        for future, _ in self._waiting:
            if not future.done():
                future.set_exception(Abandoned(f"{self._name}: too slow"))

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
                future.set_exception(error(f"{self._name}: {shown(reason)}"))


def _described(reply: Any) -> str:
    """Return an answer in a few words, for the log."""
    if reply is None:
        return "nil"
    if isinstance(reply, bytes):
        return repr(reply[:40])
    if isinstance(reply, str):
        return shown(reply[:40])
    if isinstance(reply, int | float):
        return repr(reply)
    return f"a {type(reply).__name__} of {len(reply)}"


class Shared(Generic[Result]):
    """Work in the background for whoever wants its result; it goes on where they give up."""

    def __init__(self, work: Callable[[], Awaitable[Result]]) -> None:
        self._work = work
        self._task: asyncio.Task[Result] | None = None
        self._waiting: list[asyncio.Future[Result]] = []

    @property
    def is_running(self) -> bool:
        """Whether it is under way."""
        return self._task is not None

    def start(self) -> None:
        """Begin, where it is not under way."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._do())
            self._task.add_done_callback(self._done)

    def result(self) -> asyncio.Future[Result]:
        """Begin, where it is not under way; returns what will come of it."""
        self.start()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    async def _do(self) -> Result:
        try:
            return await self._work()
        except StoreError:
            raise
        except Exception as error:
            # Whatever it is, it is said once, and for those who wait the store has failed.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the store is away", "exception": error, "part": "Redis"}
            )
            raise StoreError(f"internal error: {reason_of(error)}") from error

    def _done(self, task: asyncio.Task[Result]) -> None:
        self._task = None
        waiting, self._waiting = self._waiting, []
        error = StoreError("closing") if task.cancelled() else task.exception()
        for future in waiting:
            if future.done():
                continue
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

    def abandon(self) -> None:
        """Let nobody wait for it any longer; the work goes on."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_exception(Abandoned("not connected yet"))

    def cancel(self) -> None:
        """End it; who waits for it gets an error."""
        if self._task is not None:
            self._task.cancel()


class Node:
    """One server: its link, made when it is needed."""

    def __init__(self, name: str, connect: Connect) -> None:
        self._name = name
        self._connect = connect
        self._link: PipelinedConnection | None = None
        self._linking = Shared(self._make_link)
        self._round_trip_seconds = 0.0

    async def connect(self) -> None:
        """Connect, where there is no connection."""
        if self._link is None:
            await self._linking.result()

    def send(self, *command: Argument, fits: Fits | None = None) -> Awaitable[Any]:
        """Send a command, connecting first where there is no connection."""
        if self._link is not None:
            return self._link.send(*command, fits=fits)
        return self._link_and_send(*command, fits=fits)

    async def send_asking(self, *command: Argument, fits: Fits | None = None) -> Any:
        """Send a command for a key that is on its way here; ``ASKING`` holds for the next alone."""
        link = self._link or await self._linking.result()
        asking = link.send("ASKING")
        asking.add_done_callback(_forget_error)
        return await link.send(*command, fits=fits)

    async def _link_and_send(self, *command: Argument, fits: Fits | None) -> Any:
        link = await self._linking.result()
        return await link.send(*command, fits=fits)

    async def _make_link(self) -> PipelinedConnection:
        try:
            connection = await self._connect()
            try:
                self._round_trip_seconds = await _give_name(connection)
                link = PipelinedConnection(self._name, self._forget)
                link.take(connection)
            except BaseException:  # also where it is given up
                await connection.disconnect(nowait=True)
                raise
        except StoreError:
            raise
        except Exception as error:  # redis-py's have no common base
            raise StoreError(f"{self._name}: {reason_of(error)}") from error
        self._link = link
        return link

    def _forget(self, link: PipelinedConnection) -> None:
        if self._link is link:
            self._link = None

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return what is known of why answers take longer than ``timeout_seconds``."""
        if self._linking.is_running:
            return f"still connecting to {self._name}"
        needed = MAX_ROUND_TRIPS * self._round_trip_seconds
        if needed < timeout_seconds:
            return ""
        return (
            f"a round trip to {self._name} takes {self._round_trip_seconds * 1000:.0f} ms and a"
            f" request may need {MAX_ROUND_TRIPS}: --store-timeout={timeout_seconds:g} is too"
            f" short, set {math.ceil(needed * 10 + 1) / 10:g} or more"
        )

    @property
    def is_busy(self) -> bool:
        """Whether somebody waits for it."""
        return self._linking.is_running or (self._link is not None and self._link.is_busy)

    def abandon(self) -> None:
        """Let nobody wait any longer, and close the link.

        A connection in the making is kept, and one whose answers may still be on their way: each
        of a server that is far away would else end before it was of any use.
        """
        self._linking.abandon()
        if self._link is not None:
            self._link.abandon(MAX_ROUND_TRIPS * self._round_trip_seconds)

    def close(self) -> None:
        """End all."""
        self._linking.cancel()
        if self._link is not None:
            self._link.close("closing")


async def _give_name(connection: Connection) -> float:
    """Tell Redis who connects, for its ``CLIENT LIST``; returns how long the answer took."""
    started = time.monotonic()
    name = connection.client_name or _CLIENT_NAME
    await connection.send_command("CLIENT", "SETNAME", name)
    await connection.read_response()
    return time.monotonic() - started


def _forget_error(future: asyncio.Future[Any]) -> None:
    # The command that follows fails for the same reason, and is waited for.
    if not future.cancelled():
        future.exception()


def reason_of(error: Exception) -> str:
    """Return what went wrong in a few words."""
    if isinstance(error, StoreError):
        return str(error)
    if isinstance(error, TimeoutError) or not str(error):
        return "no answer in time"
    return shown(str(error).partition(" : ")[0])
