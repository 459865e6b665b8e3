"""The SQLite store: its file, its folder, the disk."""

from __future__ import annotations

import contextlib
import os
import pwd
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.store.opening import sqlite_file
from greyd.store.sqlite.file_identity import SCHEMA_VERSION, identify
from greyd.store.sqlite.read_only import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.store.sqlite.file_identity import FileIdentity


MIN_FREE_BYTES = 100 * 1024 * 1024
MAX_LOG_BYTES = 64 * 1024 * 1024
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_THOROUGH = "greyd doctor --thorough"
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "ceph", "glusterfs", "fuse.sshfs")


class DatabaseFile(NamedTuple):
    """What is seen of a store's file without opening it."""

    path: Path
    mode: int
    owner: str
    folder_mode: int
    folder_owner: str
    free: int
    """Octets that the server may still write on its disk."""
    log: int
    """Octets of commits that are not yet in the file."""
    filesystem: str


def check_sqlite(url: str, *, thorough: bool) -> list[Finding]:
    """Look at a store's file.

    Raises:
        UnusableStoreError: it is not greyd's.
    """
    path = sqlite_file(url)
    try:
        disk = _inspect(path)
    except FileNotFoundError:
        return []
    except OSError as fault:
        return [not_checked("store: file", f"{path}: {fault.strerror}", "run greyd doctor as root")]
    return [
        finding_of_secrecy(disk),
        finding_of_owner(disk),
        finding_of_space(disk),
        finding_of_log(disk),
        finding_of_filesystem(disk),
        *_findings_inside(path, thorough=thorough),
    ]


def _inspect(path: Path) -> DatabaseFile:
    file, folder, disk = path.stat(), path.parent.stat(), os.statvfs(path)
    log = Path(f"{path}-wal")
    return DatabaseFile(
        path=path,
        mode=stat.S_IMODE(file.st_mode),
        owner=_name(file.st_uid),
        folder_mode=stat.S_IMODE(folder.st_mode),
        folder_owner=_name(folder.st_uid),
        free=disk.f_bavail * disk.f_frsize,
        log=log.stat().st_size if log.exists() else 0,
        filesystem=_filesystem(path),
    )


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _filesystem(path: Path) -> str:
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    return filesystem_of(path.resolve(), [line.split() for line in lines])


def filesystem_of(path: Path, mounts: Sequence[Sequence[str]]) -> str:
    """Return the kind of file system that a path is on, by the lines of ``/proc/mounts``."""
    on = [each for each in mounts if len(each) > 2 and path.is_relative_to(each[1])]
    # Of mounts on one another the last counts.
    return max(enumerate(on), key=lambda each: (len(each[1][1]), each[0]))[1][2] if on else ""


def finding_of_secrecy(disk: DatabaseFile) -> Finding:
    """Say whether other users can read who writes to whom."""
    check = "store: secrecy"
    if disk.mode & 0o044 and disk.folder_mode & 0o001:
        return warning(
            check,
            f"{disk.path} (mode {disk.mode:04o}) can be read by all users: it tells who"
            " writes to whom",
            f"chmod 0600 {disk.path}; chmod 0750 {disk.path.parent}",
        )
    return ok(check, f"mode {disk.mode:04o}, in a folder of mode {disk.folder_mode:04o}")


def finding_of_owner(disk: DatabaseFile) -> Finding:
    """Say whether the file is its folder's owner's, who is the server."""
    check = "store: owner"
    if disk.owner != disk.folder_owner:
        return warning(
            check,
            f"{disk.path} is {disk.owner}'s, and its folder {disk.folder_owner}'s",
            f"chown {disk.folder_owner}: {disk.path}*",
        )
    return ok(check, f"{disk.owner}, as of its folder")


def finding_of_space(disk: DatabaseFile) -> Finding:
    """Say whether the disk has room."""
    check = "store: disk"
    free = f"{disk.free / 1024**2:,.0f} MiB free"
    if disk.free < MIN_FREE_BYTES // 10:
        return error(check, f"{free}: nothing can be remembered", f"df {disk.path.parent}")
    if disk.free < MIN_FREE_BYTES:
        return warning(check, free, f"df {disk.path.parent}")
    return ok(check, free)


def finding_of_log(disk: DatabaseFile) -> Finding:
    """Say whether commits are brought into the file."""
    check = "store: log of commits"
    size = f"{disk.log / 1024**2:.1f} MiB"
    if disk.log > MAX_LOG_BYTES:
        return warning(
            check,
            f"{disk.path}-wal has {size}: somebody reads the file and does not end",
            f"fuser -v {disk.path} (who has it open)",
        )
    return ok(check, size)


def finding_of_filesystem(disk: DatabaseFile) -> Finding:
    """Say whether SQLite's locks hold on the file system."""
    check = "store: file system"
    if disk.filesystem.startswith(_NETWORK_FILE_SYSTEMS):
        return error(
            check,
            f"{disk.filesystem}: SQLite's log of commits does not work over a network",
            "put it on a disk of this machine, or use a Redis",
        )
    return ok(check, disk.filesystem or "unknown")


def _findings_inside(path: Path, *, thorough: bool) -> list[Finding]:
    made = []
    try:
        identity = identify(str(path))
        made.append(finding_of_version(identity))
        with contextlib.closing(ReadOnlyDatabase(os.path.realpath(path))) as reading:
            (mode,) = reading.connection.execute("PRAGMA journal_mode").fetchone()
            # Read without its log, a file in WAL mode is said to have none.
            made.append(finding_of_journal("wal" if identity.uses_wal else str(mode)))
            if thorough:
                found = reading.connection.execute("PRAGMA quick_check(5)")
                made.append(finding_of_content([str(line) for (line,) in found]))
    except UnusableStoreError:
        raise
    except (sqlite3.Error, StoreError) as fault:
        made.append(_finding_of_fault(path, fault))
    else:
        if not thorough:
            made.append(not_checked("store: content", "takes long on a large file", _THOROUGH))
    return made


def finding_of_version(identity: FileIdentity) -> Finding:
    """Say which version the schema of the file is of."""
    check = "store: version"
    if identity.is_marked and identity.version == SCHEMA_VERSION:
        return ok(check, f"schema version {identity.version}")
    return hint(
        check,
        f"schema version {identity.version}, older than this greyd's {SCHEMA_VERSION}",
        "systemctl restart greyd (brings it up to date; it can be undone, docs/operations.md)",
    )


def _finding_of_fault(path: Path, fault: Exception) -> Finding:
    fault = fault.__cause__ if isinstance(fault.__cause__, sqlite3.Error) else fault
    if getattr(fault, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        return finding_of_content([str(fault)])
    return not_checked("store: content", f"{path}: {fault}")


def finding_of_journal(mode: str) -> Finding:
    """Say whether readers and the writer keep out of each other's way."""
    check = "store: journal"
    if mode != "wal":
        return warning(
            check, f"{mode}, not wal: readers make mail wait", "systemctl restart greyd (sets it)"
        )
    return ok(check, mode)


def finding_of_content(lines: Sequence[str]) -> Finding:
    """Say what SQLite's own check of the file found."""
    check = "store: content"
    if list(lines) == ["ok"]:
        return ok(check, "the file is sound")
    return error(
        check,
        "damaged: " + "; ".join(lines)[:300],
        "stop greyd, move the file away, start it: known senders wait once more",
    )
