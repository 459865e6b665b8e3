"""Finds postgrey on this machine: its service, process, options, whitelists and database."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing.postgrey.folder import DATABASES
from greyd.cli.switching.postgrey_options import (
    PostgreyOptions,
    expand_variables,
    read_postgrey_options,
    split_words,
    variable_names,
)
from greyd.config.errors import SettingsError
from greyd.config.loading import MAX_CONFIG_BYTES
from greyd.config.regular_files import FileError, read_regular_file
from greyd.config.values.environment_file import parse_environment_file
from greyd.doctor.listeners import Listener, configured_listeners
from greyd.escaping import printable, printable_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from greyd.cli.switching.services.interface import ServiceState
    from greyd.cli.switching.services.systemd import SystemdServices

SERVICE = "postgrey"
SCRIPT = Path("/etc/init.d/postgrey")
PROCESSES = Path("/proc")
DEFAULT_FOLDERS = (Path("/var/lib/postgrey"), Path("/var/spool/postfix/postgrey"))
"""Where postgrey has its database by default: Debian's package, and postgrey as it is published,
which EPEL's and Fedora's packages keep."""
_LISTS = ("whitelist_clients", "whitelist_recipients")
_LIST_FOLDERS = ("/etc/postgrey/", "/etc/postfix/postgrey_")
_DEFAULTS = Path("/etc/default/postgrey")
MAX_TITLE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class FoundPostgrey:
    """Postgrey, as it is set up on this machine."""

    state: ServiceState
    options: PostgreyOptions
    options_from: tuple[str, ...] = ()
    """Where the options are set: a unit or an init script, and its environment files."""
    unread: tuple[str, ...] = ()
    """Environment files that can't be read, and why."""
    process: int | None = None
    running_options: str = ""
    """The options of the process, if they differ from those that are set."""
    other_processes: tuple[int, ...] = ()
    """Other postgreys, which something else has started."""
    folder: Path = DEFAULT_FOLDERS[0]
    """The folder of its database."""
    database_bytes: int | None = None
    """The size of the database; None if there is none, 0 if this user may not see it."""
    lists: tuple[Path, ...] = ()
    """The whitelists that it reads."""

    @property
    def listeners(self) -> list[Listener]:
        """The TCP addresses and Unix sockets that it listens on."""
        return configured_listeners(self.options.settings)


def started_by_unit(
    systemd: SystemdServices, state: ServiceState, processes: Mapping[int, str]
) -> FoundPostgrey:
    """Return postgrey as its systemd unit starts it.

    Raises:
        ServiceError: the unit can't be read.
        CommandError: it starts another program.
    """
    properties = systemd.properties(SERVICE)
    pid = int(properties.get("MainPID", "0")) or None
    program, *words = systemd.start_command(SERVICE)
    if Path(program).parent == SCRIPT.parent:
        # A unit that systemd has generated from an init script.
        return started_by_script(state, processes)
    lines = properties.get("EnvironmentFiles", "").splitlines()
    files = [file for line in lines if (file := Path(line.rpartition(" (")[0])).exists()]
    environment = dict(_assignments(properties.get("Environment", "")))
    read = _read_variables(files, variable_names(words))
    environment |= read.variables
    _require_postgrey(program, f"{SERVICE}.service")
    sources = (f"{SERVICE}.service", *map(str, files))
    words = expand_variables(words, environment)
    found = _found(state, words, sources, pid, processes, trusted_process=pid)
    return replace(found, unread=read.faults)


def started_by_script(state: ServiceState, processes: Mapping[int, str]) -> FoundPostgrey:
    """Return postgrey as Debian's init script starts it.

    Raises:
        CommandError: the script starts another program.
    """
    with contextlib.suppress(FileError):
        script = read_regular_file(SCRIPT, MAX_CONFIG_BYTES)
        if named := re.search(rb"^DAEMON=[\"']?([^\s\"']+)", script, re.MULTILINE):
            _require_postgrey(printable(named[1]), str(SCRIPT))
    files = [_DEFAULTS] if _DEFAULTS.exists() else []
    read = _read_variables(files)
    words = split_words(read.variables.get("POSTGREY_OPTS", ""))
    if text := read.variables.get("POSTGREY_TEXT"):
        words.append(f"--greylist-text={text}")
    sources = (str(SCRIPT), *map(str, files))
    pid = next(iter(processes), None) if state.is_running else None
    return replace(_found(state, words, sources, pid, processes), unread=read.faults)


