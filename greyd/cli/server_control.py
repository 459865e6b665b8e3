"""Reads and changes the control record, which all servers on a store apply."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import socket
import time
from typing import TYPE_CHECKING

from greyd.escaping import printable, printable_text
from greyd.rules.control import Control, change_control
from greyd.rules.reserved_keys import CONTROL_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from greyd.config.settings import Settings
    from greyd.store.contract import Store


async def read_control(store: Store) -> Control:
    """Read the control record of a store."""
    record = await store.get(CONTROL_KEY)
    return Control.load(record.value if record else None)


async def update_control(store: Store, change: Callable[[Control], Control], now: int) -> Control:
    """Change the control record of a store; return the new record."""
    return await store.transact([CONTROL_KEY], change_control(change, now))


async def record_action(
    store: Store, settings: Settings, action: str, options: Mapping[str, str | None]
) -> None:
    """Make the servers log an action of a command, with the options that selected its entries.

    With ``--privacy`` the options are left out, because the control record is in the store, which
    must not contain names.
    """
    if not settings.privacy:
        given = [f"--{name}={printable_text(text)}" for name, text in options.items() if text]
        action = " ".join([action, *given])
    now, user = int(time.time()), current_user()
    await update_control(store, lambda control: control.with_action(user, action, now), now)


def current_user() -> str:
    """Return ``USER@HOST`` for the user who logged in, also under sudo."""
    name = os.environ.get("SUDO_USER") or ""
    with contextlib.suppress(KeyError, OSError):
        name = name or pwd.getpwuid(os.getuid()).pw_name or getpass.getuser()
    return printable(f"{name or os.getuid()}@{socket.gethostname()}".encode())
