"""Starts and stops the server process: sockets, pid file, privileges, background.

The order matters: sockets are bound and the pid file is written with the initial privileges, which
are then dropped; the store is opened and threads are started only after the last fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import threading
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

from greyd.config.secrets import read_secrets
from greyd.config.store_folder import SERVICE_FOLDER, own_state_folder, state_home
from greyd.redaction import redacted_path
from greyd.rules.site_rules.settings_check import check_settings
from greyd.server.account import Account, drop_privileges, find_account
from greyd.server.background import detach_from_terminal, fork_to_background
from greyd.server.description import record_of, run_file_folders
from greyd.server.errors import SetupError
from greyd.server.files.folders import make_folder
from greyd.server.files.metrics_folder import MetricsFolder
from greyd.server.files.pid_file import PidFile
from greyd.server.files.run_file import write_run_file
from greyd.server.os_signals import block
from greyd.server.sockets import bind_inet, listen
from greyd.server.systemd import notify, notify_reloading
from greyd.server.workers import ReadySignal, Supervisor
from greyd.store.opening import check_store_file, open_store
from greyd.store.sqlite.permissions import folder_is_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from greyd.config.settings import Settings


def run(settings: Settings) -> int:
    """Run the server until a signal stops it, and return the exit status.

    Raises:
        SetupError: a setting can't be applied; no file or socket is left behind.
        SettingsError: a domain or a member of a group is invalid, or is set twice.
        StoreError: the store can't be opened.
    """
    block()
    with contextlib.ExitStack() as undo:
        account = find_account(settings)
        settings, folder = _prepare(settings, account)
        _raise_file_limit()
        metrics_folder = _make_metrics_folder(settings, account, undo)
        settings = _import_modules(settings)
        check_settings(settings)
        # Validates the URL, and imports the store's modules while this process can read them.
        open_store(settings, folder)
        sockets = listen(settings, undo, account.owner)
        metrics_sockets, settings = _listen_for_metrics(settings)
        waiting_parent = fork_to_background() if settings.daemonize else None
        settings = _write_pidfile(settings, undo)
        # The store reveals who writes to whom: no other user may read it.
        os.umask(0o077)
        drop_privileges(account)
        check_store_file(settings, folder)
        settings = _write_run_file(settings, folder, sockets, metrics_sockets, undo)
        server = _Server(settings, folder, sockets, metrics_sockets, waiting_parent, metrics_folder)
        status = server.run()
    _exit_despite_threads(status)
    return status


def _exit_despite_threads(status: int) -> None:
    """Exit at once if a thread is still working, e.g. reading a long whitelist.

    A normal exit would wait for the thread, or crash it while the interpreter is finalised.
    """
    if threading.active_count() > 1:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _prepare(settings: Settings, account: Account) -> tuple[Settings, Path]:
    """Add secrets, host name and warnings to the settings; return them and the store's folder."""
    warnings = list(settings.warnings)
    if os.geteuid() == 0 and account.uid in (None, 0):
        warnings.append(
            "running as root; --user=NAME drops the privileges that greyd does not need"
        )
    uses_folder = not settings.store
    folder = settings.dbdir or (_make_default_folder(account) if uses_folder else SERVICE_FOLDER)
    if uses_folder and folder_is_missing(folder):
        raise SetupError(
            f"--dbdir={redacted_path(folder)}: no such folder; create it or name another"
        )
    settings = replace(
        read_secrets(settings),
        hostname=socket.gethostname() if settings.hostname is None else settings.hostname,
        warnings=tuple(warnings),
    )
    if settings.shadow_settings is not None:
        settings = replace(settings, shadow_settings=read_secrets(settings.shadow_settings))
    return settings, folder


def _make_default_folder(account: Account) -> Path:
    folder = SERVICE_FOLDER if os.geteuid() == 0 else state_home() / "greyd"
    if not folder.exists():
        try:
            make_folder(folder, 0o750, *account.owner)
        except OSError as error:
            raise SetupError(f"{folder}: {error.strerror}; name a folder with --dbdir") from None
    return folder


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _write_pidfile(settings: Settings, undo: contextlib.ExitStack) -> Settings:
    """Write the pid file. In the foreground a failure is a warning: postgrey writes none there."""
    if settings.pidfile is None:
        return settings
    try:
        file = PidFile(settings.pidfile)
    except OSError as error:
        message = f"--pidfile={redacted_path(settings.pidfile)}: {error.strerror}"
        if settings.daemonize:
            raise SetupError(message) from None
        return replace(settings, warnings=(*settings.warnings, message))
    undo.callback(file.remove)
    return settings


