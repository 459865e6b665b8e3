"""A process's life: sockets, pid file, privileges, the background, and what serves.

The order matters. Sockets are bound and the pid file is written with the rights of the start, then
privileges go; the store is opened and threads begin only after the last fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import os
import pwd
import resource
import signal
import socket
import sys
import threading
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from greyd.config.errors import SetupError
from greyd.config.loading import SERVICE_FOLDER, read_secrets, state_home
from greyd.server import os_signals
from greyd.server.folders import make_folder
from greyd.server.metrics_folder import MetricsFolder
from greyd.server.pid_file import PidFile
from greyd.server.sockets import Owner, bind_inet, listen
from greyd.server.systemd import notify, notify_reloading
from greyd.server.workers import Supervisor, TellOnce
from greyd.store.opening import check_store_file, open_store
from greyd.store.sqlite.permissions import folder_is_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from greyd.config.settings import Settings


def run(settings: Settings) -> int:
    """Start, serve until told to stop, and return the exit status.

    Raises:
        SetupError: something that was asked for can't be had; nothing is left behind.
        StoreError: the store can't be opened.
    """
    os_signals.hold()
    with contextlib.ExitStack() as undo:
        account = _account(settings)
        settings, folder = _prepare(settings, account)
        _raise_file_limit()
        metrics_folder = _make_metrics_folder(settings, account, undo)
        settings = _import_all(settings)
        # Only to see whether it is one, and to have its modules.
        open_store(settings, folder)
        sockets = listen(settings, undo, account.owner)
        web_sockets, settings = _listen_for_metrics(settings)
        waiting_parent = _to_background() if settings.daemonize else None
        settings = _write_pidfile(settings, undo)
        # What greyd stores tells who writes to whom: that is nobody else's business.
        os.umask(0o077)
        _drop_privileges(account)
        check_store_file(settings, folder)
        server = _Server(settings, folder, sockets, web_sockets, waiting_parent, metrics_folder)
        status = server.run()
    _leave_threads_behind(status)
    return status


def _leave_threads_behind(status: int) -> None:
    """End at once where a thread still works, e.g. reads a long whitelist: nobody waits for that.

    Python's own end would let it run into an interpreter that is being taken down.
    """
    if threading.active_count() > 1:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


# Before the start -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Account:
    """Whom the server runs as; None keeps the starting user."""

    name: str | None
    uid: int | None
    gid: int | None

    @property
    def owner(self) -> Owner:
        """Whom what it needs belongs to."""
        return Owner(*(-1 if number is None else number for number in (self.uid, self.gid)))

    @contextlib.contextmanager
    def rights(self) -> Iterator[None]:
        """Have only its rights meanwhile, so that what is made belongs to it from the start."""
        uid, gid = os.geteuid(), os.getegid()
        if self.gid is not None and uid == 0:
            os.setegid(self.gid)
        try:
            if self.uid is not None:
                os.seteuid(self.uid)
            yield
        finally:
            if self.uid is not None:
                os.seteuid(uid)
            os.setegid(gid)


def _account(settings: Settings) -> _Account:
    user, group = settings.user, settings.group
    try:
        by_user = pwd.getpwuid(int(user)) if user.isdecimal() else None
        entry = by_user or (pwd.getpwnam(user) if user else None)
    except (KeyError, OverflowError):
        raise SetupError(f"--user={user}: no such user; make it or name another") from None
    try:
        by_group = grp.getgrgid(int(group)) if group.isdecimal() else None
        named = by_group or (grp.getgrnam(group) if group else None)
        gid = named.gr_gid if named else None
    except (KeyError, OverflowError):
        raise SetupError(f"--group={group}: no such group; make it or name another") from None
    uid = entry.pw_uid if entry else None
    if gid is None and entry is not None:
        gid = entry.pw_gid
    if os.geteuid() != 0:
        if uid not in (None, os.geteuid()) or gid not in (None, os.getegid(), *os.getgroups()):
            raise SetupError("--user and --group: only root can become somebody else")
        # Another of this user's own groups can still have the sockets.
        return _Account(None, None, None if gid == os.getegid() else gid)
    return _Account(entry.pw_name if entry else None, uid, gid)


def _prepare(settings: Settings, account: _Account) -> tuple[Settings, Path]:
    """Fill in what depends on this machine; returns the settings and the store's folder."""
    warnings = list(settings.warnings)
    if os.geteuid() == 0 and account.uid in (None, 0):
        warnings.append("running as root; --user=NAME takes away rights that are not needed")
    uses_folder = not settings.store
    folder = settings.dbdir or (_make_default_folder(account) if uses_folder else SERVICE_FOLDER)
    if uses_folder and folder_is_missing(folder):
        raise SetupError(f"--dbdir={folder}: no such folder; make it, or name another")
    settings = replace(
        read_secrets(settings),
        hostname=socket.gethostname() if settings.hostname is None else settings.hostname,
        warnings=tuple(warnings),
    )
    return settings, folder


