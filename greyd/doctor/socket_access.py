"""Computes from modes and ACLs whether a user can connect to a Unix socket.

Source: path_resolution(7), unix(7) and acl(5). Connecting needs the right to search each folder of
the path, and to write to the socket. Security modules such as SELinux are not considered.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SEARCH, _WRITE = 1, 2

_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_ACL_ENTRY = struct.Struct("<HHI")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


def first_obstacle(path: Path, uid: int, gid: int) -> Path | None:
    """Return the first folder that a user can't search, or the socket; None if it can connect.

    ``uid`` and ``gid`` are the numbers of the user and of its only group.

    Raises:
        OSError: this process may not see the path.
    """
    resolved = path.resolve(strict=True)
    for folder in reversed(resolved.parents):
        if not _may(folder, uid, gid, _SEARCH):
            return folder
    return None if _may(resolved, uid, gid, _WRITE) else resolved


def _may(path: Path, uid: int, gid: int, right: int) -> bool:
    if uid == 0:
        return True
    status = path.stat()
    entries = list(_acl_entries(path))
    if not entries:
        mode = stat.S_IMODE(status.st_mode)
        entries = [
            (_USER_OBJ, mode >> 6 & 7, 0), (_GROUP_OBJ, mode >> 3 & 7, 0), (_OTHER, mode & 7, 0),
        ]  # fmt: skip
    mask = next((rights for tag, rights, _ in entries if tag == _MASK), 7)
    if uid == status.st_uid:
        return any(rights & right for tag, rights, _ in entries if tag == _USER_OBJ)
    named = [rights for tag, rights, number in entries if (tag, number) == (_USER, uid)]
    if named:
        return bool(named[0] & mask & right)
    of_groups = [
        rights
        for tag, rights, number in entries
        if (tag == _GROUP_OBJ and status.st_gid == gid) or (tag == _GROUP and number == gid)
    ]
    if of_groups:
        return any(rights & mask & right for rights in of_groups)
    return any(rights & right for tag, rights, _ in entries if tag == _OTHER)


def _acl_entries(path: Path) -> Iterator[tuple[int, int, int]]:
    """Yield the tag, rights and number of each entry of a file's ACL, if it has one."""
    try:
        acl = os.getxattr(path, _ACL)
    except (OSError, AttributeError):
        return
    if len(acl) < 4 or int.from_bytes(acl[:4], "little") != _ACL_VERSION:
        return
    body = acl[4:]
    yield from _ACL_ENTRY.iter_unpack(body[: len(body) // _ACL_ENTRY.size * _ACL_ENTRY.size])