def _require_postgrey(program: str, where: str) -> None:
    """Raise CommandError if a service of that name starts greyd or another program."""
    name = Path(program).name
    if name == "greyd":
        raise CommandError(
            f"{where} starts greyd already ({printable_text(program)}): there is nothing to"
            " switch; for a service of greyd's own, go back first (docs/replacing-postgrey.md)"
        )
    if name != SERVICE:
        raise CommandError(f"{where} starts {printable_text(program)}, not postgrey")


def _found(
    state: ServiceState, words: list[str], sources: tuple[str, ...], pid: int | None,
    processes: Mapping[int, str], *, trusted_process: int | None = None,
) -> FoundPostgrey:  # fmt: skip
    options = read_postgrey_options(words)
    settings = options.settings
    folder = settings.dbdir or default_folder(trusted_process)
    title = processes.get(pid, "") if pid else ""
    return FoundPostgrey(
        state=state,
        options=options,
        options_from=sources,
        process=pid,
        running_options=title if title and not _same_options(title, words) else "",
        other_processes=tuple(each for each in processes if each != pid),
        folder=folder,
        database_bytes=_database_bytes(folder),
        lists=(*_lists(settings.whitelist_clients, 0), *_lists(settings.whitelist_recipients, 1)),
    )


def _same_options(title: str, words: list[str]) -> bool:
    """Whether a process's title has the options; Debian's init script adds two."""
    of_script = ("--daemonize", "--pidfile=/var/run/postgrey.pid")
    running = [word for word in title.split() if word not in of_script]
    return running == [word for word in " ".join(words).split() if word not in of_script]


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield the variables in systemd's property ``Environment``."""
    for word in split_words(text):
        name, equals, value = word.partition("=")
        if equals:
            yield name, value


@dataclass(frozen=True, slots=True)
class _Variables:
    """The variables of environment files, and the files that can't be read."""

    variables: dict[str, str]
    faults: tuple[str, ...]


def _read_variables(files: Iterable[Path], names: Sequence[str] = ()) -> _Variables:
    """Return the variables for postgrey, and those of other names that its command line has.

    Those of later files take precedence.
    """
    variables: dict[str, str] = {}
    faults = []
    for file in files:
        try:
            text = read_regular_file(file, MAX_CONFIG_BYTES).decode("utf-8-sig")
            variables |= parse_environment_file(text, str(file), has_comments=False, names=names)
        except (FileError, UnicodeDecodeError) as error:
            faults.append(f"{file}: {error}")
        except SettingsError as error:
            faults.append(str(error))
    return _Variables(variables, tuple(faults))


def _lists(given: tuple[Path, ...], index: int) -> Iterator[Path]:
    names = given or [
        Path(f"{place}{_LISTS[index]}{suffix}")
        for place in _LIST_FOLDERS
        for suffix in ("", ".local")
    ]
    yield from (path for path in names if path.is_file())


def default_folder(process: int | None = None) -> Path:
    """Return the folder of the database of a postgrey that has no ``--dbdir``.

    It is the one whose database the process has open; without a process, or the right to look, the
    default folder whose database has changed last.

    Args:
        process: the process, if its service manager has named it: any user can run one that only
            calls itself postgrey.
    """
    if process is not None and (opened := _opened_database(process)):
        return opened.parent
    changed_at = {}
    for folder in DEFAULT_FOLDERS:
        with contextlib.suppress(OSError):
            changed_at[folder] = (folder / DATABASES[0]).stat().st_mtime
    return max(changed_at, key=lambda folder: changed_at[folder], default=DEFAULT_FOLDERS[0])


def _opened_database(process: int) -> Path | None:
    with contextlib.suppress(OSError):
        for each in (PROCESSES / str(process) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if (target := each.readlink()).name == DATABASES[0]:
                    return target
    return None


def _database_bytes(folder: Path) -> int | None:
    try:
        found = [path for name in DATABASES if (path := folder / name).exists()]
        return sum(path.stat().st_size for path in found) if found else None
    except PermissionError:
        return 0


def postgrey_processes() -> dict[int, str]:
    """Return the options of the running postgreys, by process; Perl shows them as one text."""
    found = {}
    own = _pid_namespace("self")
    for each in sorted(PROCESSES.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            with (each / "cmdline").open("rb") as file:
                title = printable(file.read(MAX_TITLE_BYTES).replace(b"\0", b" ")).strip()
        except OSError:
            continue
        program, _, options = title.partition(" ")
        if program == SERVICE and _pid_namespace(each.name) in (own, ""):
            found[int(each.name)] = options.strip()
    return found


def _pid_namespace(process: str) -> str:
    try:
        return str((PROCESSES / process / "ns" / "pid").readlink())
    except OSError:
        return ""
