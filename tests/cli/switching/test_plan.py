"""The plan of a switch as it is shown: short on a terminal, whole in a pipe or with -v."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from greyd.cli.context import CommandContext
from greyd.cli.switching.changes import FileToWrite
from greyd.cli.switching.found_postgrey import FoundPostgrey
from greyd.cli.switching.output import as_json, print_plan
from greyd.cli.switching.planning import Planned
from greyd.cli.switching.postgrey_options import read_postgrey_options
from greyd.cli.switching.services.interface import ServiceState
from greyd.cli.switching.services.systemd import SystemdServices
from greyd.cli.switching.settings_plan import SettingsPlan
from greyd.cli.switching.switch import SwitchPlan
from greyd.config.settings import Settings

TOML = Path("/etc/greyd/greyd.toml")
LINES = ('inet = ["127.0.0.1:10023"]', "delay = 60", "retry_window = 7200")
FOUND = FoundPostgrey(
    state=ServiceState(exists=True, is_running=True, is_enabled=True),
    options=read_postgrey_options(["--inet=127.0.0.1:10023", "--delay=60"]),
    options_from=("postgrey.service", "/etc/default/postgrey"),
    process=4711,
    database_bytes=300_000,
    lists=(Path("/etc/postgrey/whitelist_clients"), Path("/etc/postgrey/whitelist_recipients")),
)
PLANNED = Planned(
    SwitchPlan(Path("/var/lib/greyd/greyd.db"), (0, 0), (FileToWrite(TOML, b""),)),
    SettingsPlan(TOML, None, b"", LINES, Settings()),
    remarks=("an option of postgrey's that greyd does not take: --colour",),
)


def shown(
    columns: int | None, *, verbose: bool = False, found: FoundPostgrey = FOUND,
    planned: Planned = PLANNED,
) -> list[str]:  # fmt: skip
    """Return the lines of the plan on a terminal of a width, or in a pipe."""
    output = io.StringIO()
    console = Console(
        file=output, width=columns or 200, force_terminal=columns is not None, color_system=None,
        markup=False, highlight=False, emoji=False,
    )  # fmt: skip
    context = CommandContext(Settings(), _consoles=[console])
    print_plan(context, found, planned, SystemdServices(), verbose=verbose)
    return output.getvalue().splitlines()


@pytest.mark.parametrize(("columns", "most_lines"), [(45, 33), (80, 24), (160, 24)])
def test_on_a_terminal_the_plan_fits_and_says_what_it_leaves_out(
    columns: int, most_lines: int
) -> None:
    lines = shown(columns)
    assert len(lines) <= most_lines
    assert max(map(len, lines)) <= columns
    text = " ".join(" ".join(lines).split())
    assert "-v also shows where its options are set, its sockets and whitelists" in text
    assert "--colour" in text, "what changes is not left out"
    assert text.index("--colour") < text.index("the plan"), "it comes first"
    assert "greyd switch-from postgrey --undo" in text
    numbers = [line.split(".")[0].strip() for line in lines if line[:3].strip().isdigit()]
    assert numbers == [str(number) for number in range(1, 8)]


@pytest.mark.parametrize(
    ("columns", "verbose"), [(None, False), (None, True), (45, True), (80, True)]
)
def test_a_pipe_and_verbose_get_the_whole_plan(columns: int | None, *, verbose: bool) -> None:
    lines = shown(columns, verbose=verbose)
    for command in (
        "systemctl stop postgrey", "greyd import /var/lib/postgrey", "+ delay = 60",
        "systemctl enable greyd",
    ):  # fmt: skip
        assert any(line.strip() == command for line in lines), command
    text = " ".join(" ".join(lines).split())
    for part in ("/etc/default/postgrey", "/etc/postgrey/whitelist_clients", "what stays the same"):
        assert part in text
    assert "-v also shows" not in text


@pytest.mark.parametrize(
    ("size_bytes", "duration"),
    [
        (300_000, ""),
        (20_000_000, ""),
        (30_000_000, " (about 10 s)"),
        (87_000_000, " (about 20 s)"),
        (400_000_000, " (about 2 min)"),
    ],
)
def test_a_large_database_has_its_duration_in_the_plan(size_bytes: int, duration: str) -> None:
    found = replace(FOUND, database_bytes=size_bytes)
    for lines in (shown(80, found=found), shown(None, found=found)):
        (first,) = [line for line in lines if line.startswith("  1. ")]
        assert first.endswith(f"{duration}.")


@pytest.mark.parametrize(
    ("changes", "is_absent"),
    [
        ({"was_running": False}, "systemctl stop postgrey"),
        ({"imports": False}, "greyd import /var/lib/postgrey"),
        ({"was_enabled": False}, "systemctl disable postgrey"),
    ],
)
def test_the_plan_has_only_steps_that_the_switch_takes(
    changes: dict[str, Any], is_absent: str
) -> None:
    planned = replace(PLANNED, switch=replace(PLANNED.switch, **changes))
    whole = [line.strip() for line in shown(None, planned=planned)]
    assert is_absent not in whole
    steps = as_json(FOUND, planned, SystemdServices())["steps"]
    assert isinstance(steps, list)
    short = [line for line in shown(45, planned=planned) if line[:3].strip().isdigit()]
    assert len(short) == len(steps)
