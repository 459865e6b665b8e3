"""Whether Postfix's user can connect to a socket is computed as the kernel decides."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.mail_owner import (
    MailOwner,
    SwitchError,
    connect_as,
    find_mail_owner,
    finding_of_computed_access,
)
from greyd.doctor.socket_access import first_obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = 54321


@pytest.fixture
def place() -> Iterator[Path]:
    # The folders above pytest's own are closed to other users.
    with tempfile.TemporaryDirectory(prefix="greyd-access-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "socket"))
            listening.listen()
            yield folder / "socket"


def set_acl(path: Path, *entries: tuple[int, int, int]) -> None:
    """Give a file an ACL of tags, rights and numbers."""
    body = b"".join(struct.pack("<HHI", tag, rights, number) for tag, rights, number in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", b"\x02\0\0\0" + body)
    except OSError:
        pytest.skip("this file system has no ACLs")


@pytest.mark.parametrize("folder_mode", [0o755, 0o751, 0o750, 0o700])
@pytest.mark.parametrize("mode", [0o666, 0o660, 0o606, 0o602, 0o600, 0o060, 0o006, 0o000])
@pytest.mark.parametrize("same_group", [False, True])
def test_modes_are_judged_as_the_kernel_does(
    place: Path, folder_mode: int, mode: int, same_group: bool
) -> None:
    place.chmod(mode)
    place.parent.chmod(folder_mode)
    user = MailOwner("mail", OTHER, os.getegid() if same_group else OTHER)
    obstacle = first_obstacle(place, user.uid, user.gid)
    folder_right = folder_mode >> (3 if same_group else 0) & 1
    right = mode >> (3 if same_group else 0) & 2
    expected = None if folder_right and right else place if folder_right else place.parent
    assert obstacle == expected
    if os.geteuid() == 0:
        assert (obstacle is None) == connects(user, place)


@pytest.mark.parametrize(
    ("entries", "may"),
    [
        # owner, a named user, the group, the mask, others
        (((1, 6, 0), (2, 6, OTHER), (4, 0, 0), (16, 6, 0), (32, 0, 0)), True),
        (((1, 6, 0), (2, 6, OTHER), (4, 0, 0), (16, 4, 0), (32, 6, 0)), False),
        (((1, 6, 0), (2, 4, OTHER), (4, 0, 0), (16, 6, 0), (32, 6, 0)), False),
        (((1, 6, 0), (4, 0, 0), (8, 6, OTHER), (16, 6, 0), (32, 0, 0)), True),
        (((1, 6, 0), (4, 0, 0), (8, 4, OTHER), (16, 6, 0), (32, 6, 0)), False),
        (((1, 6, 0), (2, 6, OTHER + 1), (4, 0, 0), (16, 6, 0), (32, 6, 0)), True),
    ],
)
def test_acls_are_judged_as_the_kernel_does(
    place: Path, entries: tuple[tuple[int, int, int], ...], may: bool
) -> None:
    none = 0xFFFFFFFF
    set_acl(place, *((tag, rights, number or none) for tag, rights, number in entries))
    user = MailOwner("mail", OTHER, OTHER)
    assert (first_obstacle(place, user.uid, user.gid) is None) == may
    if os.geteuid() == 0:
        assert connects(user, place) == may


def connects(user: MailOwner, path: Path) -> bool:
    """Whether the kernel lets the user connect."""
    try:
        connect_as(user, path).close()
    except PermissionError:
        return False
    except SwitchError:
        pytest.skip("this process may not act as somebody else")
    assert os.geteuid() == 0
    return True


def test_the_finding_says_that_it_was_computed(place: Path) -> None:
    user = MailOwner("mail", OTHER, OTHER)
    place.chmod(0o666)
    found = finding_of_computed_access(place, user, "this user is not root")
    assert (found.state, "computed from modes and ACLs" in found.seen) == (State.OK, True)
    place.chmod(0o600)
    found = finding_of_computed_access(place, user, "this user is not root")
    assert (found.state, f"may not write to {place}" in found.seen) == (State.ERROR, True)
    assert "--socketmode" in found.remedy
    assert finding_of_computed_access(place, None, "x").state is State.NOT_CHECKED
    gone = finding_of_computed_access(place.parent / "gone", user, "x")
    assert gone.state is State.NOT_CHECKED


def test_the_user_of_postfix_is_unknown_without_its_configuration(tmp_path: Path) -> None:
    assert asyncio.run(find_mail_owner(str(tmp_path))) is None
