"""One Redis server and the connection to it, which is opened in the background on first use."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from greyd.store.errors import StoreError
from greyd.store.redis.connection_errors import reason_of
from greyd.store.redis.pipelined_connection import PipelinedConnection
from greyd.store.redis.single_flight import SingleFlight

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Connection

    from greyd.store.redis.transport import Argument, ReplyCheck

    Connect = Callable[[], Awaitable[Connection]]

MAX_ROUND_TRIPS = 3
"""The maximum round trips of a request: call the script; send the script's text if Redis has lost
it; call it again if a value has changed since it was read."""

_CLIENT_NAME = "greyd"


class RedisNode:
    """A Redis server and the connection to it; ``name`` is for messages.

    Opening the connection continues even if all requests that wait for it give up.
    """

    def __init__(self, name: str, connect: Connect) -> None:
        self._name = name
        self._connect = connect
        self._connection: PipelinedConnection | None = None
        self._connecting = SingleFlight(self._open)
        self._round_trip_seconds = 0.0

    async def connect(self) -> None:
        """Connect unless connected."""
        if self._connection is None:
            await self._connecting.result()

    def send(self, *command: Argument, is_valid: ReplyCheck | None = None) -> Awaitable[Any]:
        """Send a command; connect first if needed."""
        if self._connection is not None:
            return self._connection.send(*command, is_valid=is_valid)
        return self._connect_and_send(*command, is_valid=is_valid)

    async def send_asking(self, *command: Argument, is_valid: ReplyCheck | None = None) -> Any:
        """Send a command for a key that is moving here, after ``ASKING``."""
        connection = self._connection or await self._connecting.result()
        asking = connection.send("ASKING")
        asking.add_done_callback(_ignore_error)
        return await connection.send(*command, is_valid=is_valid)

    async def _connect_and_send(self, *command: Argument, is_valid: ReplyCheck | None) -> Any:
        connection = await self._connecting.result()
        return await connection.send(*command, is_valid=is_valid)

    async def _open(self) -> PipelinedConnection:
        try:
            opened = await self._connect()
            try:
                self._round_trip_seconds = await _set_client_name(opened)
                connection = PipelinedConnection(self._name, self._forget)
                connection.take_over(opened)
            except BaseException:  # also when cancelled
                await opened.disconnect(nowait=True)
                raise
        except StoreError:
            raise
        except Exception as error:  # redis-py's errors have no common base
            raise StoreError(f"{self._name}: {reason_of(error)}") from error
        self._connection = connection
        return connection

    def _forget(self, connection: PipelinedConnection) -> None:
        if self._connection is connection:
            self._connection = None

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return why replies may take longer than ``timeout_seconds``; empty if unknown."""
        if self._connecting.is_running:
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
        """Whether a request waits for the connection or for a reply."""
        return self._connecting.is_running or (
            self._connection is not None and self._connection.is_busy
        )

    def abandon(self) -> None:
        """Fail all requests, and close a connection that hangs.

        Keeps a connection that is being opened, and one whose replies may still arrive: otherwise
        no connection to a distant server would last long enough to be useful.
        """
        self._connecting.abandon()
        if self._connection is not None:
            self._connection.abandon(MAX_ROUND_TRIPS * self._round_trip_seconds)

    def close(self) -> None:
        """Close the connection, and fail all requests."""
        self._connecting.cancel()
        if self._connection is not None:
            self._connection.close("closing")


async def _set_client_name(connection: Connection) -> float:
    """Set the name that ``CLIENT LIST`` shows; return the duration of the round trip in seconds."""
    started = time.monotonic()
    name = connection.client_name or _CLIENT_NAME
    await connection.send_command("CLIENT", "SETNAME", name)
    await connection.read_response()
    return time.monotonic() - started


def _ignore_error(future: asyncio.Future[Any]) -> None:
    # The command that follows ASKING fails for the same reason, and its caller gets the error.
    if not future.cancelled():
        future.exception()
