"""Checks the SQLite store: its file, its folder, its disk, and its content."""

from __future__ import annotations

import contextlib
import os
import pwd
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.store.errors import StoreError, UnusableStoreError
from greyd.store.opening import sqlite_file
from greyd.store.sqlite.file_identity import SCHEMA_VERSION, identify
from greyd.store.sqlite.read_only import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.store.sqlite.file_identity import FileIdentity

MIN_FREE_BYTES = 100 * 1024 * 1024
MAX_WAL_BYTES = 64 * 1024 * 1024
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "ceph", "glusterfs", "fuse.sshfs")


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """The facts about a database file that are known without reading its content."""

    path: Path
    mode: int
    owner: str
    folder_mode: int
    folder_owner: str
    free_bytes: int
    """The free space on the disk that the server may use."""
    wal_bytes: int
    """The size of the write-ahead log."""
    filesystem: str


def check_sqlite(url: str, *, thorough: bool) -> list[Finding]:
    """Check a database file; with ``thorough`` SQLite checks its whole content.

    Raises:
        UnusableStoreError: the file does not belong to greyd.
    """
    path = sqlite_file(url)
    try:
        file = _inspect(path)
    except FileNotFoundError:
        return []
    except OSError as fault:
        return [not_checked("store: file", f"{path}: {fault.strerror}", "run greyd doctor as root")]
    return [
        finding_of_secrecy(file),
        finding_of_owner(file),
        finding_of_space(file),
        finding_of_wal(file),
        finding_of_filesystem(file),
        *_findings_of_content(path, thorough=thorough),
    ]


def _inspect(path: Path) -> DatabaseFile:
    file, folder, disk = path.stat(), path.parent.stat(), os.statvfs(path)
    wal = Path(f"{path}-wal")
    return DatabaseFile(
        path=path,
        mode=stat.S_IMODE(file.st_mode),
        owner=_user_name(file.st_uid),
        folder_mode=stat.S_IMODE(folder.st_mode),
        folder_owner=_user_name(folder.st_uid),
        free_bytes=disk.f_bavail * disk.f_frsize,
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
        filesystem=_filesystem(path),
    )


def _user_name(uid: int) -> str:
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
    """Return the type of the file system that contains a path, from rows of ``/proc/mounts``."""
    nearest = kind = ""
    for mount in mounts:
        # Of several mounts on one folder, the last one hides the others.
        if len(mount) > 2 and path.is_relative_to(mount[1]) and len(mount[1]) >= len(nearest):
            nearest, kind = mount[1], mount[2]
    return kind


# The file -----------------------------------------------------------------------------------------


def finding_of_secrecy(file: DatabaseFile) -> Finding:
    """Check that other users cannot read the file: it contains senders and recipients."""
    check = "store: secrecy"
    if file.mode & 0o044 and file.folder_mode & 0o001:
        return warning(
            check,
            f"all users can read {file.path} (mode {file.mode:04o}): it shows who writes to whom",
            f"chmod 0600 {file.path}; chmod 0750 {file.path.parent}",
        )
    return ok(check, f"mode {file.mode:04o}, in a folder of mode {file.folder_mode:04o}")


def finding_of_owner(file: DatabaseFile) -> Finding:
    """Check that file and folder have the same owner, the server's user."""
    check = "store: owner"
    if file.owner != file.folder_owner:
        return warning(
            check,
            f"{file.path} belongs to {file.owner}, its folder to {file.folder_owner}",
            f"chown {file.folder_owner}: {file.path}*",
        )
    return ok(check, f"{file.owner}, the owner of the folder")


def finding_of_space(file: DatabaseFile) -> Finding:
    """Check that the disk has enough free space."""
    check = "store: disk"
    free = f"{file.free_bytes / 1024**2:,.0f} MiB free"
    remedy = f"free some space: df {file.path.parent}"
    if file.free_bytes < MIN_FREE_BYTES // 10:
        return error(check, f"{free}: greyd cannot store anything", remedy)
    if file.free_bytes < MIN_FREE_BYTES:
        return warning(check, free, remedy)
    return ok(check, free)


def finding_of_wal(file: DatabaseFile) -> Finding:
    """Check that the write-ahead log is small, i.e. that SQLite copies it into the file."""
    check = "store: log of commits"
    size = f"{file.wal_bytes / 1024**2:.1f} MiB"
    if file.wal_bytes > MAX_WAL_BYTES:
        return warning(
            check,
            f"{file.path}-wal has {size}: a program has been reading the file for a long time",
            f"fuser -v {file.path} (shows the program)",
        )
    return ok(check, size)


def finding_of_filesystem(file: DatabaseFile) -> Finding:
    """Check that the file is not on a network file system (sqlite.org/wal.html)."""
    check = "store: file system"
    if file.filesystem.startswith(_NETWORK_FILE_SYSTEMS):
        return error(
            check,
            f"{file.filesystem}: SQLite's write-ahead log does not work over a network",
            "move the file to a disk of this machine, or use a Redis",
        )
    if not file.filesystem:
        return not_checked(check, "/proc/mounts does not show it")
    return ok(check, file.filesystem)


# The content --------------------------------------------------------------------------------------


def _findings_of_content(path: Path, *, thorough: bool) -> list[Finding]:
    made = []
    try:
        identity = identify(str(path))
        made.append(finding_of_version(identity))
        with contextlib.closing(ReadOnlyDatabase(os.path.realpath(path))) as reading:
            (mode,) = reading.connection.execute("PRAGMA journal_mode").fetchone()
            # SQLite reports another mode for a file in WAL mode that it opens without its log.
            made.append(finding_of_journal("wal" if identity.uses_wal else str(mode)))
            if thorough:
                found = reading.connection.execute("PRAGMA quick_check(5)")
                made.append(finding_of_integrity([str(line) for (line,) in found]))
    except UnusableStoreError:
        raise
    except (sqlite3.Error, StoreError) as fault:
        made.append(_finding_of_fault(path, fault))
    else:
        if not thorough:
            reason = "the check takes long on a large file"
            made.append(not_checked("store: content", reason, "greyd doctor --thorough"))
    return made


def finding_of_version(identity: FileIdentity) -> Finding:
    """Check that the file's schema is the one that this version of greyd writes."""
    check = "store: version"
    if identity.is_marked and identity.version == SCHEMA_VERSION:
        return ok(check, f"schema version {identity.version}")
    return hint(
        check,
        f"schema version {identity.version}; this greyd's is {SCHEMA_VERSION}",
        "systemctl restart greyd (upgrades the file; docs/operations.md shows the way back)",
    )


def _finding_of_fault(path: Path, fault: Exception) -> Finding:
    fault = fault.__cause__ if isinstance(fault.__cause__, sqlite3.Error) else fault
    if getattr(fault, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        return finding_of_integrity([str(fault)])
    return not_checked("store: content", f"{path}: {fault}")


def finding_of_journal(mode: str) -> Finding:
    """Check that the file is in WAL mode, in which readers do not block the server."""
    check = "store: journal"
    if mode != "wal":
        return warning(
            check,
            f"{mode} instead of wal: commands that read the file delay mail",
            "systemctl restart greyd (sets it)",
        )
    return ok(check, mode)


def finding_of_integrity(lines: Sequence[str]) -> Finding:
    """Judge the output of SQLite's ``quick_check``."""
    check = "store: content"
    if list(lines) == ["ok"]:
        return ok(check, "the file is sound")
    return error(
        check,
        "damaged: " + "; ".join(lines)[:300],
        "stop greyd, move the file away, start greyd: known senders are greylisted once more",
    )
