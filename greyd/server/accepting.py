"""Accepts connections on the listening sockets."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from typing import TYPE_CHECKING

from greyd.server.connection_registry import MAX_DRAIN_SECONDS
from greyd.server.sockets import UnixSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.server.connection import Connection


async def accept_backlog(sockets: Sequence[socket.socket]) -> None:
    """Let the loop accept the clients in the queues: closing a socket would reset them."""
    waiting = select.poll()
    for listening in sockets:
        waiting.register(listening, select.POLLIN)
    deadline = time.monotonic() + MAX_DRAIN_SECONDS / 2
    # The kernel's queue has no event that the loop does not take for itself.
    while waiting.poll(0) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def serve_socket(
    loop: asyncio.AbstractEventLoop, client: Callable[[], Connection], listening: socket.socket
) -> asyncio.Server:
    """Accept connections on a socket; ``client`` makes the protocol of each."""
    if listening.family == socket.AF_UNIX:
        # Who made the socket's file removes it: the loop would remove whatever is at its name.
        return await loop.create_unix_server(
            client,
            sock=listening,
            cleanup_socket=False,  # type: ignore[call-arg]  # since Python 3.13, and uvloop's own
        )
    return await loop.create_server(client, sock=listening)


def address_of(listening: socket.socket) -> str:
    """Return what a socket listens on, for the log."""
    if isinstance(listening, UnixSocket):
        return str(listening.path)
    name = listening.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return str(name)
