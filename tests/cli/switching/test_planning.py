"""What a switch reads of postgrey's set-up, and what greyd's settings become."""

from __future__ import annotations

import os
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from greyd.cli.errors import CommandError
from greyd.cli.switching import found_postgrey
from greyd.cli.switching.found_postgrey import default_folder, started_by_unit
from greyd.cli.switching.postgrey_options import (
    expand_variables,
    read_postgrey_options,
    toml_line,
)
from greyd.cli.switching.services.interface import ServiceState
from greyd.cli.switching.services.systemd import SystemdServices
from greyd.cli.switching.settings_plan import plan_settings
from greyd.config.errors import SettingsError
from greyd.config.loading import read_settings

if TYPE_CHECKING:
    from pathlib import Path

# What systemd passes for Debian's unit.
UNITS_WORDS = ["$POSTGREY_OPTS", "--greylist-text=${POSTGREY_TEXT}"]


@pytest.mark.parametrize(
    ("words", "environment", "expanded"),
    [
        (UNITS_WORDS, {"POSTGREY_OPTS": "--inet=10023 --delay=60", "POSTGREY_TEXT": "a b"},
         ["--inet=10023", "--delay=60", "--greylist-text=a b"]),
        (UNITS_WORDS, {}, ["--greylist-text="]),
        (["$A"], {"A": "'--greylist-text=a b' --exim"}, ["--greylist-text=a b", "--exim"]),
        (["$A"], {"A": "--greylist-text=it's late"}, ["--greylist-text=it's", "late"]),
        (["--delay=$A"], {"A": "60"}, ["--delay=$A"]),
        (["${A}"], {"A": "--exim --privacy"}, ["--exim --privacy"]),
    ],
)  # fmt: skip
def test_variables_are_expanded_as_systemd_does(
    words: list[str], environment: dict[str, str], expanded: list[str]
) -> None:
    assert expand_variables(words, environment) == expanded


@pytest.mark.parametrize(
    ("words", "text", "unknown"),
    [
        (["--inet=10023", "--delay=60"], "--inet=10023 --delay=60", []),
        (["-i", "10023", "-d"], "--inet=10023 --daemonize", []),
        (["--delay", "60", "--exim"], "--delay=60 --exim", []),
        (["--delay=60", "--delay=90"], "--delay=90", []),
        (["--unix=/a", "--unix=/b"], "--unix=/a --unix=/b", []),
        (["--auto-whitelist-clients"], "--auto-whitelist-clients=5", []),
        (["--greylist-text=come back"], "'--greylist-text=come back'", []),
        ([""], "", []),
        (["--colour=grey", "--delay=60"], "--delay=60", ["--colour: unknown option"]),
        (["--colour", "grey", "--exim"], "--exim", ["--colour: unknown option"]),
        (["--delay=abc", "--exim"], "--exim", ["--delay=abc: expected"]),
        (["stray", "--exim"], "--exim", ["stray: not an option"]),
    ],
)
def test_options_that_greyd_does_not_take_are_reported_and_stop_no_other(
    words: list[str], text: str, unknown: list[str]
) -> None:
    options = read_postgrey_options(words)
    assert options.text() == text
    assert len(options.unknown) == len(unknown)
    assert all(each.startswith(start) for each, start in zip(options.unknown, unknown, strict=True))


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("delay", ["60"]),
        ("delay", ["5m"]),
        ("inet", ["10023", "[::1]:10024"]),
        ("exim", ["yes"]),
        ("greylist-text", ['say "hello" \\ é']),
        ("greylist-text", ["007"]),
        ("retry-window", ["6h"]),
        ("socketmode", ["0660"]),
    ],
)
def test_a_line_of_toml_has_the_options_value(name: str, texts: list[str], tmp_path: Path) -> None:
    file = tmp_path / "greyd.toml"
    file.write_text(line := toml_line(name, texts))
    tomllib.loads(line)
    given = [f"--{name}={text}" if text != "yes" else f"--{name}" for text in texts]
    from_file = replace(read_settings([f"--config={file}"], {}), config=None)
    # The texts, which repr leaves out, may differ: "yes" and "true".
    assert repr(from_file) == repr(read_settings(given, {}))


# greyd's settings ---------------------------------------------------------------------------------


def environment(tmp_path: Path, toml: str | None = None, **more: str) -> dict[str, str]:
    file = tmp_path / "greyd.toml"
    if toml is not None:
        file.write_text(toml)
    return {"GREYD_CONFIG": str(file), **more} if toml is not None else more