def _write_run_file(
    settings: Settings,
    folder: Path,
    sockets: Sequence[socket.socket],
    metrics_sockets: Sequence[socket.socket],
    undo: contextlib.ExitStack,
) -> Settings:
    """Write the record for the commands. A failure is a warning: mail does not depend on it."""
    record = record_of(settings, folder, sockets, metrics_sockets)
    folders = list(run_file_folders(settings, folder))
    try:
        file = write_run_file(record, folders, own_state_folder())
    except OSError as error:
        message = (
            f"no greyd.run: {error.strerror or error}; commands will not find this server; name a"
            f" writable folder with --run-dir (tried {', '.join(map(redacted_path, folders))})"
        )
        return replace(settings, warnings=(*settings.warnings, message))
    undo.callback(file.remove)
    return settings


def _make_metrics_folder(
    settings: Settings, account: Account, undo: contextlib.ExitStack
) -> MetricsFolder | None:
    """Create the folder of the workers' shared metrics; return None for a single process."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    if settings.workers == 1:
        return None
    try:
        with account.rights():
            folder = MetricsFolder()
    except OSError as error:
        raise SetupError(
            f"--workers={settings.workers}: can't create a folder for the workers' metrics"
            f" ({error.strerror}); set TMPDIR to a writable folder"
        ) from None
    undo.callback(folder.remove)
    return folder


def _import_modules(settings: Settings) -> Settings:
    """Import all modules that serving needs, before privileges are dropped.

    The exception is the store's modules, which ``open_store`` imports.

    Returns:
        The settings, with a warning for each public suffix list that can't be used.
    """
    for module in ("concurrent.futures.thread", "encodings.idna", "uvloop", "greyd.server.serve"):
        import_module(module)
    if not settings.reads_evidence_attributes:
        return settings
    from greyd.dns import collector, resolver, sender_check  # noqa: F401 - imported for later
    from greyd.rules import hostnames, public_suffixes
    from greyd.rules.client_names import generic_hostnames
    from greyd.rules.correspondence import mailbox_providers

    hostnames.load_suffixes()
    generic_hostnames.load_icann_suffixes()
    faults = [*public_suffixes.suffix_list_in_force().faults]
    if settings.learn_outbound:
        faults += mailbox_providers.mailbox_providers().faults
    return replace(settings, warnings=(*settings.warnings, *faults))


def _listen_for_metrics(settings: Settings) -> tuple[list[socket.socket], Settings]:
    """Bind the metrics port. A failure is only a warning: mail does not depend on it."""
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
    metrics_sockets: list[socket.socket]
    waiting_parent: int | None
    metrics_folder: MetricsFolder | None
    """None for a single process."""

    def run(self) -> int:
        """Serve in this process, or in workers that this process supervises."""
        if self.metrics_folder is None:
            # As the first process of a container, greyd inherits orphaned processes. It has no
            # children of its own, so the kernel can reap them all.
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            return self._serve(self._ready, self.settings.warnings, None)
        from greyd.server.log_setup import open_direct_log

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
                detach_from_terminal()
            ready()

        return self._serve(ready_and_silent, warnings, lifeline)

    def _serve(
        self, ready: Callable[[], None], warnings: Sequence[str], lifeline: int | None
    ) -> int:
        import uvloop

        from greyd.server.context import ServerContext
        from greyd.server.serve import serve

        context = ServerContext(
            sockets=self.sockets,
            metrics_sockets=self.metrics_sockets,
            folder=self.folder,
            to_syslog=self.settings.daemonize,
            lifeline=lifeline,
            ready=ready,
            reloading=notify_reloading,
            stopping=lambda: notify("STOPPING=1"),
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(replace(self.settings, warnings=tuple(warnings)), context))

    def _ready(self) -> None:
        notify("READY=1")
        if self.waiting_parent is not None:
            detach_from_terminal()
            ReadySignal(self.waiting_parent)()
            os.close(self.waiting_parent)
            self.waiting_parent = None
