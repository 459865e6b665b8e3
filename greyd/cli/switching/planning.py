"""Plans a switch: what it does on this machine, and what prevents it."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.context import STORE_TIMEOUT_SECONDS
from greyd.cli.errors import CommandError
from greyd.cli.importing.postgrey.programs import BerkeleyDbPrograms
from greyd.cli.server.choice import store_url
from greyd.cli.switching.changes import FileToWrite
from greyd.cli.switching.services.init_scripts import InitScripts, greyds_script
from greyd.cli.switching.services.systemd import SystemdServices
from greyd.cli.switching.settings_plan import SettingsPlan, plan_settings
from greyd.cli.switching.switch import GREYD, GREYD_SOCKET, SwitchPlan
from greyd.config.secrets import read_secrets
from greyd.config.server_settings import service_environment
from greyd.config.store_folder import SERVICE_FOLDER
from greyd.doctor.listeners import TcpListener, configured_listeners
from greyd.rules.site_rules.settings_check import check_settings
from greyd.store.opening import is_sqlite_url, sqlite_file
from greyd.whitelist.files import files_in_force

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.cli.switching.found_postgrey import FoundPostgrey
    from greyd.cli.switching.services.interface import ServiceManager
    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener

_SOCKET_DROP_IN = Path("/etc/systemd/system/greyd.socket.d/switch-from-postgrey.conf")
_SELINUX = Path("/sys/fs/selinux/enforce")
_INIT_SCRIPT = Path("/etc/init.d/greyd")
_ACCOUNTS = ("greyd", "postgrey")
MAX_SHOWN_PROCESSES = 5


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of a switch, and the reasons that prevent it."""

    switch: SwitchPlan
    settings: SettingsPlan
    blockers: tuple[str, ...] = ()
    """What prevents the switch, each with the remedy."""
    remarks: tuple[str, ...] = ()
    """What is different afterwards."""

    @property
    def greyds_settings(self) -> Settings:
        """Greyd's settings after the switch, with a command's timeout of the store."""
        settings = self.settings.settings
        return replace(
            settings,
            dbdir=settings.dbdir or SERVICE_FOLDER,
            store_timeout_seconds=STORE_TIMEOUT_SECONDS,
        )


def find_services() -> ServiceManager | None:
    """Return what starts services here; None for a system that this command does not know."""
    if SystemdServices.is_running():
        return SystemdServices()
    return InitScripts() if InitScripts.are_used() else None


def plan_switch(found: FoundPostgrey, services: ServiceManager) -> Planned:
    """Plan the switch.

    Raises:
        SettingsError: greyd's settings are invalid, or would be with postgrey's options.
        SecretError: a password file of greyd's can't be read.
    """
    heading = f"From postgrey, by greyd switch-from, {time.strftime('%Y-%m-%d')}"
    settings = plan_settings(found.options, service_environment(), heading)
    planned = read_secrets(settings.settings)
    check_settings(planned)
    settings = replace(settings, settings=planned)
    account = _account(services)
    url = store_url(replace(planned, dbdir=planned.dbdir or SERVICE_FOLDER))
    store = sqlite_file(url) if is_sqlite_url(url) else None
    files = [FileToWrite(settings.path, settings.new)] if settings.lines else []
    starts: tuple[str, ...] = (GREYD,)
    if isinstance(services, InitScripts):
        if not services.state(GREYD).exists:
            folder = store.parent if store else SERVICE_FOLDER
            script = greyds_script(_program(), account or _ACCOUNTS[-1], folder)
            files.append(FileToWrite(_INIT_SCRIPT, script.encode(), 0o755))
    elif needs_socket_unit(found):
        files.append(FileToWrite(_SOCKET_DROP_IN, _socket_drop_in(found)))
        starts = (GREYD_SOCKET, GREYD)
    before = services.state(GREYD)
    switch = SwitchPlan(
        store_file=store,
        store_owner=_owner(account),
        files=tuple(files),
        starts=starts,
        imports=found.database_bytes is not None,
        was_running=found.state.is_running,
        was_enabled=found.state.is_enabled,
        greyd_was_running=before.is_running,
        greyd_was_enabled=before.is_enabled,
    )
    blockers = (*settings.problems, *_blockers(found, services, settings, account))
    remarks = list(_remarks(found, settings))
    if isinstance(services, InitScripts):
        remarks.append(
            "in a container, the script that starts postgrey has to start greyd:"
            f" {services.command('start', GREYD)}"
        )
    return Planned(switch, settings, blockers, tuple(remarks))


def needs_socket_unit(found: FoundPostgrey) -> bool:
    """Whether systemd must open the sockets: greyd's user can't write to their folder."""
    return any(isinstance(each, Path) for each in found.listeners)


def _program() -> str:
    """Return the path of greyd for the init script."""
    named = Path(sys.argv[0])
    if named.name == GREYD and named.is_file():
        return str(named.absolute())
    return shutil.which(GREYD) or "/usr/bin/greyd"


def _account(services: ServiceManager) -> str | None:
    """Return the user that greyd runs as; None if it does not exist."""
    names = _ACCOUNTS if isinstance(services, InitScripts) else _ACCOUNTS[:1]
    for name in names:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


def _owner(account: str | None) -> tuple[int, int]:
    if account is None:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam(account)
    return entry.pw_uid, entry.pw_gid


