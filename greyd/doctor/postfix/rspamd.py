"""Queries rspamd on this machine for whether its greylist module is on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from greyd.doctor.programs import ProgramError, run_program


@dataclass(frozen=True, slots=True)
class RspamdGreylisting:
    """Whether rspamd on this machine greylists."""

    is_on: bool | None
    """None if it is unknown."""
    reason: str
    """The state of the module as rspamd names it, or why it is unknown."""


async def find_rspamd_greylisting() -> RspamdGreylisting:
    """Run rspamd's own program to get the state of its greylist module."""
    command = "rspamadm configdump --modules-state"
    try:
        output = await run_program(*command.split())
    except ProgramError as fault:
        return RspamdGreylisting(None, str(fault))
    return parse_modules_state(output.stdout, command)


def parse_modules_state(text: str, command: str) -> RspamdGreylisting:
    """Parse lines such as ``Modules disabled (no Redis): greylist, replies``."""
    for line in text.splitlines():
        state, _, names = line.partition(":")
        if "greylist" in re.split(r"[\s,]+", names):
            name = state.removeprefix("Modules ").strip()
            return RspamdGreylisting(name == "enabled", f"{name}, by {command}")
    return RspamdGreylisting(None, f"{command} does not list the module")
