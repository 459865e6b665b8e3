"""Warns at the top of the letter of a mode in which all mail passes, with no end set."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from greyd.cli.server_control import read_control
from greyd.cli.store_access import open_store_for_command
from greyd.errors import GreydError
from greyd.escaping import printable_text
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext


def mode_notice(context: CommandContext) -> str:
    """Return the warning in one line; empty if mail is greylisted, or will be again.

    Without a store that can be read it is empty, too: the log may come from another machine.
    """
    try:
        return asyncio.run(_notice(context))
    except GreydError:
        return ""


async def _notice(context: CommandContext) -> str:
    async with open_store_for_command(context.store_url, context.settings) as store:
        override = (await read_control(store)).mode
    if override is not None and override.is_forgettable:
        return (
            f"All mail passes: mode {override.mode} since {format_timestamp(override.at)}, by"
            f" {printable_text(override.by)}, and no end is set; greyd mode reset ends it."
        )
    return ""
