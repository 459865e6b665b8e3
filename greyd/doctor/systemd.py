"""Checks the systemd units of greyd and postgrey."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.programs import ProgramError, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping


async def unit_properties(unit: str, *names: str) -> dict[str, list[str]]:
    """Return the values of a systemd unit's properties, by name.

    Raises:
        ProgramError: systemd does not run here, or systemctl fails.
    """
    output = await run_program("systemctl", "show", unit, f"--property={','.join(names)}")
    found: dict[str, list[str]] = {name: [] for name in names}
    for line in output.stdout.splitlines():
        name, equals, value = line.partition("=")
        if equals and name in found:
            found[name].append(value)
    return found


async def _single_properties(unit: str, *names: str) -> dict[str, str]:
    found = await unit_properties(unit, *names)
    return {name: values[0] if values else "" for name, values in found.items()}


async def check_unit(pid: int | None) -> list[Finding]:
    """Check that systemd runs greyd and starts it at boot; ``pid`` is the listening process."""
    try:
        unit = await _single_properties(
            "greyd.service", "LoadState", "ActiveState", "UnitFileState"
        )
    except ProgramError as fault:
        return [not_checked("process: unit", str(fault))]
    return [finding_of_unit(unit, pid)]


def finding_of_unit(unit: Mapping[str, str], pid: int | None) -> Finding:
    """Judge the properties of ``greyd.service``; ``pid`` is the listening process, if known."""
    check = "process: unit"
    if unit["LoadState"] != "loaded":
        state = unit["LoadState"] or "unknown"
        return not_checked(check, f"systemd's load state of greyd.service is {state}")
    if unit["ActiveState"] != "active":
        if pid is None:
            return error(
                check,
                f"greyd.service is {unit['ActiveState']}",
                "journalctl -u greyd (shows why); systemctl start greyd",
            )
        return warning(
            check,
            f"greyd.service is {unit['ActiveState']}, but a greyd runs outside the unit",
            f"kill {pid}; systemctl start greyd",
        )
    if unit["UnitFileState"] not in ("enabled", "enabled-runtime", "static", "indirect"):
        return warning(
            check,
            "active but not enabled: it will not start at the next boot",
            "systemctl enable greyd",
        )
    return ok(check, "active and enabled")


async def check_postgrey_unit() -> list[Finding]:
    """Check that postgrey's unit neither runs nor takes greyd's port at the next boot."""
    try:
        unit = await _single_properties("postgrey.service", "ActiveState", "UnitFileState")
    except ProgramError:
        return []
    return findings_of_postgrey(unit)


def findings_of_postgrey(unit: Mapping[str, str]) -> list[Finding]:
    """Judge the properties of ``postgrey.service``."""
    check = "process: postgrey"
    if unit["ActiveState"] == "active":
        return [
            hint(
                check,
                "postgrey is running too",
                "greyd switch-from postgrey; after the migration: systemctl disable --now postgrey",
            )
        ]
    if unit["UnitFileState"] == "enabled":
        return [
            warning(
                check,
                "postgrey is enabled: at the next boot systemd stops either it or greyd, as their"
                " units conflict",
                "systemctl disable postgrey",
            )
        ]
    return []