OPTIONS = read_postgrey_options(
    ["--inet=10023", "--delay=60", "--user=postgrey", "--pidfile=/run/p", "--dbdir=/x"]
)


def test_postgreys_options_are_added_above_what_is_there(tmp_path: Path) -> None:
    there = "# mine\nmax_age = 40\n\n[shadow]\ndelay = 90\n"
    plan = plan_settings(OPTIONS, environment(tmp_path, there), "From postgrey")
    assert plan.new.decode() == (f'# From postgrey\ninet = ["10023"]\ndelay = 60\n\n{there}'), (
        "but nothing about postgrey's own process"
    )
    assert plan.old == there.encode()
    assert (plan.settings.delay_seconds, plan.settings.max_age_seconds) == (60, 40 * 86400)
    assert plan.kept == ()


@pytest.mark.parametrize(
    ("toml", "variables", "lines", "kept"),
    [
        ("delay = 90\n", {}, ['inet = ["10023"]'], ["--delay: greyd's own setting stays, 90;"]),
        ("delay = 60\n", {}, ['inet = ["10023"]'], []),
        ("", {"GREYD_DELAY": "1m"}, ['inet = ["10023"]'], []),
        ("", {"GREYD_OPTS": "--delay=90"}, ['inet = ["10023"]'], ["--delay: greyd's own"]),
        ('inet = ["10023", "10024"]\ndelay = 60\n', {}, [], []),
        ("inet = 10099\n", {}, ["delay = 60"], ["--inet: greyd's own setting stays, 10099;"]),
    ],
)
def test_greyds_own_settings_take_precedence(
    tmp_path: Path, toml: str, variables: dict[str, str], lines: list[str], kept: list[str]
) -> None:
    plan = plan_settings(OPTIONS, environment(tmp_path, toml, **variables), "From postgrey")
    assert list(plan.lines) == lines
    assert len(plan.kept) == len(kept)
    assert all(each.startswith(start) for each, start in zip(plan.kept, kept, strict=True))
    if not lines:
        assert plan.new == toml.encode()


def test_an_option_in_postgreys_file_that_stops_greyd_is_a_problem(tmp_path: Path) -> None:
    given = environment(tmp_path, "", POSTGREY_OPTS="--colour=grey --delay=60")
    plan = plan_settings(OPTIONS, given, "From postgrey")
    (problem,) = plan.problems
    assert "POSTGREY_OPTS: --colour: unknown option" in problem
    assert "remove it there" in problem


def test_a_broken_file_of_greyd_stops_the_plan(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"greyd\.toml"):
        plan_settings(OPTIONS, environment(tmp_path, "delay = \n"), "From postgrey")


# Finding postgrey ---------------------------------------------------------------------------------


class Units(SystemdServices):
    """A systemd with one unit."""

    def __init__(self, start: list[str], **properties: str) -> None:
        self._start, self._properties = start, properties

    def start_command(self, service: str) -> list[str]:
        assert service == "postgrey"
        return self._start

    def properties(self, service: str) -> dict[str, str]:
        assert service == "postgrey"
        return self._properties


RUNNING = ServiceState(exists=True, is_running=True, is_enabled=True)
DEBIANS = ["/usr/sbin/postgrey", *UNITS_WORDS]
EPELS = [
    "/usr/sbin/postgrey", "-d", "$POSTGREY_TYPE", "$POSTGREY_PID", "$POSTGREY_GROUP",
    "$POSTGREY_USER", "$POSTGREY_DELAY", "$POSTGREY_OPTS",
]  # fmt: skip
EPELS_VARIABLES = """\
POSTGREY_TYPE="--unix=/var/spool/postfix/postgrey/socket"
POSTGREY_PID="--pidfile=/var/run/postgrey.pid"
POSTGREY_GROUP="--group=postgrey"
POSTGREY_USER="--user=postgrey"
POSTGREY_DELAY="--delay=60"
POSTGREY_OPTS="--privacy"
"""


