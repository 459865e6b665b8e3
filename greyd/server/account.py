"""The user and group that the server runs as."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.server.errors import SetupError
from greyd.server.sockets import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.settings import Settings


@dataclass(frozen=True)
class Account:
    """The user and group to run as; None keeps the current one."""

    name: str | None
    uid: int | None
    gid: int | None

    @property
    def owner(self) -> Owner:
        """The owner of the files that the server creates."""
        return Owner(*(-1 if number is None else number for number in (self.uid, self.gid)))

    @contextlib.contextmanager
    def rights(self) -> Iterator[None]:
        """Switch the effective user and group temporarily, so that the account owns new files."""
        uid, gid = os.geteuid(), os.getegid()
        if self.gid is not None and uid == 0:
            os.setegid(self.gid)
        try:
            if self.uid is not None:
                os.seteuid(self.uid)
            yield
        finally:
            if self.uid is not None:
                os.seteuid(uid)
            os.setegid(gid)


def find_account(settings: Settings) -> Account:
    """Look up ``--user`` and ``--group``.

    Raises:
        SetupError: the user or group does not exist, or only root may switch to it.
    """
    user, group = settings.user, settings.group
    try:
        by_user = pwd.getpwuid(int(user)) if user.isdecimal() else None
        entry = by_user or (pwd.getpwnam(user) if user else None)
    except (KeyError, OverflowError):
        raise SetupError(f"--user={user}: no such user; create it or name another") from None
    try:
        by_group = grp.getgrgid(int(group)) if group.isdecimal() else None
        named = by_group or (grp.getgrnam(group) if group else None)
        gid = named.gr_gid if named else None
    except (KeyError, OverflowError):
        raise SetupError(f"--group={group}: no such group; create it or name another") from None
    uid = entry.pw_uid if entry else None
    if gid is None and entry is not None:
        gid = entry.pw_gid
    if os.geteuid() != 0:
        if uid not in (None, os.geteuid()) or gid not in (None, os.getegid(), *os.getgroups()):
            raise SetupError("--user and --group: only root can run as another user or group")
        # A user may still give the sockets to any of its groups.
        return Account(None, None, None if gid == os.getegid() else gid)
    return Account(entry.pw_name if entry else None, uid, gid)


def drop_privileges(account: Account) -> None:
    """Switch to the account's user and group permanently; does nothing unless root."""
    if os.geteuid() != 0:
        return
    if account.gid is not None:
        os.setgid(account.gid)
        os.setgroups([account.gid])
    if account.uid is not None:
        if account.name is not None and account.gid is not None:
            os.initgroups(account.name, account.gid)
        os.setuid(account.uid)
