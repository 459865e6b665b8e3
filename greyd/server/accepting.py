"""Accepts connections on the listening sockets."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from typing import TYPE_CHECKING

from greyd.server.connection_registry import MAX_DRAIN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.server.connection import Connection


async def accept_backlog(sockets: Sequence[socket.socket]) -> None:
    """Accept the connections in the backlog: closing the sockets would reset them."""
    waiting = select.poll()
    for listening in sockets:
        waiting.register(listening, select.POLLIN)
    deadline = time.monotonic() + MAX_DRAIN_SECONDS / 2
    # asyncio accepts the connections itself and offers no event to await.
    while waiting.poll(0) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def serve_socket(
    loop: asyncio.AbstractEventLoop, client: Callable[[], Connection], listening: socket.socket
) -> asyncio.Server:
    """Accept connections on a socket; ``client`` creates a protocol for each one."""
    if listening.family == socket.AF_UNIX:
        # greyd itself removes the socket's file; the loop would remove any file at that path.
        return await loop.create_unix_server(
            client,
            sock=listening,
            cleanup_socket=False,  # type: ignore[call-arg]  # since Python 3.13, and uvloop's own
        )
    return await loop.create_server(client, sock=listening)
