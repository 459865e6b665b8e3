"""Record what a command did, for the servers' logs."""

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


def who() -> str:
    """Return who gives the command: the account that logged in, and the host."""
    name = os.environ.get("SUDO_USER") or ""
    with contextlib.suppress(KeyError, OSError):
        name = name or pwd.getpwuid(os.getuid()).pw_name or getpass.getuser()
    return printable(f"{name or os.getuid()}@{socket.gethostname()}".encode())


async def note_act(
    store: Store, settings: Settings, what: str, named: Mapping[str, str | None]
) -> None:
    """Let the servers' logs say what was done, of whom, by whom and when.

    With ``--privacy`` they are not told of whom: what waits for the log is in the store.
    """
    if not settings.privacy:
        given = [f"--{name}={printable_text(text)}" for name, text in named.items() if text]
        what = " ".join([what, *given])
    now, by = int(time.time()), who()
    await tell_servers(store, lambda control: control.with_action(by, what, now), now)


async def told_servers(store: Store) -> Control:
    """Return what all servers on a store have been told."""
    record = await store.get(CONTROL_KEY)
    return Control.load(record.value if record else None)


async def tell_servers(store: Store, change: Callable[[Control], Control], now: int) -> Control:
    """Tell all servers on a store something else; returns what they are told then."""
    return await store.transact([CONTROL_KEY], change_control(change, now))
