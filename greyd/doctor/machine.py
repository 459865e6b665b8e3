"""The server's process, its unit, and this machine's clock."""

from __future__ import annotations

import pwd
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.listeners import Tcp
from greyd.doctor.programs import ProgramError, ask, properties
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from greyd.doctor.listeners import Listener

PROC = Path("/proc")
_LISTENS = 0x10000
"""Of the flags in the kernel's table of Unix sockets."""

LEAST_FILES = 1024
FULL = 0.8


class Process(NamedTuple):
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


def process_of(listeners: Iterable[Listener]) -> Process | None:
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
            if columns[-1] in names and int(columns[3], 16) & _LISTENS:
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


def _process(pid: int) -> Process | None:
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
    return Process(
        pid, user, uid, [printable(word) for word in words], int(files[1]) if files else 0
    )


def findings_of_process(process: Process | None, open_files: float | None) -> list[Finding]:
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


def finding_of_user(process: Process) -> Finding:
    """Say whether the server has rights that it does not need."""
    check = "process: user"
    if process.uid == 0:
        return warning(
            check,
            "root: it has rights that it does not need",
            "User=greyd in its unit, or --user=greyd",
        )
    return ok(check, process.user)


def finding_of_files(process: Process, open_files: float | None) -> Finding:
    """Say whether all of Postfix's processes can connect."""
    check = "process: file descriptors"
    seen = f"{process.files} at most" if process.files else "no limit"
    remedy = "LimitNOFILE=65536 in its unit"
    if open_files is not None:
        seen = f"{open_files:.0f} in use, {seen}"
        if process.files and open_files > process.files * FULL:
            return error(check, f"{seen}: connections will be refused", remedy)
    if 0 < process.files < LEAST_FILES:
        return warning(check, seen, remedy)
    return ok(check, seen)


# Its unit -----------------------------------------------------------------------------------------


async def finding_of_unit(process: Process | None) -> Finding:
    """Say whether the server is started with the machine."""
    try:
        unit = await properties(
            "greyd.service", "LoadState", "ActiveState", "UnitFileState", "MainPID"
        )
    except ProgramError as fault:
        return not_checked("process: unit", str(fault))
    return judge_unit({name: (values or [""])[0] for name, values in unit.items()}, process)


def judge_unit(unit: Mapping[str, str], process: Process | None) -> Finding:
    """Judge what systemd says of ``greyd.service``."""
    check = "process: unit"
    if unit["LoadState"] != "loaded":
        return not_checked(check, f"greyd.service is {unit['LoadState'] or 'not known'} to systemd")
    if unit["ActiveState"] != "active":
        if process is None:
            return error(
                check,
                f"greyd.service is {unit['ActiveState']}",
                "systemctl start greyd; journalctl -u greyd (its last words)",
            )
        return warning(
            check,
            f"greyd.service is {unit['ActiveState']}, and a greyd runs without it",
            f"kill {process.pid}; systemctl start greyd",
        )
    if unit["UnitFileState"] not in ("enabled", "enabled-runtime", "static", "indirect"):
        return warning(
            check,
            "active, but not enabled: after a restart of the machine it is not there",
            "systemctl enable greyd",
        )
    return ok(check, "active and enabled")


async def postgrey_runs() -> list[Finding]:
    """Say where postgrey's unit is still there to take greyd's port at the next start."""
    try:
        unit = await properties("postgrey.service", "ActiveState", "UnitFileState")
    except ProgramError:
        return []
    return judge_postgrey({name: (values or [""])[0] for name, values in unit.items()})


def judge_postgrey(unit: Mapping[str, str]) -> list[Finding]:
    """Judge what systemd says of ``postgrey.service``."""
    check = "process: postgrey"
    if unit["ActiveState"] == "active":
        return [
            hint(
                check,
                "postgrey runs as well",
                "systemctl disable --now postgrey, once all is moved",
            )
        ]
    if unit["UnitFileState"] == "enabled":
        return [
            warning(
                check,
                "postgrey is enabled: at the next start it and greyd end one another",
                "systemctl disable postgrey",
            )
        ]
    return []


# The clock ----------------------------------------------------------------------------------------


async def finding_of_ntp() -> Finding:
    """Say whether this machine's clock is kept right."""
    check = f"clocks: {socket.gethostname()}"
    try:
        said = await ask("timedatectl", "show", "--property=NTPSynchronized", "--value")
    except ProgramError as fault:
        return not_checked(check, str(fault))
    return judge_ntp(check, said.output.strip())


def judge_ntp(check: str, synchronised: str) -> Finding:
    """Judge what timedatectl says."""
    if synchronised == "yes":
        return ok(check, "synchronised")
    return hint(check, "not synchronised, says timedatectl", "timedatectl set-ntp true")
