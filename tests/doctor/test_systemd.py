"""The units of systemd are judged."""

from __future__ import annotations

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.systemd import finding_of_unit, findings_of_postgrey

UNIT = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}


@pytest.mark.parametrize(
    ("changed", "pid", "state"),
    [
        ({}, 4711, State.OK),
        ({"UnitFileState": "disabled"}, 4711, State.WARNING),
        ({"ActiveState": "failed"}, 4711, State.WARNING),
        ({"ActiveState": "failed"}, None, State.ERROR),
        ({"LoadState": "not-found"}, 4711, State.NOT_CHECKED),
    ],
)
def test_a_unit_that_is_not_active_or_not_enabled_is_found(
    changed: dict[str, str], pid: int | None, state: State
) -> None:
    assert finding_of_unit({**UNIT, **changed}, pid).state is state


@pytest.mark.parametrize(
    ("active", "enabled", "expected"),
    [
        ("inactive", "disabled", []),
        ("inactive", "", []),
        ("active", "enabled", [State.HINT]),
        ("inactive", "enabled", [State.WARNING]),
    ],
)
def test_a_postgrey_that_starts_at_the_next_boot_is_found(
    active: str, enabled: str, expected: list[State]
) -> None:
    found = findings_of_postgrey({"ActiveState": active, "UnitFileState": enabled})
    assert [each.state for each in found] == expected
