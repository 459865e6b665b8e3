"""Removes everything that names an address from the control record."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.rules.control import Control, change_control, window_key
from greyd.rules.reserved_keys import CONTROL_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.entries.aliases import AddressAliases
    from greyd.config.settings import Settings
    from greyd.rules.control import ExpectWindow
    from greyd.rules.transaction import Change, Remembered
    from greyd.store.contract import Store


async def forget_in_control(
    store: Store, aliases: AddressAliases, settings: Settings, *, dry_run: bool
) -> int:
    """Remove the expect windows and the actions that name an address; return how many.

    Args:
        store: the store.
        aliases: the forms of the address.
        settings: the server's settings; with ``--privacy`` windows have a hash of the recipient.
        dry_run: whether only to count them.
    """
    now = int(time.time())
    window_keys = {window_key(name, settings) for name in aliases.window_names()}

    def without(control: Control) -> Control:
        windows = [
            each for each in control.windows if not _names_window(each, aliases, window_keys)
        ]
        acts = [each for each in control.acts if not aliases.are_mentioned_in(_encode(each.what))]
        return replace(control, windows=tuple(windows), acts=tuple(acts))

    def rule(remembered: Remembered) -> tuple[int, Sequence[Change]]:
        (text,) = remembered
        before = Control.load(text)
        after = without(before)
        count = len(before.windows) - len(after.windows) + len(before.acts) - len(after.acts)
        # Unreadable parts may name the address too; rewriting the record drops them.
        count = count or int(aliases.are_mentioned_in(text or b""))
        return count, change_control(without, now)(remembered)[1] if count else ()

    if dry_run:
        record = await store.get(CONTROL_KEY)
        return rule([record.value if record else None])[0]
    return await store.transact([CONTROL_KEY], rule)


def _names_window(window: ExpectWindow, aliases: AddressAliases, window_keys: set[str]) -> bool:
    return (
        window.recipient in window_keys
        or aliases.include(_encode(window.recipient))
        or aliases.include_domain(_encode(window.sender_domain))
    )


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
