"""The units of systemd: greyd's own, and postgrey's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.programs import ProgramError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.doctor.process import ListeningProcess
from greyd.doctor.programs import run_program

# Its unit -----------------------------------------------------------------------------------------


async def finding_of_unit(process: ListeningProcess | None) -> Finding:
    """Say whether the server is started with the machine."""
    try:
        unit = await unit_properties(
            "greyd.service", "LoadState", "ActiveState", "UnitFileState", "MainPID"
        )
    except ProgramError as fault:
        return not_checked("process: unit", str(fault))
    return finding_of_unit_properties(
        {name: (values or [""])[0] for name, values in unit.items()}, process
    )


def finding_of_unit_properties(
    unit: Mapping[str, str], process: ListeningProcess | None
) -> Finding:
    """Judge what systemd says of ``greyd.service``."""
    check = "process: unit"
    if unit["LoadState"] != "loaded":
        return not_checked(check, f"greyd.service is {unit['LoadState'] or 'not known'} to systemd")
    if unit["ActiveState"] != "active":
        if process is None:
            return error(
                check,
                f"greyd.service is {unit['ActiveState']}",
                "systemctl start greyd; journalctl -u greyd (its last words)",
            )
        return warning(
            check,
            f"greyd.service is {unit['ActiveState']}, and a greyd runs without it",
            f"kill {process.pid}; systemctl start greyd",
        )
    if unit["UnitFileState"] not in ("enabled", "enabled-runtime", "static", "indirect"):
        return warning(
            check,
            "active, but not enabled: after a restart of the machine it is not there",
            "systemctl enable greyd",
        )
    return ok(check, "active and enabled")


async def findings_of_postgrey() -> list[Finding]:
    """Say where postgrey's unit is still there to take greyd's port at the next start."""
    try:
        unit = await unit_properties("postgrey.service", "ActiveState", "UnitFileState")
    except ProgramError:
        return []
    return findings_of_postgrey_unit({name: (values or [""])[0] for name, values in unit.items()})


def findings_of_postgrey_unit(unit: Mapping[str, str]) -> list[Finding]:
    """Judge what systemd says of ``postgrey.service``."""
    check = "process: postgrey"
    if unit["ActiveState"] == "active":
        return [
            hint(
                check,
                "postgrey runs as well",
                "systemctl disable --now postgrey, once all is moved",
            )
        ]
    if unit["UnitFileState"] == "enabled":
        return [
            warning(
                check,
                "postgrey is enabled: at the next start it and greyd end one another",
                "systemctl disable postgrey",
            )
        ]
    return []


async def unit_properties(unit: str, *names: str) -> dict[str, list[str]]:
    """Return properties of a systemd unit; each may have several values.

    Raises:
        ProgramError: systemd is not there.
    """
    output = await run_program("systemctl", "show", unit, f"--property={','.join(names)}")
    found: dict[str, list[str]] = {name: [] for name in names}
    for line in output.stdout.splitlines():
        name, equals, value = line.partition("=")
        if equals and name in found:
            found[name].append(value)
    return found