@pytest.mark.parametrize(
    ("start", "variables", "options"),
    [
        (DEBIANS, 'POSTGREY_OPTS="--inet=10023 --delay=60"',
         "--inet=10023 --delay=60 '--greylist-text=from the unit'"),
        (DEBIANS, "POSTGREY_OPTS='--unix=/run/s'\nPOSTGREY_TEXT='come back'\n# --delay=9",
         "--unix=/run/s '--greylist-text=come back'"),
        (EPELS, "POSTGREY_TYPE=--unix=/run/s\nPOSTGREY_DELAY=--delay=60\nPOSTGREY_OPTS=",
         "--daemonize --unix=/run/s --delay=60"),
        (EPELS, EPELS_VARIABLES,
         "--daemonize --unix=/var/spool/postfix/postgrey/socket --pidfile=/var/run/postgrey.pid"
         " --group=postgrey --user=postgrey --delay=60 --privacy"),
        (["/usr/sbin/postgrey", "--inet=10024", "--privacy"], "", "--inet=10024 --privacy"),
        # Units of one's own, with variables of any name
        (["/usr/sbin/postgrey", "$OPTIONS"], "OPTIONS='--unix=/run/s --delay=60'",
         "--unix=/run/s --delay=60"),
        (["/usr/sbin/postgrey", "--delay=${Wait_1}", "$EXTRA"], "Wait_1=60\nEXTRA=\nUNUSED='x",
         "--delay=60"),
        # EPEL's unit does not read the variable of RHEL 6's init script.
        (EPELS, "OPTIONS='--delay=90'\nPOSTGREY_DELAY=--delay=60", "--daemonize --delay=60"),
    ],
)  # fmt: skip
def test_a_unit_has_the_options_of_its_files(
    tmp_path: Path, start: list[str], variables: str, options: str
) -> None:
    file = tmp_path / "postgrey"
    file.write_text(f"{variables}\n")
    found = started_by_unit(
        Units(
            start, MainPID="7", Environment='"POSTGREY_TEXT=from the unit"',
            EnvironmentFiles=f"{file} (ignore_errors=yes)\n/nowhere (ignore_errors=yes)",
        ),
        RUNNING,
        {7: ""},
    )  # fmt: skip
    assert found.options.text() == options
    assert found.options_from == ("postgrey.service", str(file))
    assert (found.process, found.unread) == (7, ())


@pytest.mark.parametrize(
    ("databases", "opened", "expected"),
    [
        ([], None, "debian"),
        (["debian"], None, "debian"),
        (["epel"], None, "epel"),
        # A folder that another package has left.
        (["debian", "epel"], None, "epel"),
        (["epel", "debian"], None, "debian"),
        (["epel", "debian"], "epel", "epel"),
        (["debian"], "elsewhere", "elsewhere"),
    ],
)
def test_without_dbdir_the_database_is_found_where_postgrey_has_it(
    databases: list[str], opened: str | None, expected: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(found_postgrey, "DEFAULT_FOLDERS", (tmp_path / "debian", tmp_path / "epel"))
    monkeypatch.setattr(found_postgrey, "PROCESSES", tmp_path / "proc")
    for changed_at, name in enumerate(databases):
        (tmp_path / name).mkdir()
        (tmp_path / name / "postgrey.db").touch()
        os.utime(tmp_path / name / "postgrey.db", (changed_at, changed_at))
    descriptors = tmp_path / "proc/7/fd"
    descriptors.mkdir(parents=True)
    (descriptors / "3").symlink_to("socket:[4711]")
    if opened:
        (descriptors / "4").symlink_to(tmp_path / opened / "postgrey.db")
    assert default_folder(7) == tmp_path / expected
    found = started_by_unit(Units(DEBIANS, MainPID="7"), RUNNING, {7: ""})
    assert found.folder == tmp_path / expected
    named = started_by_unit(Units([*DEBIANS, "--dbdir=/x"], MainPID="7"), RUNNING, {7: ""})
    assert str(named.folder) == "/x"


@pytest.mark.parametrize(
    ("title", "differs"),
    [
        ("--inet=10023 --delay=60", False),
        ("--pidfile=/var/run/postgrey.pid --daemonize --inet=10023 --delay=60 ", False),
        ("--inet=10023 --delay=300", True),
        ("", False),
    ],
)
def test_a_process_with_other_options_than_its_service_is_reported(
    title: str, *, differs: bool
) -> None:
    units = Units(["/usr/sbin/postgrey", "--inet=10023", "--delay=60"], MainPID="7")
    found = started_by_unit(units, RUNNING, {7: title, 9: "--inet=10099"})
    assert bool(found.running_options) == differs
    assert found.other_processes == (9,)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("/opt/greyd/bin/greyd", "postgrey.service starts greyd already"),
        ("/usr/bin/python3", "postgrey.service starts /usr/bin/python3, not postgrey"),
    ],
)
def test_a_service_that_starts_another_program_is_left_alone(program: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        started_by_unit(Units([program, "serve"]), RUNNING, {})


def test_a_file_with_options_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    unit = Units(DEBIANS, EnvironmentFiles=f"{tmp_path} (ignore_errors=yes)")
    (fault,) = started_by_unit(unit, RUNNING, {}).unread
    assert fault == f"{tmp_path}: a directory, not a regular file"
