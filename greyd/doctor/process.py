"""Checks the process that listens: its program, its user and its file descriptors."""

from __future__ import annotations

import pwd
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, not_checked, ok, warning
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.doctor.listeners import Listener

PROC = Path("/proc")
_LISTENING_FLAG = 0x10000
"""``__SO_ACCEPTCON`` in the column Flags of ``/proc/net/unix``."""

MIN_FILES = 1024
MAX_FILES_SHARE = 0.8
"""The share of file descriptors in use above which the finding is an error."""


@dataclass(frozen=True, slots=True)
class ListeningProcess:
    """The process that listens on the server's sockets."""

    pid: int
    user: str
    uid: int
    words: Sequence[str]
    """The command line, split into words."""
    max_files: int
    """The limit on open file descriptors; 0 for no limit."""

    @property
    def is_greyd(self) -> bool:
        """Whether the program is greyd, started by its name or as a Python module."""
        return any(Path(word).name == "greyd" for word in self.words[:4])


def find_process(listeners: Iterable[Listener]) -> ListeningProcess | None:
    """Return the process that listens on these sockets; None if this user can see none."""
    inodes = {inode for each in listeners for inode in _inodes(each)}
    found = [each for pid in _holders(inodes) if (each := _process(pid))]
    # systemd also keeps the sockets of its units open. The lowest process number is the parent of
    # the workers.
    return next((each for each in found if each.is_greyd), found[0] if found else None)


def _inodes(listener: Listener) -> Iterator[str]:
    """Return the inodes of listening sockets, from the kernel's tables."""
    if isinstance(listener, Path):
        # greyd, if started as root, binds a path relative to the socket's folder.
        yield from _inodes_of_path(str(listener)) or _inodes_of_path(listener.name)
        return
    for family in ("tcp", "tcp6"):
        for columns in _table(family):
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == listener.port:
                yield columns[9]


def _inodes_of_path(path: str) -> list[str]:
    return [
        columns[6]
        for columns in _table("unix")
        if columns[-1] == path and int(columns[3], 16) & _LISTENING_FLAG
    ]


def is_bound(path: Path) -> bool:
    """Whether a process listens on a Unix socket that it has bound by its full path."""
    return bool(_inodes_of_path(str(path)))


def _table(name: str) -> list[list[str]]:
    try:
        lines = (PROC / "net" / name).read_text(errors="replace").splitlines()[1:]
    except OSError:
        return []
    return [columns for line in lines if len(columns := line.split()) >= 7]


def _holders(inodes: set[str]) -> list[int]:
    """Return the processes that have one of these sockets open, the lowest number first."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for folder in sorted(PROC.glob("[0-9]*"), key=lambda each: int(each.name)):
        try:
            if any(str(each.readlink()) in wanted for each in (folder / "fd").iterdir()):
                found.append(int(folder.name))
        except OSError:  # the process belongs to another user, or has ended
            continue
    return found


def _process(pid: int) -> ListeningProcess | None:
    folder = PROC / str(pid)
    try:
        uid = folder.stat().st_uid
        words = (folder / "cmdline").read_bytes()[:4096].split(b"\0")
        limits = (folder / "limits").read_text()
    except OSError:
        return None
    files = re.search(r"^Max open files\s+(\d+)", limits, re.MULTILINE)
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = str(uid)
    return ListeningProcess(
        pid, user, uid, [printable(word) for word in words], int(files[1]) if files else 0
    )


def findings_of_process(
    process: ListeningProcess | None, open_files: float | None
) -> list[Finding]:
    """Judge the server's process; ``open_files`` is its number of open files, None if unknown."""
    if process is None:
        reason = "the process that listens cannot be seen"
        return [not_checked("process: user", reason, "run greyd doctor as root")]
    name = Path(process.words[0]).name or "?"
    if not process.is_greyd:
        return [
            error(
                "process: program",
                f"process {process.pid}, which listens, is {name}, not greyd",
                f"stop it (ps -fp {process.pid} shows it), then systemctl restart greyd",
            )
        ]
    return [
        ok("process: program", f"greyd, process {process.pid}"),
        finding_of_user(process),
        finding_of_files(process, open_files),
    ]


def finding_of_user(process: ListeningProcess) -> Finding:
    """Check that the server does not run as root."""
    check = "process: user"
    if process.uid == 0:
        return warning(
            check,
            "root: greyd does not need root's rights",
            "User=greyd in its unit, or --user=greyd",
        )
    return ok(check, process.user)


def finding_of_files(process: ListeningProcess, open_files: float | None) -> Finding:
    """Check that the server does not run out of file descriptors for connections."""
    check = "process: file descriptors"
    limit = f"limit {process.max_files}" if process.max_files else "no limit"
    remedy = "LimitNOFILE=65536 in its unit"
    if open_files is not None:
        limit = f"{open_files:.0f} in use, {limit}"
        if process.max_files and open_files > process.max_files * MAX_FILES_SHARE:
            return error(check, f"{limit}: greyd will refuse connections", remedy)
    if 0 < process.max_files < MIN_FILES:
        return warning(check, limit, remedy)
    return ok(check, limit)
