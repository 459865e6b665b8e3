"""What a serving process is given by whoever starts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class ServerContext:
    """What a serving process is given: its sockets and its folder, and whom to tell."""

    sockets: Sequence[socket.socket]
    metrics_sockets: Sequence[socket.socket]
    folder: Path
    to_syslog: bool
    lifeline: int | None
    """A socket that is closed when the process that watches over this one is gone.

    Until then it brings an octet for each other worker that has failed.
    """
    ready: Callable[[], None]
    reloading: Callable[[], None]
    stopping: Callable[[], None]
