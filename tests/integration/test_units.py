"""The units of systemd: whether it understands them, and what it thinks of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import program

pytestmark = pytest.mark.integration

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
MOST_EXPOSED = 15
"""Tenths, of 100."""


def test_systemd_has_nothing_to_say_of_the_units(tmp_path: Path) -> None:
    greyd = Path(sys.executable).with_name("greyd")
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("ExecStart=greyd", f"ExecStart={greyd}")
        (tmp_path / unit.name).write_text(text)
    command = [program("systemd-analyze"), "verify", "--man=no", "--recursive-errors=no"]
    done = subprocess.run(
        [*command, *(tmp_path / unit.name for unit in UNITS.iterdir())],
        capture_output=True,
        text=True,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_can_do_little_harm() -> None:
    done = subprocess.run(
        [
            program("systemd-analyze"), "security", "--offline=true",
            f"--threshold={MOST_EXPOSED}", UNITS / "greyd.service",
        ],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
