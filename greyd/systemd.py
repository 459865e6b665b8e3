"""What systemd and greyd tell each other: states (sd_notify(3)) and sockets (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import time

_FIRST_ACTIVATED = 3


def activated_sockets() -> list[socket.socket]:
    """Take the sockets that systemd has opened for this process, if any."""
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return []
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    sockets = [
        socket.socket(fileno=descriptor)
        for descriptor in range(_FIRST_ACTIVATED, _FIRST_ACTIVATED + count)
    ]
    for each in sockets:
        each.setblocking(False)
        os.set_inheritable(each.fileno(), False)
    return sockets


def notify_reloading() -> None:
    """Tell systemd that the configuration is being read again."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify(state: str) -> None:
    """Tell systemd, where it listens (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(state.encode(), address)
