"""The environment of a serving process: sockets, folder, and callbacks to its parent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class ServerContext:
    """The resources and callbacks that ``greyd.server.process`` gives to a serving process."""

    sockets: Sequence[socket.socket]
    metrics_sockets: Sequence[socket.socket]
    folder: Path
    to_syslog: bool
    lifeline: int | None
    """A socket to the supervising process; None for a single process.

    End of file means that the supervisor has ended; each byte, that another worker has failed.
    """
    ready: Callable[[], None]
    reloading: Callable[[], None]
    stopping: Callable[[], None]
