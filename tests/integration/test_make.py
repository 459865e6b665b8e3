"""``make`` and the Python that it is given: too old, none, another than before, half of one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.commands import CHECKOUT, environment_without_settings
from tests.processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

BASE = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]


def have_venv(folder: Path, python: str | Path = BASE) -> subprocess.CompletedProcess[str]:
    """Run what ``make`` runs before anything else."""
    return subprocess.run(
        ["sh", CHECKOUT / "packaging" / "venv.sh", python, ".venv"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def altered_python(folder: Path, change: str) -> Path:
    """Return a Python that is another than it is: ``change`` is run at its start."""
    (folder / "sitecustomize.py").write_text(f"import sys\n{change}\n")
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {BASE} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("sys.version_info = (3, 10, 13)", "is Python 3.10.13, and greyd needs 3.11 or newer"),
        ("sys.version_info = (3, 9, 18)", "is Python 3.9.18, and greyd needs 3.11 or newer"),
        ("sys.version_info = (2, 7, 18)", "is Python 2.7.18, and greyd needs 3.11 or newer"),
        ("sys.modules['ensurepip'] = None", "apt install python3-venv"),
        ("sys.modules['sqlite3'] = None", "has no module sqlite3; install"),
        ("sys.modules['ssl'] = None", "has no module ssl; install"),
    ],
)
def test_a_python_that_will_not_do_ends_make_with_one_line(
    tmp_path: Path, change: str, line: str
) -> None:
    python = altered_python(tmp_path, change)
    done = have_venv(tmp_path, python)
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"make: {python} ")
    assert line in said
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("name", ["no-such-python", "/nonexistent/python3", "", "true", "false"])
def test_what_is_no_python_ends_make_with_one_line(tmp_path: Path, name: str) -> None:
    done = have_venv(tmp_path, name)
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"make: PYTHON={name}: ")
    assert "make PYTHON=python3.11" in said


def another_version_made_it(venv: Path) -> None:
    (venv / ".python").write_text("/usr/bin/python3.12 3.12.1\n")


def its_making_was_cut_off(venv: Path) -> None:
    (venv / ".python").unlink()


def its_python_was_removed(venv: Path) -> None:
    for name in ("python", "python3", Path(BASE).name):
        (venv / "bin" / name).unlink(missing_ok=True)
        (venv / "bin" / name).symlink_to("/nonexistent/python3")


def its_pip_was_removed(venv: Path) -> None:
    shutil.rmtree(next(venv.glob("lib/python*/site-packages/pip")))


def it_was_copied_from_elsewhere(venv: Path) -> None:
    for script in venv.glob("bin/pip*"):
        script.write_text(script.read_text().replace(str(venv), "/elsewhere/.venv"))


def test_an_environment_is_kept_while_it_is_whole_and_else_made_anew(tmp_path: Path) -> None:
    venv = tmp_path / ".venv"
    stamp = venv / ".installed"

    def is_made_anew() -> bool:
        done = have_venv(tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        anew = not stamp.exists()
        stamp.touch()
        return anew

    assert is_made_anew()
    assert not is_made_anew()
    damages: list[Callable[[Path], None]] = [
        another_version_made_it,
        its_making_was_cut_off,
        its_python_was_removed,
        it_was_copied_from_elsewhere,
    ]
    for damage in damages:
        damage(venv)
        assert is_made_anew(), damage
    # Active, it is python3 itself.
    done = have_venv(tmp_path, venv / "bin" / "python")
    assert (done.returncode, done.stderr) == (0, "")
    assert stamp.exists()
    its_pip_was_removed(venv)
    done = have_venv(tmp_path, venv / "bin" / "python")
    assert (done.returncode, done.stderr) == (0, "")
    assert not stamp.exists()
    assert subprocess.run([venv / "bin" / "pip", "--version"], capture_output=True).returncode == 0


def test_greyd_started_by_a_python_too_old_says_so_in_a_line(tmp_path: Path) -> None:
    python = altered_python(tmp_path, "sys.version_info = (3, 10, 13)")
    done = subprocess.run(
        [python, "-m", "greyd", "serve"], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "greyd: Python 3.10 is too old; run greyd with Python 3.11 or newer\n"


def test_the_last_lines_of_make_serve_are_what_to_do_next(tmp_path: Path) -> None:
    port, metrics = free_port(), free_port()
    recipe = next(
        line for line in (CHECKOUT / "Makefile").read_text().splitlines() if "next_steps" in line
    )
    command = (
        recipe.strip().removeprefix("@").replace("$(BIN)/greyd serve", "python -m greyd serve")
    )
    command = command.replace("$(BIN)/python", "python").replace("python", sys.executable)
    command = command.replace("$(BIN)/greyd", ".venv/bin/greyd").replace("var", str(tmp_path))
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["sh", "-c", command],
            cwd=CHECKOUT,
            env={
                **environment_without_settings(),
                "GREYD_INET": f"127.0.0.1:{port}",
                "GREYD_METRICS": f"127.0.0.1:{metrics}",
                "GREYD_RUN_DIR": str(tmp_path),
            },
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: "Ctrl-C stops greyd." in log.read_text(), "the next steps")
    finally:
        server.terminate()
        server.wait(20)
    assert log.read_text().partition("\n\n")[2].splitlines()[:5] == [
        f"greyd is ready on 127.0.0.1:{port}. In another terminal:",
        "  .venv/bin/greyd ask   plays Postfix: sends a request, and shows the answer",
        "  .venv/bin/greyd       shows the status, and what to do next",
        f"Its page, in a browser: http://127.0.0.1:{metrics}/",
        "Ctrl-C stops greyd.",
    ]
