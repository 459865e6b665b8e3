"""Sockets to listen on: TCP on both families, Unix sockets, or those that systemd has opened."""

from __future__ import annotations

import contextlib
import errno
import socket
import stat
from typing import TYPE_CHECKING

from greyd.settings import Endpoint, SetupError
from greyd.systemd import activated_sockets

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from greyd.settings import Settings

DEFAULT_ENDPOINT = Endpoint("localhost", 10023)


def listen(settings: Settings, undo: contextlib.ExitStack) -> list[socket.socket]:
    """Take the sockets that systemd hands over, or bind those of the settings.

    ``undo`` takes away the files of Unix sockets.

    Raises:
        SetupError: one can't be bound; the text says why and what to do.
    """
    activated = activated_sockets()
    if activated:
        return activated
    endpoints = settings.inet
    if not endpoints and not settings.unix:
        endpoints = (DEFAULT_ENDPOINT,)
    backlog = max(settings.listen_queue_size, 1)
    sockets = [each for endpoint in endpoints for each in bind_inet(endpoint, backlog, "--inet")]
    for path in settings.unix:
        sockets.append(_bind_unix(path, settings.socket_mode, backlog))
        undo.callback(take_away, path)
    return sockets


def take_away(path: Path) -> None:
    """Remove a file of ours; without the rights of the start that may be refused."""
    with contextlib.suppress(OSError):
        path.unlink()


def bind_inet(endpoint: Endpoint, backlog: int, option: str) -> list[socket.socket]:
    """Bind all addresses of a host; of localhost and of all interfaces one family will do."""
    shown = f"{option}={endpoint.host or '*'}:{endpoint.port}"
    try:
        found = socket.getaddrinfo(
            endpoint.host or None, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise SetupError(f"{shown}: {error.strerror}; write an address of this host") from None
    sockets = []
    port = endpoint.port
    refused: OSError | None = None
    for family, *_, address in _one_of_each(found, endpoint):
        try:
            bound = _bind(family, (address[0], port, *address[2:]), backlog)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise SetupError(f"{shown}: {_why(error)}") from None
            refused = error
            continue
        sockets.append(bound)
        port = bound.getsockname()[1]
    if not sockets:
        raise SetupError(f"{shown}: {_why(refused)}")
    return sockets


def _one_of_each(found: Iterable[tuple], endpoint: Endpoint) -> list[tuple]:  # type: ignore[type-arg]
    distinct = list(dict.fromkeys(found))
    if endpoint.host == "localhost":
        # Both families, whatever /etc/hosts says of them: Postfix may try either.
        distinct = [
            (socket.AF_INET, 0, 0, "", ("127.0.0.1", endpoint.port)),
            (socket.AF_INET6, 0, 0, "", ("::1", endpoint.port, 0, 0)),
        ]
    return distinct


def _bind(family: int, address: tuple[object, ...], backlog: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(backlog)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _why(error: OSError | None) -> str:
    if error is None:
        return "no address; write one of this host"
    if error.errno == errno.EADDRINUSE:
        return "in use; is another greyd or postgrey running? (ss -ltnp shows who listens)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not allowed; take a port above 1023, or start as root with --user"
    return f"{error.strerror}; write an address of this host"


def _bind_unix(path: Path, mode: int, backlog: int) -> socket.socket:
    _remove_stale_socket(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(mode)
        bound.listen(backlog)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise SetupError(f"--unix={path}: {error.strerror}; see to its folder") from None
    return bound


def _remove_stale_socket(path: Path) -> None:
    """Take away a socket that a server left when it was killed; one in use is an error."""
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return
    if not is_socket:
        raise SetupError(f"--unix={path}: there is a file that is no socket; take it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise SetupError(f"--unix={path}: in use; is another greyd or postgrey running?")
    with contextlib.suppress(OSError):
        path.unlink()
