"""``greyd config`` without a server: each value, its place, and no secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.config.value_text import value_texts
from greyd.config.loading import read_sources
from greyd.config.option import Arity
from greyd.config.options import BY_FIELD, BY_NAME, OPTIONS
from greyd.config.setting_origins import SourceKind, origins_of
from greyd.config.settings import Settings, preset_fields
from tests.commands import run_here

if TYPE_CHECKING:
    from pathlib import Path


def shown(*words: str, **variables: str) -> dict[str, tuple[str, str]]:
    """Return the values and the places of the options, by name."""
    done = run_here("config", *words, "--json", **variables)
    assert done.returncode == 0, done.stderr
    options: list[dict[str, Any]] = json.loads(done.stdout)["options"]
    return {each["name"]: (", ".join(each["values"]), each["place"]) for each in options}


def test_each_source_is_named_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "greyd.toml"
    file.write_text(
        '# greyd\nmax_age = 40\n"retry-window" = "6h"\ndelay = 7\n\n'
        '[recipient_domain."example.org"]\ndelay = "1m"\n'
    )
    found = shown(
        "--config", str(file), "--dbdir", str(tmp_path),
        GREYD_DELAY="60", GREYD_OPTS="--workers=2", POSTGREY_OPTS="--delay=1 --ipv4cidr=28",
        POSTGREY_TEXT="Wait", GREYD_PRESET="recommended", GREYD_UNIX="/run/a /run/b",
    )  # fmt: skip
    assert found["max-age"] == ("40", f"{file}:2")
    assert found["retry-window"] == ("6h", f"{file}:3")
    assert found["recipient-domain"][1] == f"{file}:6"
    assert found["delay"] == ("60", "GREYD_DELAY")
    assert found["workers"] == ("2", "GREYD_OPTS")
    assert found["ipv4cidr"] == ("28", "POSTGREY_OPTS")
    assert found["greylist-text"] == ("Wait", "POSTGREY_TEXT")
    assert found["unix"] == ("/run/a, /run/b", "GREYD_UNIX")
    assert found["dbdir"] == (str(tmp_path), "command line (--dbdir)")
    assert found["preset"] == ("recommended", "GREYD_PRESET")
    assert found["dnsbl"] == ("zen.spamhaus.org=1h", "preset")
    assert found["identity"] == ("spf,name", "preset")
    assert "mode" not in found


def test_a_variable_is_found_in_the_files_of_the_service(tmp_path: Path) -> None:
    first, second = tmp_path / "postgrey", tmp_path / "greyd"
    first.write_text('# options\nPOSTGREY_OPTS="--delay=60"\nGREYD_MODE=off\n')
    second.write_text("GREYD_MODE=on\n#GREYD_MODE=off\nexport GREYD_MODE=learn\n")
    environment = {"POSTGREY_OPTS": "--delay=60", "GREYD_MODE": "learn"}
    found = origins_of(read_sources((), environment), files=(first, second))
    places = {each.option.name: (each.kind, each.place) for each in found}
    assert places["delay"] == (SourceKind.POSTGREY, f"POSTGREY_OPTS in {first}:2")
    assert places["mode"] == (SourceKind.ENVIRONMENT, f"GREYD_MODE in {second}:3")
    assert places["inet"] == (SourceKind.DEFAULT, "default")


def test_all_options_are_shown_on_request_and_single_ones_by_name(tmp_path: Path) -> None:
    assert list(shown("--all")) == [option.name for option in OPTIONS]
    assert shown("delay") == {"delay": ("5m", "default")}
    assert shown("max_age", "exim") == {"max-age": ("35d", "default"), "exim": ("no", "default")}
    done = run_here("config", "dealy")
    assert (done.returncode, done.stdout) == (2, "")
    assert "dealy: no such option" in done.stderr


def test_a_value_that_stands_for_the_default_is_shown_as_the_default() -> None:
    assert shown("delay", GREYD_DELAY="0") == {"delay": ("5m", "GREYD_DELAY")}


@pytest.mark.parametrize(
    ("variable", "value", "secret"),
    [
        ("GREYD_STORE", "redis://user:s3cret@127.0.0.1/0?password=s3cret", "s3cret"),
        ("GREYD_DNSBL", "abcdefghijklmnopqrstuvwxyz.zen.dq.spamhaus.net", "abcdefghijklm"),
        ("GREYD_OPTS", "--store=redis://:s3cret@127.0.0.1/0", "s3cret"),
        ("POSTGREY_TEXT", "\x1b[31mred", "\x1b"),
    ],
)
def test_no_secret_and_no_control_character_is_shown(
    variable: str, value: str, secret: str
) -> None:
    for words in ([], ["--json"], ["--all"]):
        done = run_here("config", *words, **{variable: value})
        assert secret not in done.stdout + done.stderr


def test_values_of_a_preset_are_written_as_one_would_type_them() -> None:
    for field, value in preset_fields("recommended").items():
        option = BY_FIELD[field]
        read = [option.read(text) for text in value_texts(value)]
        assert (tuple(read) if option.kind is Arity.MANY else read[0]) == value
    assert preset_fields("") == {}


def test_a_file_is_checked_before_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "greyd.toml"
    file.write_text("delay = 60\n")
    done = run_here("config", "--check", "--config", str(file))
    assert (done.returncode, done.stdout) == (0, f"{file}: no errors\n")
    file.write_text("delay = 0\n")
    done = run_here("config", "--check", "--config", str(file))
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"{file}: no errors, 1 warning"
    for wrong in ("dealy = 60", "delay = true", "delay =", 'privacy_key = "/nowhere"'):
        file.write_text(f"{wrong}\n")
        done = run_here("config", "--check", "--config", str(file))
        assert (done.returncode, done.stdout) == (2, ""), wrong
        assert done.stderr.count("\n") == 1


def test_a_setting_that_is_no_secret_file_is_named_and_a_missing_one_is_an_error(
    tmp_path: Path,
) -> None:
    config = tmp_path / "greyd.toml"
    config.write_text(f'privacy = true\nprivacy_key = "{tmp_path}/none"\n')
    done = run_here("config", "--check", "--config", str(config))
    assert done.returncode == 2
    assert "--privacy-key" in done.stderr


def test_the_defaults_in_the_table_of_options_are_those_of_the_settings() -> None:
    defaults = Settings()
    for name in ("delay", "max-age", "retry-window", "store-timeout", "workers", "ipv6cidr"):
        option = BY_NAME[name]
        assert option.read(option.default) == getattr(defaults, option.field)
