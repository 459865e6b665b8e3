"""Connects to Unix sockets with the rights of Postfix's user: root may connect to any socket."""

from __future__ import annotations

import os
import pwd
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.doctor.programs import ProgramError, run_program

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class MailOwner:
    """The user that Postfix's processes run as."""

    name: str
    uid: int
    gid: int
    """The number of the user's primary group; Postfix drops supplementary groups."""


async def find_mail_owner(folder: str | None) -> MailOwner | None:
    """Return the ``mail_owner`` of main.cf; None if it is unknown or this process is not root.

    ``folder`` contains main.cf; None for Postfix's default folder.
    """
    if os.geteuid() != 0:
        return None
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
        OSError: the user has no access, or no process listens on the socket.
    """
    groups, gid = os.getgroups(), os.getegid()
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.setblocking(False)
    try:
        os.setgroups([owner.gid])
        os.setegid(owner.gid)
        os.seteuid(owner.uid)
        client.connect(str(path))
    except OSError:
        client.close()
        raise
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
    return client