def _socket_drop_in(found: FoundPostgrey) -> bytes:
    """Return the drop-in with which systemd opens postgrey's sockets for greyd."""
    lines = ["# Written by greyd switch-from postgrey", "[Socket]", "ListenStream="]
    mode = f"{found.options.settings.socket_mode:04o}"
    for listener in found.listeners:
        if isinstance(listener, Path):
            lines.append(f"ListenStream={listener}")
            lines += _socket_owner(listener)
        elif listener.is_on_all_interfaces:
            lines += [f"ListenStream=0.0.0.0:{listener.port}", f"ListenStream=[::]:{listener.port}"]
        else:
            lines += [f"ListenStream={each}" for each in listener.local_addresses()]
    lines.append(f"SocketMode={mode}")
    return "".join(f"{line}\n" for line in lines).encode()


def _socket_owner(path: Path) -> Iterator[str]:
    """Yield the lines for the owner of postgrey's socket, as it is now."""
    try:
        found = path.stat()
        yield f"SocketUser={pwd.getpwuid(found.st_uid).pw_name}"
        yield f"SocketGroup={grp.getgrgid(found.st_gid).gr_name}"
    except (OSError, KeyError):
        return


# What prevents it ---------------------------------------------------------------------------------


def _blockers(
    found: FoundPostgrey, services: ServiceManager, settings: SettingsPlan, account: str | None
) -> Iterator[str]:
    if isinstance(services, SystemdServices):
        yield from _unit_blockers(found, services)
        if account is None:
            yield "the user greyd does not exist: systemd-sysusers greyd.conf"
    elif account is None:
        yield "neither the user greyd nor postgrey exists: adduser --system --group greyd"
    for fault in found.unread:
        yield f"postgrey's options are unknown: {fault}"
    if found.database_bytes is not None:
        try:
            BerkeleyDbPrograms.find()
        except CommandError as error:
            yield str(error)
    if found.other_processes and not found.state.is_running:
        yield (
            f"a postgrey runs (process {found.other_processes[0]}) that {services.name} did not"
            " start: stop it with the program that started it"
        )
    planned = configured_listeners(settings.settings)
    for listener in found.listeners:
        if not any(_covers(each, listener) for each in planned):
            yield (
                f"postgrey listens on {listener}, but greyd's own setting is"
                f" {', '.join(map(str, planned))}: remove inet and unix from {settings.path} and"
                " from /etc/default/greyd"
            )


def _unit_blockers(found: FoundPostgrey, services: SystemdServices) -> Iterator[str]:
    if needs_socket_unit(found) and _is_selinux_enforcing():
        yield (
            "SELinux is enforcing, and lets Postfix connect to this Unix socket only if postgrey's"
            " own program listens: give greyd a TCP port as in docs/systems/rhel.md"
        )
    if not services.state(GREYD).exists:
        yield (
            "greyd.service is not installed: install greyd's Debian package, or its unit and user"
            " as in docs/install.md"
        )
    socket = services.state(GREYD_SOCKET)
    if needs_socket_unit(found) and not socket.exists:
        yield "postgrey has a Unix socket, and greyd.socket is not installed: docs/install.md"
    if not needs_socket_unit(found) and (socket.is_running or socket.is_enabled):
        yield ("greyd.socket decides where greyd listens: systemctl disable --now greyd.socket")


def _covers(ours: Listener, theirs: Listener) -> bool:
    if not (isinstance(ours, TcpListener) and isinstance(theirs, TcpListener)):
        return ours == theirs
    if ours.port != theirs.port:
        return False
    wanted = theirs.local_addresses()[:1]
    return ours.is_on_all_interfaces or set(wanted) <= set(ours.local_addresses())


# What is different afterwards ---------------------------------------------------------------------


def _remarks(found: FoundPostgrey, settings: SettingsPlan) -> Iterator[str]:
    for word in found.options.unknown:
        yield f"an option of postgrey's that greyd does not take: {word}"
    yield from settings.kept
    if found.running_options:
        yield (
            f"postgrey runs with other options than its service has now: {found.running_options};"
            " greyd gets those of the service"
        )
    if _is_selinux_enforcing() and not needs_socket_unit(found):
        yield "SELinux is enforcing: it may refuse greyd the socket, see docs/systems/rhel.md"
    if found.other_processes and found.state.is_running:
        shown = ", ".join(map(str, found.other_processes[:MAX_SHOWN_PROCESSES]))
        yield f"another postgrey runs, and is not replaced: process {shown}"
    planned = settings.settings
    if planned.mode != "on":
        yield f"greyd's mode is {planned.mode}: it greylists nothing"
    files = [
        path
        for given, name in (
            (planned.whitelist_clients, "whitelist_clients"),
            (planned.whitelist_recipients, "whitelist_recipients"),
        )
        for path in files_in_force(given, name)
        if path.is_file()
    ]
    for path in found.lists:
        if path not in files:
            yield f"greyd does not read {path}, because {_instead(files)} takes precedence"
    for path in files:
        if not _is_readable_by_all(path):
            yield f"greyd's user may not be able to read {path}: chmod o+r {path}"


def _is_selinux_enforcing() -> bool:
    try:
        return _SELINUX.read_text().strip() == "1"
    except OSError:
        return False


def _instead(files: list[Path]) -> str:
    return str(next((each for each in files if each.parent == Path("/etc/greyd")), "another file"))


def _is_readable_by_all(path: Path) -> bool:
    try:
        is_open = bool(path.stat().st_mode & 0o004)
        return is_open and all(each.stat().st_mode & 0o001 for each in path.parents)
    except OSError:
        return False
