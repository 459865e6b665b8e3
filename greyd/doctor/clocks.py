"""Whether this machine's clock is synchronised."""

from __future__ import annotations

import socket

from greyd.doctor.findings import Finding, hint, not_checked, ok, warning
from greyd.doctor.programs import ProgramError, run_program

# The clock ----------------------------------------------------------------------------------------


MAX_OFFSET_SECONDS = 1.0


async def finding_of_ntp() -> Finding:
    """Say whether this machine's clock is kept right."""
    check = f"clocks: {socket.gethostname()}"
    try:
        output = await run_program("timedatectl", "show", "--property=NTPSynchronized", "--value")
    except ProgramError as fault:
        return not_checked(check, str(fault))
    return finding_of_synchronisation(check, output.stdout.strip())


def finding_of_synchronisation(check: str, synchronised: str) -> Finding:
    """Judge what timedatectl says."""
    if synchronised == "yes":
        return ok(check, "synchronised")
    return hint(check, "not synchronised, says timedatectl", "timedatectl set-ntp true")


def finding_of_offset(check: str, offset: float, took: float) -> Finding:
    """Judge how far another clock is before this machine's, give or take half of ``took``."""
    if took > MAX_OFFSET_SECONDS:
        return not_checked(check, f"the answer took {took:.1f} s: too long to compare")
    if abs(offset) - took / 2 > MAX_OFFSET_SECONDS:
        way = "before" if offset > 0 else "behind"
        return warning(
            check,
            f"{abs(offset):.1f} s {way} this machine's: so much longer or shorter mail waits",
            "timedatectl set-ntp true, on both machines",
        )
    return ok(check, f"{offset:+.3f} s, within a second")
