"""The process that listens: which program it is, its user and its file descriptors."""

from __future__ import annotations

import pwd
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greyd.doctor.findings import Finding, error, not_checked, ok, warning
from greyd.doctor.listeners import Tcp
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.doctor.listeners import Listener


PROC = Path("/proc")
_LISTENING_FLAG = 0x10000
"""Of the flags in the kernel's table of Unix sockets."""

MIN_FILES = 1024
MAX_FILES_SHARE = 0.8


class ListeningProcess(NamedTuple):
    """The process that listens."""

    pid: int
    user: str
    uid: int
    words: Sequence[str]
    """Its command line."""
    files: int
    """How many descriptors it may have."""

    @property
    def is_greyd(self) -> bool:
        """Whether it is greyd, started by its name or as a module."""
        return any(Path(word).name == "greyd" for word in self.words[:4])


def find_process(listeners: Iterable[Listener]) -> ListeningProcess | None:
    """Return the process that listens there; None where none does, or this user may not see it."""
    inodes = {inode for each in listeners for inode in _inodes(each)}
    found = [each for pid in _holders(inodes) if (each := _process(pid))]
    # systemd holds the sockets of its units too; of a server and its workers the first counts.
    return next((each for each in found if each.is_greyd), found[0] if found else None)


def _inodes(listener: Listener) -> Iterator[str]:
    """Return the inodes of listening sockets, by what the kernel tells of them."""
    if not isinstance(listener, Tcp):
        # Started as root, greyd binds by the name alone; who else has such a socket is no greyd.
        names = (str(listener), listener.name)
        for columns in _table("unix"):
            if columns[-1] in names and int(columns[3], 16) & _LISTENING_FLAG:
                yield columns[6]
        return
    for family in ("tcp", "tcp6"):
        for columns in _table(family):
            if columns[3] == "0A" and int(columns[1].rpartition(":")[2], 16) == listener.port:
                yield columns[9]


def _table(name: str) -> list[list[str]]:
    try:
        lines = (PROC / "net" / name).read_text(errors="replace").splitlines()[1:]
    except OSError:
        return []
    return [columns for line in lines if len(columns := line.split()) >= 7]


def _holders(inodes: set[str]) -> list[int]:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for folder in sorted(PROC.glob("[0-9]*"), key=lambda each: int(each.name)):
        try:
            if any(str(each.readlink()) in wanted for each in (folder / "fd").iterdir()):
                found.append(int(folder.name))
        except OSError:  # another user's, or gone
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
    """Judge the server's process."""
    if process is None:
        why = "who listens can't be seen"
        return [not_checked("process: user", why, "run greyd doctor as root")]
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
    """Say whether the server has rights that it does not need."""
    check = "process: user"
    if process.uid == 0:
        return warning(
            check,
            "root: it has rights that it does not need",
            "User=greyd in its unit, or --user=greyd",
        )
    return ok(check, process.user)


def finding_of_files(process: ListeningProcess, open_files: float | None) -> Finding:
    """Say whether all of Postfix's processes can connect."""
    check = "process: file descriptors"
    seen = f"{process.files} at most" if process.files else "no limit"
    remedy = "LimitNOFILE=65536 in its unit"
    if open_files is not None:
        seen = f"{open_files:.0f} in use, {seen}"
        if process.files and open_files > process.files * MAX_FILES_SHARE:
            return error(check, f"{seen}: connections will be refused", remedy)
    if 0 < process.files < MIN_FILES:
        return warning(check, seen, remedy)
    return ok(check, seen)
