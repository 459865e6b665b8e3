"""Finds out why this process may not write a SQLite file, and the remedy.

SQLite itself reports "unable to open database file" or "attempt to write a readonly database", but
it names neither the file, nor its owner, nor the remedy.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_IN_A_FOLDER = os.R_OK | os.W_OK | os.X_OK
_IN_A_FILE = os.R_OK | os.W_OK


@dataclass(frozen=True, slots=True)
class PermissionFault:
    """A missing permission, and how the administrator grants it."""

    reason: str
    remedy: str


def find_permission_fault(database: Path) -> PermissionFault | None:
    """Return why this process can't write a SQLite file; None if no permission is missing.

    SQLite writes two files beside its database (``-wal``, ``-shm``) and greyd one (``-lock``), so
    the folder must be writable too. The check considers the process's capabilities, not only its
    user id: root without CAP_DAC_OVERRIDE may be refused as well.
    """
    folder = database.parent
    if closed := _closed_above(folder):
        return _whose(closed, "enter", [closed])
    if not folder.is_dir():
        return PermissionFault(f"there is no folder {folder}", "create it or name another")
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        reason = f"{folder} is on a file system that is mounted read-only"
        return PermissionFault(reason, "mount it read-write")
    refused = list(_refused(database))
    return _whose(refused[0], "write", refused) if refused else None


def folder_is_missing(folder: Path) -> bool:
    """Whether a folder does not exist.

    False also if a missing permission hides it; ``find_permission_fault`` then gives the reason.
    """
    try:
        return not folder.is_dir()
    except PermissionError:
        return False
    except OSError:  # e.g. the name is too long
        return True


def _closed_above(folder: Path) -> Path | None:
    """Return the topmost parent folder that this process may not enter."""
    for each in reversed(folder.absolute().parents):
        if not os.access(each, os.X_OK, effective_ids=True) and each.is_dir():
            return each
    return None


def _refused(database: Path) -> Iterator[Path]:
    if not os.access(database.parent, _IN_A_FOLDER, effective_ids=True):
        yield database.parent
    for suffix in ("", "-wal", "-shm", "-lock"):
        path = Path(f"{database}{suffix}")
        # The remedy for a link would change the file that it points to.
        if os.path.islink(path):  # noqa: PTH114 - pathlib's raises in a folder that is closed
            continue
        if os.access(path, os.F_OK) and not os.access(path, _IN_A_FILE, effective_ids=True):
            yield path


def _whose(path: Path, verb: str, refused: list[Path]) -> PermissionFault:
    found = path.stat()
    process = f"{os.geteuid()}:{os.getegid()}"
    names = " ".join(map(str, refused))
    if verb == "enter":
        remedy = f"chmod a+x {names}"
    elif all(each.stat().st_uid == os.geteuid() for each in refused):
        remedy = f"chmod u+rwX {names}"
    else:
        remedy = f"chown {process} {names}"
    reason = (
        f"{path} belongs to {found.st_uid}:{found.st_gid} (mode {stat.S_IMODE(found.st_mode):04o}),"
        f" and greyd, which runs as {process}, may not {verb} it"
    )
    return PermissionFault(reason, remedy)
