"""The help fits the terminal, cuts nothing off, and groups what belongs together."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest

from greyd.cli.app import COMMAND_GROUPS, COMMANDS, SHARED_GROUP
from greyd.cli.help.short_summaries import MAX_LENGTH, SHORT_SUMMARIES
from greyd.cli.help.table import read_table
from greyd.cli.help.text import asked_for_help, print_help
from tests.commands import run_here

NAMES = ("serve", *COMMANDS)


def help_of(*words: str, columns: int) -> str:
    """Return the help that a terminal of this width shows."""
    done = run_here(*words, "-h", COLUMNS=str(columns))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_groups_are_what_one_wants_and_each_command_is_in_one() -> None:
    shown = help_of(columns=80)
    places = [shown.index(f"\n{group}:\n") for group in COMMAND_GROUPS]
    assert places == sorted(places)
    ends = [*places[1:], shown.index("\nOptions:\n")]
    for commands, begin, end in zip(COMMAND_GROUPS.values(), places, ends, strict=True):
        rows = [line.split()[0] for line in shown[begin:end].splitlines()[2:] if line[2:3].strip()]
        assert [name for name in rows if name != "serve"] == list(commands)


@pytest.mark.parametrize("columns", [45, 80, 100])
@pytest.mark.parametrize("name", ["", *NAMES])
def test_the_help_fits_the_terminal_and_ends_no_line_with_a_blank(name: str, columns: int) -> None:
    shown = help_of(*[name] * bool(name), columns=columns)
    command = read_table()["commands"].get(name, {"text": [], "arguments": [], "options": []})
    # Examples are to be copied, names to be recognised: none of them is broken.
    whole = {*command["text"], *(f"  {each['name']}" for each in command["arguments"])}
    whole |= {f"  {', '.join(each['names'])}{each['value']}" for each in command["options"]}
    for line in shown.splitlines():
        assert line == line.rstrip()
        assert len(line) <= columns or line in whole or len(line.split()) == 1, line


@pytest.mark.parametrize("columns", [45, 80])
@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command_holds_all_of_its_text(name: str, columns: int) -> None:
    command = read_table()["commands"][name]
    shown = " ".join(help_of(name, columns=columns).split())
    # What all commands have in common is in one place.
    own = [each for each in command["options"] if each["group"] != SHARED_GROUP]
    options = command["options"] if name in ("status", "serve") else own
    described = [*options, *command["arguments"]]
    texts = [command["help"], *command["text"], *(each["help"] for each in described)]
    for text in texts:
        assert " ".join(text.split()) in shown


@pytest.mark.parametrize("name", NAMES)
def test_a_word_of_help_anywhere_among_the_options_is_a_request_for_help(name: str) -> None:
    assert asked_for_help([name, "-h"])
    assert asked_for_help([name, "--help"])
    assert asked_for_help([name, "-help"])
    assert asked_for_help([name, "--store=memory://", "-h"])
    if name != "switch-from":
        assert not asked_for_help([name, "--store", "-h"])
    assert not asked_for_help([name, "--", "-h"])
    assert not asked_for_help([name])


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["-h"], True),
        (["--help"], True),
        (["-help"], True),
        (["-h", "list"], True),
        (["serve", "-q", "-h"], True),
        (["serve", "--auto-whitelist-clients", "-h"], True),
        (["nosuch", "-h"], False),
        ([], False),
    ],
)
def test_a_command_line_asks_for_help_or_not(words: list[str], wanted: bool) -> None:
    assert asked_for_help(words) is wanted


@pytest.mark.parametrize("name", ["", *NAMES])
def test_the_last_screen_of_a_help_is_useful(name: str) -> None:
    lines = help_of(*[name] * bool(name), columns=80).splitlines()[-23:]
    if name:
        assert "Examples:" in lines
        assert any(line.startswith(f"  greyd {name}") or line == "  greyd" for line in lines)
    assert name == "status" or not any("--sentinel-user" in line for line in lines)


def test_two_small_screens_hold_the_help_of_greyd() -> None:
    assert set(SHORT_SUMMARIES) == set(NAMES)
    assert max(map(len, SHORT_SUMMARIES.values())) <= MAX_LENGTH
    lines = help_of(columns=45).splitlines()
    assert len(lines) <= 38
    for name in NAMES:
        assert any(line.split()[:1] == [name] for line in lines)


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["whitelist", "add"], "Usage: greyd whitelist add [OPTIONS] [ENTRY…]"),
        (["whitelist"], "Usage: greyd whitelist [OPTIONS] [add|remove|list] [ENTRY…]"),
        (["whitelist", "nosuch"], "Usage: greyd whitelist [OPTIONS] [add|remove|list] [ENTRY…]"),
        (["mode", "off"], "Usage: greyd mode off [OPTIONS] [TIME]"),
        (["config", "delay"], "Usage: greyd config [OPTIONS] [OPTION…]"),
    ],
)
def test_the_usage_is_that_of_the_action_typed(words: list[str], usage: str) -> None:
    assert help_of(*words, columns=80).splitlines()[0] == usage


@pytest.mark.parametrize("name", ["", *NAMES])
@pytest.mark.parametrize("columns", [45, 80])
def test_only_headings_are_bold(name: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = io.StringIO()
    shown.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", shown)
    print_help([name] if name else [])
    bold = re.findall(r"\x1b\[1m(.*)\x1b\[0m", shown.getvalue())
    groups = [each["group"] for each in read_table()["commands"].get(name, {}).get("options", ())]
    titles = {*COMMAND_GROUPS, *groups, "Arguments", "Options", "Examples"}
    assert bold
    assert {each.removesuffix(":") for each in bold} <= titles


@pytest.mark.parametrize(
    "words", [["-h"], ["list", "-h"], ["--version"], ["config", "--example"], ["serve", "-h"]]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_no_error(words: list[str], unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "greyd", *words],
            stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("columns", [45, 80, 100])
def test_the_help_says_in_one_line_how_to_try_the_preset(columns: int) -> None:
    lines = run_here("-h", COLUMNS=str(columns)).stdout.splitlines()
    command = "greyd replay --with preset=recommended"
    (line,) = [each for each in lines if command in each]
    assert line.endswith(command)
    assert len(line) <= columns
    assert command in run_here("replay", "-h", COLUMNS=str(columns)).stdout
