"""What systemd and greyd tell each other: states (sd_notify(3)) and sockets (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os
import socket
import time

from greyd.redaction import shown
from greyd.settings import SetupError

_FIRST_ACTIVATED = 3


def activated_sockets() -> list[socket.socket]:
    """Take the sockets that systemd has opened for this process, if any.

    Raises:
        SetupError: what was announced is not there.
    """
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return []
    announced = os.environ.pop("LISTEN_FDS", "0")
    try:
        last = _FIRST_ACTIVATED + int(announced)
        sockets = [socket.socket(fileno=number) for number in range(_FIRST_ACTIVATED, last)]
    except (ValueError, OSError) as error:
        raise SetupError(
            f"LISTEN_FDS={shown(announced)}: no sockets there ({error}); see to the socket unit"
        ) from None
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
