"""A Redis in this process with scripted replies, and a proxy that delays a Redis.

``FakeRedis`` keeps what it is given (in fakeredis), so it answers as Redis does, until a test tells
it what to answer instead: to the next so many commands of a name, before or after having done what
they ask. ``DelayingProxy`` holds all that passes through it for half a round trip, and spoils an
answer where it is told to.

Both serve from a thread of their own while their ``with`` block runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import fakeredis
import hiredis
from redis.exceptions import NoScriptError, RedisError

if TYPE_CHECKING:
    from collections.abc import Callable


class _Serving:
    """A server on a loopback port, in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        """The number of accepted connections."""
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _begin(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self.serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the other side has closed, or this one does
        finally:
            self._tasks.discard(task)
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it ends."""
        raise NotImplementedError


@dataclass
class Told:
    """A reply that replaces the right one."""

    reply: bytes | Callable[[Any], bytes]
    """The reply, or a function of the right one."""
    does: bool = True
    """Whether the command is executed nevertheless."""


@dataclass
class _Script:
    lock: threading.Lock = field(default_factory=threading.Lock)
    told: dict[str, deque[Told]] = field(default_factory=dict)

    def next(self, name: str) -> Told | None:
        with self.lock:
            waiting = self.told.get(name)
            return waiting.popleft() if waiting else None


class FakeRedis(_Serving):
    """A Redis."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: Counter[str] = Counter()
        """The number of received commands by name."""
        self.slots: Callable[[], list[Any]] = list
        """Returns the reply to CLUSTER SLOTS."""
        self._script = _Script()
        self._data = fakeredis.FakeStrictRedis()
        # What redis-py would make of the answers is not what Redis sends.
        self._data.response_callbacks.clear()

    @property
    def store(self) -> str:
        """The URL of this Redis."""
        return f"redis://127.0.0.1:{self.port}/0"

    def answer(self, name: str, *told: Told) -> None:
        """Set the replies to the next commands with this name."""
        with self._script.lock:
            self._script.told.setdefault(name, deque()).extend(told)

    @property
    def has_answered(self) -> bool:
        """Whether all scripted replies have been sent."""
        with self._script.lock:
            return not any(self._script.told.values())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it ends."""
        commands = hiredis.Reader()
        while data := await reader.read(65536):
            commands.feed(data)
            while (command := commands.gets()) is not False:
                writer.write(self._answer_to(command))
            await writer.drain()

    def _answer_to(self, command: list[bytes]) -> bytes:
        name = command[0].decode().upper()
        self.commands[name] += 1
        told = self._script.next(name)
        if told is not None and not told.does:
            assert isinstance(told.reply, bytes)
            return told.reply
        reply = self._do(name, command)
        if told is None:
            return encoded(reply)
        return told.reply if isinstance(told.reply, bytes) else told.reply(reply)

    def _do(self, name: str, command: list[bytes]) -> Any:
        if name in ("CLIENT", "ASKING"):
            return b"OK"
        if name == "CLUSTER":
            return self.slots()
        try:
            return self._data.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's has no types
        except NoScriptError as error:
            return hiredis.ReplyError(f"NOSCRIPT {error}")
        except RedisError as error:
            return hiredis.ReplyError(f"ERR {error}")


def encoded(reply: Any) -> bytes:
    """Encode a reply as Redis 6 does."""
    if isinstance(reply, hiredis.ReplyError):
        return b"-%b\r\n" % str(reply).encode()
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    return b"*%d\r\n" % len(reply) + b"".join(map(encoded, reply))


class DelayingProxy(_Serving):
    """A proxy that forwards connections to a port and delays data by half a round trip."""

    def __init__(self, port: int, round_trip_seconds: float = 0) -> None:
        super().__init__()
        self._to = port
        self.round_trip_seconds = round_trip_seconds
        """May be changed at any time."""
        self._spoilt: deque[bytes] = deque()

    def spoil(self, reply: bytes) -> None:
        """Forward this instead of the next data from Redis."""
        self._spoilt.append(reply)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until one of its sides ends."""
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            ways = [self._pass_on(reader, back), self._pass_on(there, writer, self._spoilt)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            back.close()

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        spoilt: deque[bytes] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(65536):
            if spoilt:
                data = spoilt.popleft()
            loop.call_later(self.round_trip_seconds / 2, _write, writer, data)
        # What is still on its way arrives before the end does.
        await asyncio.sleep(self.round_trip_seconds / 2)


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.write(data)
