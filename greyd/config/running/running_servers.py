"""Finds the servers that run on this machine, by their records (``greyd.run``).

Commands act on the content of a record, even as root, so they use only records whose owner they
trust: root, this user, the accounts greyd and postgrey, or the owner of a folder that the user
named.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.config.running.run_record import (
    MAX_RECORD_BYTES,
    RUN_FILE_PATTERN,
    RunningServer,
    RunRecord,
    RunRecordError,
    is_locked,
)
from greyd.config.store_folder import SERVICE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


RUNTIME_FOLDERS = (Path("/run"), "greyd*")
"""The parent of services' runtime folders (systemd's ``RuntimeDirectory=``), and their names."""

STORE_FOLDERS = (
    SERVICE_FOLDER,
    Path("/var/lib/postgrey"),
    Path("/var/spool/postfix/postgrey"),
    Path("/var/db/postgrey"),
)
"""The folders in which distributions keep the store of greyd or postgrey."""

PROCESSES = Path("/proc")

TRUSTED_ACCOUNTS = ("root", "greyd", "postgrey")

MAX_ANCESTORS = 10

MAX_PROCESSES = 100_000
MAX_DESCRIPTORS = 10_000
"""A server opens its record at its start, so its descriptor is among the first ones."""

MAX_COMMAND_LINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class FoundServers:
    """The running servers, and the details of the search."""

    servers: tuple[RunningServer, ...] = ()
    unreadable: tuple[Path, ...] = ()
    """Records that this user may not read."""
    faulty: tuple[tuple[Path, str], ...] = ()
    """Files that can't be used, and why."""
    searched: tuple[Path, ...] = ()
    """The folders that were searched."""
    processes: tuple[int, ...] = ()
    """Processes that look like a server, and have no record that this user can read."""
    contained: tuple[int, ...] = ()
    """Processes that look like a server in a container, whose files this command can't name."""
    everywhere: bool = True
    """Whether the usual folders and the processes were searched."""


def find_running_servers(folders: Iterable[Path], *, everywhere: bool = True) -> FoundServers:
    """Return the servers with a live record.

    Args:
        folders: folders or records that the user named; their owners are trusted.
        everywhere: whether to search the usual folders and the running processes as well.
    """
    search = _Search()
    for folder in folders:
        search.read_folder(folder, trusts_owner=True)
    if everywhere:
        for folder in _usual_folders():
            search.read_folder(folder, trusts_owner=False)
        for pid in _greyd_processes():
            search.read_process(pid)
    return replace(search.found(), everywhere=everywhere)


def _usual_folders() -> Iterator[Path]:
    parent, pattern = RUNTIME_FOLDERS
    with contextlib.suppress(OSError):
        yield from sorted(parent.glob(pattern))
    yield from STORE_FOLDERS
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "greyd"
    with contextlib.suppress(RuntimeError):
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        yield Path(state) / "greyd"


class _Search:
    def __init__(self) -> None:
        self._servers: dict[tuple[int, int], RunningServer] = {}
        self._unreadable: dict[Path, None] = {}
        self._faulty: dict[Path, str] = {}
        self._searched: dict[Path, None] = {}
        self._processes: list[int] = []
        self._contained: list[int] = []

    def found(self) -> FoundServers:
        servers = sorted(
            self._servers.values(), key=lambda each: (each.record.started_at, each.path)
        )
        # A program that started a server, e.g. timeout, has the server's arguments in its own.
        starters = {pid for each in servers for pid in _ancestors(each.record.pid)}
        return FoundServers(
            tuple(servers),
            tuple(self._unreadable),
            tuple(self._faulty.items()),
            tuple(self._searched),
            tuple(pid for pid in self._processes if pid not in starters),
            tuple(self._contained),
        )

    def read_folder(self, folder: Path, *, trusts_owner: bool) -> None:
        """Read the records in a folder."""
        folder = folder.absolute()
        if folder in self._searched:
            return
        self._searched[folder] = None
        try:
            owner = folder.stat().st_uid if trusts_owner else None
            files = [folder] if folder.is_file() else sorted(folder.glob(RUN_FILE_PATTERN))
        except OSError:
            return
        for file in files:
            self._read(file, owner)

    def read_process(self, pid: int) -> None:
        """Read the record that a process keeps locked."""
        if _is_contained(pid):
            if _parent(pid) not in self._contained:
                self._contained.append(pid)
            return
        before = len(self._servers) + len(self._unreadable)
        known = {each.record.pid for each in self._servers.values()}
        for file in _open_records(pid):
            self._read(file, None)
        if pid not in known and len(self._servers) + len(self._unreadable) == before:
            parent = _parent(pid)
            if parent not in known and parent not in self._processes:
                self._processes.append(pid)

    def _read(self, file: Path, trusted_uid: int | None) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(file, flags)
        except PermissionError:
            self._unreadable[file] = None
            return
        except OSError:
            return
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            identity = (found.st_dev, found.st_ino)
            if identity in self._servers or not stat.S_ISREG(found.st_mode):
                return
            if not is_locked(descriptor):
                return
            if not _is_trusted(found.st_uid, trusted_uid):
                self._faulty[file] = (
                    f"its owner {_account(found.st_uid)} is neither root, greyd, postgrey nor you;"
                    f" name the file if you trust it: --run-dir={file}"
                )
                return
            try:
                record = RunRecord.load(opened.read(MAX_RECORD_BYTES + 1))
            except RunRecordError as error:
                self._faulty[file] = str(error)
            else:
                self._servers[identity] = RunningServer(record, file)


def _is_trusted(uid: int, trusted_uid: int | None) -> bool:
    if uid in (0, os.geteuid(), trusted_uid):
        return True
    return _account(uid) in TRUSTED_ACCOUNTS


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


# Processes --------------------------------------------------------------------------------------


def _greyd_processes() -> Iterator[int]:
    """Yield the processes whose command line is ``greyd serve``, the oldest first."""
    try:
        names = [each.name for each in PROCESSES.iterdir() if each.name.isdecimal()]
    except OSError:
        return
    for pid in sorted(map(int, names[:MAX_PROCESSES])):
        try:
            with (PROCESSES / str(pid) / "cmdline").open("rb") as file:
                words = os.fsdecode(file.read(MAX_COMMAND_LINE_BYTES)).split("\0")
        except OSError:
            continue
        if is_server_command(words):
            yield pid


def is_server_command(words: list[str]) -> bool:
    """Whether a command line starts a server: ``greyd serve``, possibly after an interpreter."""
    programs = [Path(word).name for word in words[:3]]
    return "greyd" in programs and "serve" in words


def _open_records(pid: int) -> Iterator[Path]:
    """Yield the paths of the records that a process has open, as far as this user may see them."""
    folder = PROCESSES / str(pid) / "fd"
    try:
        descriptors = list(islice(folder.iterdir(), MAX_DESCRIPTORS))
    except OSError:
        return
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            target = descriptor.readlink()
            if target.match(RUN_FILE_PATTERN):
                yield target


def _is_contained(pid: int) -> bool:
    """Whether a process has another root folder, as in a container; False if it can't be read.

    A service with a mount namespace of its own (``ProtectSystem=``) has this machine's root folder.
    """
    try:
        return not (PROCESSES / str(pid) / "root").samefile("/")
    except OSError:
        return False


def _ancestors(pid: int) -> Iterator[int]:
    for _ in range(MAX_ANCESTORS):
        if (pid := _parent(pid)) <= 1:
            return
        yield pid


def _parent(pid: int) -> int:
    try:
        fields = (PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return int(fields[1])
    except (OSError, ValueError, IndexError):
        return 0
