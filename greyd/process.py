"""A process's life: sockets, pid file, privileges, the background, workers, systemd.

The order matters. Sockets are bound and the pid file is written with the rights of the start, then
privileges go; the store is opened and threads begin only after the last fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import os
import pwd
import resource
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from greyd.settings import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from greyd.settings import Settings

DEFAULT_ENDPOINT = Endpoint("localhost", 10023)
_FIRST_ACTIVATED = 3
_RESTART_SECONDS = 1.0


class SetupError(Exception):
    """The server can't be started so; the text says what is wrong and what to do."""


def run(settings: Settings) -> int:
    """Start, serve until told to stop, and return the exit status.

    Raises:
        SetupError: something that was asked for can't be had; nothing is left behind.
        StoreError: the store can't be opened.
    """
    account = _account(settings)
    settings, folder = _prepare(settings, account)
    _raise_file_limit()
    sockets = _listen(settings)
    web_sockets, settings = _listen_for_metrics(settings)
    waiting_parent = _to_background() if settings.daemonize else None
    settings = _write_pidfile(settings)
    metrics_folder = _metrics_folder(settings, account)
    # What greyd stores tells who writes to whom: that is nobody else's business.
    os.umask(0o077)
    try:
        _drop_privileges(account)
        server = _Server(settings, folder, sockets, web_sockets, waiting_parent)
        return server.serve_alone() if settings.workers == 1 else server.serve_with_workers()
    finally:
        _clean_up(settings, metrics_folder)


# Before the start -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Account:
    """Whom the server runs as; None keeps the starting user."""

    name: str | None
    uid: int | None
    gid: int | None


def _account(settings: Settings) -> _Account:
    try:
        entry = pwd.getpwnam(settings.user) if settings.user else None
    except KeyError:
        raise SetupError(f"--user={settings.user}: no such user; make it or name another") from None
    try:
        gid = grp.getgrnam(settings.group).gr_gid if settings.group else None
    except KeyError:
        raise SetupError(
            f"--group={settings.group}: no such group; make it or name another"
        ) from None
    uid = entry.pw_uid if entry else None
    if gid is None and entry is not None:
        gid = entry.pw_gid
    if os.geteuid() != 0:
        if uid not in (None, os.geteuid()) or gid not in (None, os.getegid(), *os.getgroups()):
            raise SetupError("--user and --group: only root can become somebody else")
        return _Account(None, None, None)
    return _Account(entry.pw_name if entry else None, uid, gid)


def _prepare(settings: Settings, account: _Account) -> tuple[Settings, Path]:
    """Fill in what depends on this machine; returns the settings and the store's folder."""
    warnings = list(settings.warnings)
    if os.geteuid() == 0 and account.uid in (None, 0):
        warnings.append("running as root; --user=NAME takes away rights that are not needed")
    folder = settings.dbdir or _make_default_folder(settings, account)
    uses_folder = not settings.store
    if uses_folder and not folder.is_dir():
        raise SetupError(f"--dbdir={folder}: no such folder; make it, or name another")
    settings = replace(
        settings,
        hostname=settings.hostname or socket.gethostname(),
        privacy_key=_read_secret(settings.privacy_key_file),
        warnings=tuple(warnings),
    )
    return settings, folder


def _make_default_folder(settings: Settings, account: _Account) -> Path:
    if os.geteuid() == 0:
        folder = Path("/var/lib/greyd")
    else:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        folder = Path(state) / "greyd"
    if not settings.store and not folder.exists():
        try:
            folder.mkdir(mode=0o750, parents=True)
            if account.uid is not None:
                os.chown(folder, account.uid, -1 if account.gid is None else account.gid)
        except OSError as error:
            raise SetupError(f"{folder}: {error.strerror}; name a folder by --dbdir") from None
    return folder