def _make_default_folder(account: _Account) -> Path:
    folder = SERVICE_FOLDER if os.geteuid() == 0 else state_home() / "greyd"
    if not folder.exists():
        try:
            make_folder(folder, 0o750, *account.owner)
        except OSError as error:
            raise SetupError(f"{folder}: {error.strerror}; name a folder by --dbdir") from None
    return folder


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
    # What is there is the child's from now on, also to be taken away.
    os_signals.release()
    if os.read(read_end, 1):
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) or 1)


def _write_pidfile(settings: Settings, undo: contextlib.ExitStack) -> Settings:
    """Write the pid file; in the foreground, where postgrey writes none, failing is a warning."""
    if settings.pidfile is None:
        return settings
    try:
        file = PidFile(settings.pidfile)
    except OSError as error:
        message = f"--pidfile={settings.pidfile}: {error.strerror}"
        if settings.daemonize:
            raise SetupError(message) from None
        return replace(settings, warnings=(*settings.warnings, message))
    undo.callback(file.remove)
    return settings


def _make_metrics_folder(
    settings: Settings, account: _Account, undo: contextlib.ExitStack
) -> MetricsFolder | None:
    """Make the folder in which the workers' metrics add up, where there are several."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if settings.workers == 1:
        return None
    try:
        with account.rights():
            folder = MetricsFolder()
    except OSError as error:
        raise SetupError(
            f"--workers={settings.workers}: no folder for the figures that the workers add up"
            f" ({error.strerror}); name a writable one in TMPDIR"
        ) from None
    undo.callback(folder.remove)
    return folder


def _import_all(settings: Settings) -> Settings:
    """Load what serving needs while it may be read: later only the user's files can be.

    The store's modules are loaded by ``open_store``.

    Returns:
        The settings, with a warning for each file that could not be used.
    """
    for module in ("concurrent.futures.thread", "encodings.idna", "uvloop", "greyd.server.serve"):
        import_module(module)
    if not settings.needs_evidence:
        return settings
    from greyd.dns import collector, resolver  # noqa: F401 - only to be loaded
    from greyd.rules import hostnames, public_suffixes

    hostnames.load_suffixes()
    return replace(settings, warnings=(*settings.warnings, *public_suffixes.in_force().faults))


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


def _listen_for_metrics(settings: Settings) -> tuple[list[socket.socket], Settings]:
    """Bind the metrics port. Mail does not depend on it, so failing is only a warning."""
    if settings.metrics is None:
        return [], settings
    try:
        return bind_inet(settings.metrics, 128, "--metrics"), settings
    except SetupError as error:
        return [], replace(settings, warnings=(*settings.warnings, f"no metrics: {error}"))


# Serving ----------------------------------------------------------------------------------------


@dataclass
class _Server:
    settings: Settings
    folder: Path
    sockets: list[socket.socket]
    web_sockets: list[socket.socket]
    waiting_parent: int | None
    metrics_folder: MetricsFolder | None
    """There where several workers serve."""

    def run(self) -> int:
        """Serve in this process, or in workers that it watches over."""
        if self.metrics_folder is None:
            # As the first process of a container, greyd inherits other processes' children.
            # It has none of its own; the kernel buries those that nobody waits for.
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            return self._serve(self._ready, self.settings.warnings, None)
        from greyd.server.serve import open_direct_log

        supervisor = Supervisor(
            self._serve_as_worker,
            self.sockets,
            self.settings.warnings,
            open_direct_log(self.settings, to_syslog=self.settings.daemonize),
            self.metrics_folder,
        )
        return supervisor.run(self.settings.workers, self._ready)

    def _serve_as_worker(
        self, ready: Callable[[], None], warnings: Sequence[str], lifeline: int
    ) -> int:
        def ready_and_silent() -> None:
            if self.waiting_parent is not None:
                _let_go_of_terminal()
            ready()

        return self._serve(ready_and_silent, warnings, lifeline)

    def _serve(
        self, ready: Callable[[], None], warnings: Sequence[str], lifeline: int | None
    ) -> int:
        import uvloop

        from greyd.server.serve import Place, serve

        place = Place(
            sockets=self.sockets,
            web_sockets=self.web_sockets,
            folder=self.folder,
            to_syslog=self.settings.daemonize,
            lifeline=lifeline,
            ready=ready,
            reloading=notify_reloading,
            stopping=lambda: notify("STOPPING=1"),
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(replace(self.settings, warnings=tuple(warnings)), place))

    def _ready(self) -> None:
        notify("READY=1")
        if self.waiting_parent is not None:
            _let_go_of_terminal()
            TellOnce(self.waiting_parent)()
            os.close(self.waiting_parent)
            self.waiting_parent = None


def _let_go_of_terminal() -> None:
    silent = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(silent, standard)
    os.close(silent)
