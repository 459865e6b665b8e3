"""Checks the access of Postfix's user to Unix sockets: root itself may connect to any socket."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.doctor.errors import DoctorError
from greyd.doctor.findings import Finding, error, not_checked, ok
from greyd.doctor.programs import ProgramError, run_program
from greyd.doctor.socket_access import first_obstacle

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MailOwner:
    """The user that Postfix's processes run as."""

    name: str
    uid: int
    gid: int
    """The number of the user's primary group; Postfix drops supplementary groups."""


class SwitchError(DoctorError):
    """This process may not act with another user's rights."""


async def find_mail_owner(folder: str | None) -> MailOwner | None:
    """Return the ``mail_owner`` of main.cf; None if it is unknown.

    ``folder`` contains main.cf; None for Postfix's default folder.
    """
    where = ["-c", folder] if folder else []
    try:
        output = await run_program("postconf", *where, "-hx", "mail_owner")
        account = pwd.getpwnam(output.stdout.strip())
    except (ProgramError, KeyError):
        return None
    return MailOwner(account.pw_name, account.pw_uid, account.pw_gid)


def connect_as(owner: MailOwner, path: Path) -> socket.socket:
    """Connect to a Unix socket with another user's rights, then restore root's rights.

    Call it as root, and only while the process has no other thread: rights apply to all threads.

    Raises:
        SwitchError: this process may not act as the user, e.g. in a container.
        OSError: the user has no access, or no process listens on the socket.
    """
    groups, gid = os.getgroups(), os.getegid()
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.setblocking(False)
    try:
        _switch_to(owner)
        client.connect(str(path))
    except (OSError, SwitchError):
        client.close()
        raise
    finally:
        os.seteuid(0)
        os.setegid(gid)
        with contextlib.suppress(PermissionError):
            os.setgroups(groups)
    return client


def _switch_to(owner: MailOwner) -> None:
    try:
        os.setgroups([owner.gid])
        os.setegid(owner.gid)
        os.seteuid(owner.uid)
    except OSError as fault:
        raise SwitchError(f"this process may not act as {owner.name}: {fault.strerror}") from None


def finding_of_computed_access(path: Path, owner: MailOwner | None, reason: str) -> Finding:
    """Judge by modes and ACLs whether Postfix's user can connect to a socket.

    ``reason`` is why the connection was not tried.
    """
    check = f"server: {path} for Postfix"
    if owner is None:
        return not_checked(check, f"Postfix's user is unknown ({reason})", "--main-cf=FOLDER")
    computed = f"computed from modes and ACLs, not tried: {reason}"
    try:
        obstacle = first_obstacle(path, owner.uid, owner.gid)
    except OSError as fault:
        return not_checked(check, f"{fault.strerror} ({reason})", "run greyd doctor as root")
    if obstacle is not None:
        right = "write to" if obstacle == path.resolve() else "search"
        return error(
            check,
            f"Postfix's user {owner.name} may not {right} {obstacle} ({computed}): Postfix takes"
            " its default action",
            no_access_remedy(path, owner),
        )
    return ok(check, f"Postfix's user {owner.name} may connect ({computed})")


def no_access_remedy(path: Path, owner: MailOwner) -> str:
    """Return the remedy that lets Postfix's user connect to a socket."""
    return (
        f"--socketmode=0666, or --group with {owner.name}'s primary group; namei -l {path} (shows"
        " the mode of each folder)"
    )
