"""``greyd config --example``: each line is what it says, and can be used as it stands."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from greyd.cli.config.example import EXAMPLES, example_file
from greyd.config.option import Arity
from greyd.config.options import BY_KEY, OPTION_GROUPS, OPTIONS
from greyd.config.settings import Settings, merge_settings
from greyd.config.sources import from_table
from tests.commands import run_here

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT, EXAMPLE = (
    dict(re.findall(rf"^#{mark}(\w+) = (.*)$", example_file(), re.MULTILINE)) for mark in ("", " ")
)
COMPANIONS = {
    "privacy_key": "privacy = true",
    "store_password_file": 'store = "redis://127.0.0.1/0"',
    "sentinel_user": 'store = "redis+sentinel://127.0.0.1/mymaster/0"',
    "sentinel_password_file": 'store = "redis+sentinel://127.0.0.1/mymaster/0"',
}
"""What an option needs beside it."""


def settings_of(text: str) -> Settings:
    return merge_settings(from_table(tomllib.loads(text), "greyd.toml"))


def test_each_option_but_the_files_own_name_is_there_once_in_its_group() -> None:
    keys = re.findall(r"^# ?(\w+) = ", example_file(), re.MULTILINE)
    assert keys == [option.key for option in OPTIONS if option.name != "config"]
    titles = re.findall(r"^# (.+?) -{10,}$", example_file(), re.MULTILINE)
    assert titles == list(OPTION_GROUPS)


@pytest.mark.parametrize("key", DEFAULT)
def test_a_line_with_a_default_changes_nothing(key: str) -> None:
    settings = settings_of(f"{key} = {DEFAULT[key]}")
    field = BY_KEY[key].field
    default = getattr(Settings(), field)
    if field == "inet":
        # The server takes this value if there is none.
        assert [f"{each.host}:{each.port}" for each in settings.inet] == ["localhost:10023"]
    else:
        assert getattr(settings, field) == default
    assert settings.warnings == ()


@pytest.mark.parametrize("key", EXAMPLE)
def test_a_line_with_an_example_can_be_used_and_is_no_default(key: str) -> None:
    settings = settings_of(f"{key} = {EXAMPLE[key]}\n{COMPANIONS.get(key, '')}")
    field = BY_KEY[key].field
    assert getattr(settings, field) != getattr(Settings(), field)
    assert settings.warnings == ()
    # The text above the line says that it is an example.
    above = example_file().partition(f"\n# {key} = ")[0].rpartition("\n\n")[2]
    assert above.endswith("Example:")


def test_all_defaults_together_are_the_defaults() -> None:
    text = "\n".join(f"{key} = {value}" for key, value in DEFAULT.items())
    settings = settings_of(text)
    assert settings == Settings(inet=settings.inet)


def test_an_option_has_a_default_or_an_example() -> None:
    without = {option.name for option in OPTIONS if option.kind is not Arity.FLAG}
    without -= {option.name for option in OPTIONS if option.default}
    assert set(EXAMPLES) == without


def test_the_text_fits_a_terminal() -> None:
    lines = example_file().splitlines()
    assert [line for line in lines if len(line) > (100 if " = " in line else 80)] == []


def test_the_command_prints_the_file(tmp_path: Path) -> None:
    done = run_here("config", "--example")
    assert (done.returncode, done.stdout) == (0, example_file())
    (tmp_path / "greyd.toml").write_text(done.stdout)
    done = run_here("config", "--check", "--config", str(tmp_path / "greyd.toml"))
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/greyd.toml: no errors\n")
