"""systemd: service notifications (sd_notify(3)) and activated sockets (sd_listen_fds(3))."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time

from greyd.redaction import excerpt
from greyd.server.errors import SetupError

_FIRST_ACTIVATED = 3
_UNIT = "check the socket unit (systemd.socket(5))"


def activated_sockets() -> list[socket.socket]:
    """Return the sockets that systemd has opened for this process, if any.

    Raises:
        SetupError: an announced descriptor is not a listening socket.
    """
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
        return []
    announced = os.environ.pop("LISTEN_FDS", "0")
    if not re.fullmatch(r"[0-9]{1,4}", announced):
        raise SetupError(f"LISTEN_FDS={excerpt(announced)}: not a number of sockets; {_UNIT}")
    last = _FIRST_ACTIVATED + int(announced)
    return [_adopt(number) for number in range(_FIRST_ACTIVATED, last)]


def _adopt(descriptor: int) -> socket.socket:
    """Return the listening socket on a descriptor.

    Raises:
        SetupError: the descriptor is not a listening socket.
    """
    try:
        taken = socket.socket(fileno=descriptor)
    except OSError as error:
        raise SetupError(
            f"LISTEN_FDS: descriptor {descriptor} is not a socket ({error.strerror}); {_UNIT}"
        ) from None
    try:
        if what := _defect(taken):
            raise SetupError(f"LISTEN_FDS: the socket on descriptor {descriptor} {what}; {_UNIT}")
    except SetupError:
        # Leave the descriptor open: greyd did not open it.
        taken.detach()
        raise
    taken.setblocking(False)
    os.set_inheritable(descriptor, False)
    return taken


def _defect(taken: socket.socket) -> str:
    """Return why greyd can't serve a socket; empty if it can."""
    if taken.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return "is neither a TCP nor a Unix socket"
    if taken.type != socket.SOCK_STREAM:
        return "is a datagram socket: use ListenStream= instead of ListenDatagram="
    if not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: use ListenStream= and Accept=no"
    return ""


def notify_reloading() -> None:
    """Notify systemd that the configuration is being reloaded."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify(state: str) -> None:
    """Send a state to systemd, if it started this service (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(state.encode(), address)
