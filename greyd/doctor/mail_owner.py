"""Postfix's user, with whose rights a Unix socket is looked at: root may connect to any."""

from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING, NamedTuple

from greyd.doctor.programs import ProgramError, run_program

if TYPE_CHECKING:
    from pathlib import Path


class MailOwner(NamedTuple):
    """Whom Postfix's processes run as."""

    name: str
    uid: int
    gid: int
    """Its own group. Postfix gives up all others, so being a member of one is of no use."""


async def mail_owner(folder: str | None) -> MailOwner | None:
    """Return the ``mail_owner`` of main.cf; None where only root could become it, or it is unknown.

    ``folder`` is that of main.cf, where it is not Postfix's own.
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


def connect(path: Path, owner: MailOwner) -> socket.socket:
    """Connect to a Unix socket with another user's rights; this user's are back at the end.

    To be called as root, and while no other thread of this process works.

    Raises:
        OSError: that user may not, or nobody listens.
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
