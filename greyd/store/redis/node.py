"""One Redis server and the connection to it, which is made in the background when it is needed."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from greyd.store.errors import StoreError
from greyd.store.redis.pipelined_connection import PipelinedConnection
from greyd.store.redis.single_flight import SingleFlight, reason_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Connection

    from greyd.store.redis.store import Argument, ReplyCheck

    Connect = Callable[[], Awaitable[Connection]]


MAX_ROUND_TRIPS = 3
"""That a request may need: one call of the script, one more where Redis has lost it, and one more
where something else was there than was last seen."""
_CLIENT_NAME = "greyd"


class RedisNode:
    """One server: its link, made when it is needed."""

    def __init__(self, name: str, connect: Connect) -> None:
        self._name = name
        self._open = connect
        self._connection: PipelinedConnection | None = None
        self._connecting = SingleFlight(self._open_connection)
        self._round_trip_seconds = 0.0

    async def connect(self) -> None:
        """Connect, where there is no connection."""
        if self._connection is None:
            await self._connecting.result()

    def send(self, *command: Argument, is_valid: ReplyCheck | None = None) -> Awaitable[Any]:
        """Send a command, connecting first where there is no connection."""
        if self._connection is not None:
            return self._connection.send(*command, is_valid=is_valid)
        return self._connect_and_send(*command, is_valid=is_valid)

    async def send_asking(self, *command: Argument, is_valid: ReplyCheck | None = None) -> Any:
        """Send a command for a key that is on its way here; ``ASKING`` holds for the next alone."""
        connection = self._connection or await self._connecting.result()
        asking = connection.send("ASKING")
        asking.add_done_callback(_forget_error)
        return await connection.send(*command, is_valid=is_valid)

    async def _connect_and_send(self, *command: Argument, is_valid: ReplyCheck | None) -> Any:
        connection = await self._connecting.result()
        return await connection.send(*command, is_valid=is_valid)

    async def _open_connection(self) -> PipelinedConnection:
        try:
            opened = await self._open()
            try:
                self._round_trip_seconds = await _set_client_name(opened)
                connection = PipelinedConnection(self._name, self._forget)
                connection.take(opened)
            except BaseException:  # also where it is given up
                await opened.disconnect(nowait=True)
                raise
        except StoreError:
            raise
        except Exception as error:  # redis-py's have no common base
            raise StoreError(f"{self._name}: {reason_of(error)}") from error
        self._connection = connection
        return connection

    def _forget(self, connection: PipelinedConnection) -> None:
        if self._connection is connection:
            self._connection = None

    def explain_delay(self, timeout_seconds: float) -> str:
        """Return what is known of why answers take longer than ``timeout_seconds``."""
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
        """Whether somebody waits for it."""
        return self._connecting.is_running or (
            self._connection is not None and self._connection.is_busy
        )

    def abandon(self) -> None:
        """Let nobody wait any longer, and close the link.

        A connection in the making is kept, and one whose answers may still be on their way: each
        of a server that is far away would else end before it was of any use.
        """
        self._connecting.abandon()
        if self._connection is not None:
            self._connection.abandon(MAX_ROUND_TRIPS * self._round_trip_seconds)

    def close(self) -> None:
        """End all."""
        self._connecting.cancel()
        if self._connection is not None:
            self._connection.close("closing")


async def _set_client_name(connection: Connection) -> float:
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
