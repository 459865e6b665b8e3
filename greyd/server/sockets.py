"""Listening sockets: TCP over IPv4 and IPv6, Unix, or activated by systemd."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from greyd.config.vocabulary import Endpoint
from greyd.redaction import redacted_path
from greyd.server.errors import SetupError
from greyd.server.files.folders import OwnFile, folder_of, private_folder, umask, working_folder
from greyd.server.systemd import activated_sockets

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Sequence
    from pathlib import Path

    from greyd.config.settings import Settings


DEFAULT_ENDPOINT = Endpoint("localhost", 10023)


class Owner(NamedTuple):
    """The owner and group of a Unix socket; -1 keeps those of the creating process."""

    uid: int = -1
    gid: int = -1


CURRENT_USER = Owner()


class UnixSocket(socket.socket):
    """A Unix socket with its full path; ``getsockname`` may return only the file name."""

    def __init__(self, path: Path) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self.path = path


def configured_endpoints(settings: Settings) -> Sequence[Endpoint]:
    """Return the configured TCP endpoints; the default one if no socket is configured."""
    return settings.inet if settings.inet or settings.unix else (DEFAULT_ENDPOINT,)


def listen(
    settings: Settings, undo: contextlib.ExitStack, owner: Owner = CURRENT_USER
) -> list[socket.socket]:
    """Return the sockets activated by systemd; without any, bind the configured ones.

    Args:
        settings: the endpoints, paths and modes of the sockets.
        undo: gets callbacks that remove the files of the Unix sockets, unless another process has
            replaced them.
        owner: the owner and group of the Unix sockets.

    Raises:
        SetupError: a socket can't be bound; the text says why and what to do.
    """
    activated = activated_sockets()
    if activated:
        return activated
    backlog = max(settings.listen_queue_size, 1)
    sockets = [
        each
        for endpoint in configured_endpoints(settings)
        for each in bind_inet(endpoint, backlog, "--inet")
    ]
    for path in settings.unix:
        bound, file = _bind_unix(path, settings.socket_mode, backlog, owner)
        sockets.append(bound)
        undo.callback(file.remove)
    return sockets


def bind_inet(endpoint: Endpoint, backlog: int, option: str) -> list[socket.socket]:
    """Bind all addresses of a host; skip unavailable ones, but raise if none can be bound."""
    shown = f"{option}={endpoint.host or '*'}:{endpoint.port}"
    try:
        found = _addresses(endpoint)
    except OSError as error:
        raise SetupError(f"{shown}: {error.strerror}; use an address of this host") from None
    sockets = []
    port = endpoint.port
    refused: OSError | None = None
    for family, address in found:
        try:
            bound = _bind(family, (address[0], port, *address[2:]), backlog)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise SetupError(f"{shown}: {_bind_error(error)}") from None
            refused = error
            continue
        sockets.append(bound)
        port = bound.getsockname()[1]
    if not sockets:
        raise SetupError(f"{shown}: {_bind_error(refused)}")
    return sockets


def _addresses(endpoint: Endpoint) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the distinct pairs of address family and address of a host.

    Raises:
        OSError: the host has no address.
    """
    if endpoint.host == "localhost":
        # Both families, because Postfix may try either. No lookup (RFC 6761, section 6.3), because
        # a minimal machine has no /etc/hosts.
        return [
            (socket.AF_INET, ("127.0.0.1", endpoint.port)),
            (socket.AF_INET6, ("::1", endpoint.port, 0, 0)),
        ]
    found = socket.getaddrinfo(
        endpoint.host or None, endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys((family, address) for family, *_, address in found))


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


def _bind_error(error: OSError | None) -> str:
    if error is None:
        return "no address; use one of this host"
    if error.errno == errno.EADDRINUSE:
        return "in use; is another greyd or postgrey running? (ss -ltnp shows who listens)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "not permitted; use a port above 1023, or start as root with --user"
    return f"{error.strerror}; use an address of this host"


def _bind_unix(path: Path, mode: int, backlog: int, owner: Owner) -> tuple[UnixSocket, OwnFile]:
    """Bind a Unix socket, which has its mode and owner from the moment it is visible.

    greyd never changes mode and owner through the path: the folder's owner could have put another
    file there.
    """
    bound = UnixSocket(path)
    try:
        with folder_of(path) as folder:
            _remove_stale_socket(path, folder)
            if os.geteuid() == 0 or owner != CURRENT_USER:
                file = _bind_aside(bound, folder, mode, backlog, owner)
            else:
                with umask(~mode & 0o777):
                    bound.bind(str(path))
                bound.listen(backlog)
                file = OwnFile(folder, path.name)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise SetupError(f"--unix={redacted_path(path)}: {_unix_bind_error(error)}") from None
    except SetupError:
        bound.close()
        raise
    return bound, file


def _bind_aside(bound: UnixSocket, folder: int, mode: int, backlog: int, owner: Owner) -> OwnFile:
    """Bind in a private folder, and link the finished socket to its final path.

    The address that the kernel reports is then only the file name, as for Postfix's own sockets.
    """
    name = bound.path.name
    with private_folder(folder, name) as private:
        with working_folder(private), umask(~mode & 0o777):
            bound.bind(name)
        file = OwnFile(private, name)
        try:
            if owner != CURRENT_USER:
                os.chown(name, *owner, dir_fd=private, follow_symlinks=False)
            bound.listen(backlog)
            file.link(folder)
        except OSError:
            file.remove()
            raise
    return file


def _unix_bind_error(error: OSError) -> str:
    if error.errno in (errno.EADDRINUSE, errno.EEXIST):
        return "in use; is another greyd or postgrey running?"
    return f"{error.strerror or error}; check its folder"


def _remove_stale_socket(path: Path, folder: int) -> None:
    """Remove the socket that a killed server has left; raise if a server still listens on it."""
    try:
        found = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise SetupError(
            f"--unix={redacted_path(path)}: a file that is not a socket has this name; remove it"
        )
    stale = OwnFile(folder, path.name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full backlog or missing permissions also mean that a server is listening.
        probe.setblocking(False)
        answer = probe.connect_ex(str(path))
    if answer not in (errno.ECONNREFUSED, errno.ENOENT):
        raise SetupError(
            f"--unix={redacted_path(path)}: in use; is another greyd or postgrey running?"
        )
    stale.remove()


def address_of(listening: socket.socket) -> str:
    """Return the address or path that a socket listens on, for the log and the record."""
    if isinstance(listening, UnixSocket):
        return str(listening.path)
    name = listening.getsockname()
    if isinstance(name, bytes):
        # Only systemd can open such a socket; Postfix can't connect to it.
        return "@" + os.fsdecode(name[1:])
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return str(name)
