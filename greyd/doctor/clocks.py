"""Checks the clocks of this machine, of Redis and of other mail exchangers."""

from __future__ import annotations

import socket

from greyd.doctor.findings import Finding, hint, not_checked, ok, warning
from greyd.doctor.programs import ProgramError, run_program

MAX_OFFSET_SECONDS = 1.0
"""The largest difference between two clocks that is not reported as a fault."""


async def check_ntp() -> list[Finding]:
    """Check whether this machine's clock is synchronised."""
    check = f"clocks: {socket.gethostname()}"
    try:
        output = await run_program("timedatectl", "show", "--property=NTPSynchronized", "--value")
    except ProgramError as fault:
        return [not_checked(check, str(fault))]
    return [finding_of_synchronisation(check, output.stdout.strip())]


def finding_of_synchronisation(check: str, synchronised: str) -> Finding:
    """Judge the property ``NTPSynchronized`` of timedatectl."""
    if synchronised == "yes":
        return ok(check, "synchronised")
    return hint(check, "timedatectl: not synchronised", "timedatectl set-ntp true")


def finding_of_offset(check: str, offset_seconds: float, took_seconds: float) -> Finding:
    """Judge how far another clock is ahead of this machine's.

    The offset is accurate to half of ``took_seconds``, the time until the other clock's answer.
    """
    if took_seconds > MAX_OFFSET_SECONDS:
        return not_checked(
            check, f"the answer took {took_seconds:.1f} s, too long to compare clocks"
        )
    if abs(offset_seconds) - took_seconds / 2 > MAX_OFFSET_SECONDS:
        direction = "ahead of" if offset_seconds > 0 else "behind"
        return warning(
            check,
            f"{abs(offset_seconds):.1f} s {direction} this machine's clock: mail waits longer or"
            " shorter by that time",
            "timedatectl set-ntp true, on both machines",
        )
    return ok(check, f"{offset_seconds:+.3f} s, within a second")