def _read_secret(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise SetupError(f"--privacy-key={file}: {error.strerror}") from None
    if len(secret) < 16:
        raise SetupError(
            f"--privacy-key={file}: less than 16 octets; openssl rand -hex 32 makes one"
        )
    return secret


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# Sockets ----------------------------------------------------------------------------------------


def _listen(settings: Settings) -> list[socket.socket]:
    """Return the sockets that systemd hands over, or bind those of the settings."""
    activated = _activated_sockets()
    if activated:
        return activated
    endpoints = settings.inet
    if not endpoints and not settings.unix:
        endpoints = (DEFAULT_ENDPOINT,)
    backlog = max(settings.listen_queue_size, 1)
    sockets = [each for endpoint in endpoints for each in _bind_inet(endpoint, backlog, "--inet")]
    sockets += [_bind_unix(path, settings.socket_mode, backlog) for path in settings.unix]
    return sockets


def _activated_sockets() -> list[socket.socket]:
    """Take the sockets that systemd has opened (sd_listen_fds(3))."""
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


def _bind_inet(endpoint: Endpoint, backlog: int, option: str) -> list[socket.socket]:
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


def _listen_for_metrics(settings: Settings) -> tuple[list[socket.socket], Settings]:
    """Bind the metrics port. Mail does not depend on it, so failing is only a warning."""
    if settings.metrics is None:
        return [], settings
    try:
        return _bind_inet(settings.metrics, 128, "--metrics"), settings
    except SetupError as error:
        return [], replace(settings, warnings=(*settings.warnings, f"no metrics: {error}"))


# The background, the pid file, the rights -------------------------------------------------------


def _to_background() -> int:
    """Go on in a child of its own session; the parent waits until that is ready, and exits.

    Returns:
        A descriptor on which the parent waits for an octet.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child:
        os.close(write_end)
        _wait_and_exit(child, read_end)
    os.close(read_end)
    os.setsid()
    return write_end


def _wait_and_exit(child: int, read_end: int) -> NoReturn:
    if os.read(read_end, 1):
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) or 1)


def _write_pidfile(settings: Settings) -> Settings:
    """Write the pid file; in the foreground, where postgrey writes none, failing is a warning."""
    if settings.pidfile is None:
        return settings
    try:
        settings.pidfile.write_text(f"{os.getpid()}\n")
    except OSError as error:
        message = f"--pidfile={settings.pidfile}: {error.strerror}"
        if settings.daemonize:
            raise SetupError(message) from None
        return replace(settings, pidfile=None, warnings=(*settings.warnings, message))
    return settings


def _metrics_folder(settings: Settings, account: _Account) -> Path | None:
    """Make the folder in which the workers' metrics add up, and tell prometheus-client."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if settings.workers == 1:
        return None
    folder = Path(tempfile.mkdtemp(prefix="greyd-metrics-"))
    if account.uid is not None:
        os.chown(folder, account.uid, -1)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return folder


def _drop_privileges(account: _Account) -> None:
    if os.geteuid() != 0:
        return
    if account.gid is not None:
        os.setgid(account.gid)
        os.setgroups([account.gid])
    if account.uid is not None:
        if account.name is not None and account.gid is not None:
            os.initgroups(account.name, account.gid)
        os.setuid(account.uid)


def _clean_up(settings: Settings, metrics_folder: Path | None) -> None:
    leftovers = [*settings.unix, *([settings.pidfile] if settings.pidfile else [])]
    for path in leftovers:
        # Without the rights of the start this may be refused; the next start copes.
        with contextlib.suppress(OSError):
            path.unlink()
    if metrics_folder is not None:
        shutil.rmtree(metrics_folder, ignore_errors=True)


# Serving ----------------------------------------------------------------------------------------


@dataclass
class _Server:
    settings: Settings
    folder: Path
    sockets: list[socket.socket]
    web_sockets: list[socket.socket]
    waiting_parent: int | None

    def serve_alone(self) -> int:
        """Serve in this process."""
        self._serve(self._ready)
        return 0

    def _serve(self, ready: Callable[[], None]) -> None:
        import uvloop

        from greyd.server import Place, serve

        place = Place(
            sockets=self.sockets,
            web_sockets=self.web_sockets,
            folder=self.folder,
            to_syslog=self.settings.daemonize,
            ready=ready,
            reloading=lambda: notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"),
            stopping=lambda: notify("STOPPING=1"),
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(self.settings, place))

    def _ready(self) -> None:
        notify("READY=1")
        if self.waiting_parent is not None:
            silent = os.open(os.devnull, os.O_RDWR)
            for standard in (0, 1, 2):
                os.dup2(silent, standard)
            _TellOnce(self.waiting_parent)()
            self.waiting_parent = None

    def serve_with_workers(self) -> int:
        """Serve in several processes, which this one watches over."""
        # Loaded once, shared by all workers' memory.
        from prometheus_client.multiprocess import mark_process_dead

        import greyd.server  # noqa: F401

        workers: dict[int, int] = {}
        stopping = False

        def forward(number: int, _frame: object) -> None:
            nonlocal stopping
            stopping = stopping or number != signal.SIGHUP
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, number)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, forward)
        for _ in range(self.settings.workers):
            worker, ready = self._start_worker(warn=not workers)
            workers[worker] = ready
        # A worker that ends before it is ready can't be set up; it has said why.
        all_ready = all(os.read(ready, 1) for ready in workers.values())
        if all_ready:
            self._ready()
        elif not stopping:
            forward(signal.SIGTERM, None)
        while workers:
            ended, _ = os.waitpid(-1, 0)
            os.close(workers.pop(ended))
            mark_process_dead(ended)  # type: ignore[no-untyped-call]
            if not stopping:
                time.sleep(_RESTART_SECONDS)
                worker, ready = self._start_worker(warn=False, died=ended)
                workers[worker] = ready
        return 0 if all_ready else 2

    def _start_worker(self, *, warn: bool, died: int = 0) -> tuple[int, int]:
        """Start a worker; returns its process id and the descriptor on which it gets ready."""
        read_end, write_end = os.pipe()
        worker = os.fork()
        if worker:
            os.close(write_end)
            return worker, read_end
        os.close(read_end)
        return self._be_worker(write_end, warn=warn, died=died)

    def _be_worker(self, write_end: int, *, warn: bool, died: int) -> NoReturn:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if died:
            warning = f"worker {died} ended; process {os.getpid()} takes its place"
            self.settings = replace(self.settings, warnings=(warning,))
        elif not warn:
            self.settings = replace(self.settings, warnings=())
        os.environ.pop("NOTIFY_SOCKET", None)
        status = 1
        try:
            self._serve(_TellOnce(write_end))
            status = 0
        except Exception as error:  # noqa: BLE001 - a process of its own ends with one line, too
            sys.stderr.write(f"greyd: {error}\n")
        finally:
            os._exit(status)


class _TellOnce:
    """Writes an octet when called for the first time: after a reload nobody waits any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def __call__(self) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, b"1")
            os.close(self._descriptor)
            self._descriptor = None


def notify(state: str) -> None:
    """Tell systemd, where it listens (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(state.encode(), address)
