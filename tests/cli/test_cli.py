"""The command line as a person meets it: version, help, and one line where something is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from greyd import __version__
from greyd.config.errors import SettingsError
from greyd.config.loading import read_settings
from greyd.config.option import Arity
from greyd.config.options import OPTIONS
from greyd.config.vocabulary import DAY, Endpoint
from tests.commands import environment_without_settings, is_setting


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m greyd`` to its end."""
    environment = environment_without_settings()
    return subprocess.run(
        [sys.executable, "-m", "greyd", *arguments],
        env={**environment, "COLUMNS": "200", **variables},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep this machine's settings out of the tests."""
    for name in filter(is_setting, list(os.environ)):
        monkeypatch.delenv(name)
    monkeypatch.setattr("greyd.config.loading.DEFAULT_CONFIG", tmp_path / "default.toml")


# Version and help ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["serve", "--version"],
        ["serve", "-version"],
        ["serve", "--delay=60", "--version"],
    ],
)
def test_the_version_is_one_line(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"greyd {__version__}\n", "")


@pytest.mark.parametrize("word", ["--help", "-h", "-help"])
def test_help_lists_every_option_with_its_spellings(word: str) -> None:
    done = run("serve", word)
    assert done.returncode == 0
    assert done.stderr == ""
    shown = done.stdout.split("Listening:", 1)[1]
    words = set(re.split(r"[\s,=\[]+", shown))
    for option in OPTIONS:
        for name in (option.name, *option.spellings):
            assert (f"-{name}" if len(name) == 1 else f"--{name}") in words, name


def test_help_tells_the_values_and_the_defaults() -> None:
    text = " ".join(run("serve", "--help").stdout.split())
    for option in OPTIONS:
        assert option.help in text
        if option.kind is not Arity.FLAG:
            others = [each for each in option.spellings if len(each) > 1]
            last = others[-1] if others else option.name
            value = (
                f"[={option.metavar}]" if option.kind is Arity.OPTIONAL else f"={option.metavar}"
            )
            assert f"--{last}{value}" in text
            assert option.shown_default in text


def test_help_names_the_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "serve" in done.stdout


# What is wrong ------------------------------------------------------------------------------------


def assert_one_line(done: subprocess.CompletedProcess[str]) -> str:
    """Check that a start ended as it should; returns what it said."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.endswith("\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("greyd: ")
    assert line.isprintable()
    assert "geheim" not in line
    return line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nosuch"], "--nosuch"),
        (["--del=60"], "--del"),
        (["--delay=abc"], "--delay=abc"),
        (["--delay"], "--delay=DURATION"),
        (["--ipv4cidr=33"], "--ipv4cidr=33"),
        (["--quiet=1"], "--quiet"),
        (["--nosuch\n\x1b[31m=1"], "--nosuch"),
        (["--store=nosuch://:geheim@x"], "--store"),
        (["--store=redis://:geheim/x@db/0"], "--store"),
        (["--store=sqlite:/nonexistent/greyd.db"], "/nonexistent"),
        (["--store=greyd.db"], "sqlite:greyd.db"),
        (["--store=redis://:geheim@a", "--store=redis://:geheim@b"], "two different stores"),
        (["--config=/nonexistent.toml"], "/nonexistent.toml: No such file"),
        (["--config=/"], "/: a directory, not a regular file"),
        (["--inet=nosuchhost.invalid:10023"], "nosuchhost.invalid"),
        (["--user=nosuchuser"], "--user=nosuchuser"),
        (["--group=nosuchgroup"], "--group=nosuchgroup"),
        (["--unix=/nonexistent/socket"], "/nonexistent/socket"),
        (["--privacy", "--privacy-key=/nonexistent/key"], "/nonexistent/key"),
    ],
)
def test_a_start_that_can_t_be_ends_with_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    more = [f"--dbdir={tmp_path}", "--metrics=0"]
    if not any(word.startswith(("--inet", "--unix")) for word in arguments):
        more.append(f"--unix={tmp_path / 'socket'}")
    assert said in assert_one_line(run("serve", *more, *arguments))
    assert not (tmp_path / "socket").exists()


def test_a_bad_variable_is_one_line_too() -> None:
    assert "GREYD_DELAY=soon" in assert_one_line(run("serve", GREYD_DELAY="soon"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"delay = abc", "line 1"),
        (b"delay 60\n", "line 1"),
        (b"\xff\xfe", "utf-8"),
        (b"nosuch = 1", "nosuch"),
        (b"[serve]\ndelay = 1", "serve"),
        (b"delay = {}", "delay"),
        (b'"a\\u001b\\n" = 1', "unknown setting"),
        (b'pidfile = "/a\\u0000"', "pidfile"),
        (b'store = "redis://:geheim/x@db"', "--store"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "greyd.toml"
    file.write_bytes(content)
    line = assert_one_line(run("serve", f"--config={file}", f"--dbdir={tmp_path}"))
    assert said in line
    assert str(file) in line or said == "--store"


@pytest.mark.parametrize("arguments", [["nosuch"], ["--nosuch"], ["--nosuch=1", "list"]])
def test_another_command_is_an_error_without_a_traceback(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert "--help" in done.stderr + done.stdout


# All sources together -----------------------------------------------------------------------------


def test_settings_come_from_the_line_the_environment_the_file_and_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "greyd.toml"
    file.write_text("delay = 3\nmax-age = 3\nipv4cidr = 30\ninet = [1, 2]\n")
    monkeypatch.setenv("GREYD_DELAY", "2")
    monkeypatch.setenv("GREYD_MAX_AGE", "2")
    monkeypatch.setenv("GREYD_CONFIG", str(file))
    settings = read_settings(["--delay=1"])
    assert settings.delay_seconds == 1
    assert settings.max_age_seconds == 2 * DAY
    assert settings.ipv4cidr == 30
    assert settings.inet == (Endpoint("localhost", 1), Endpoint("localhost", 2))
    assert settings.ipv6cidr == 64


def test_greyd_s_own_settings_count_more_than_those_for_postgrey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "default.toml").write_text("max_age = 4")
    for_postgrey = "--delay=5 --max-age=5 --ipv4cidr=5 --ipv6cidr=5 --retry-window=5 --inet=5"
    monkeypatch.setenv("POSTGREY_OPTS", for_postgrey)
    monkeypatch.setenv("POSTGREY_TEXT", "Wait %s")
    monkeypatch.setenv("GREYD_IPV4CIDR", "3")
    monkeypatch.setenv("GREYD_IPV6CIDR", "3")
    monkeypatch.setenv("GREYD_OPTS", "--ipv6cidr=2 --delay=2")
    settings = read_settings(["--delay=1"])
    assert settings.delay_seconds == 1
    assert settings.ipv6cidr == 2
    assert settings.ipv4cidr == 3
    assert settings.max_age_seconds == 4 * DAY
    assert settings.retry_window_seconds == 5 * DAY
    assert settings.inet == (Endpoint("localhost", 5),)
    assert settings.greylist_text == "Wait %s"
    assert settings.warnings == ()


def test_options_of_postgreys_process_are_left_out_with_a_warning_unless_they_are_given_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POSTGREY_OPTS", "--user=postgrey --dbdir=/var/lib/postgrey -d")
    monkeypatch.setenv("GREYD_OPTS", "--user=greyd")
    settings = read_settings(["--dbdir=/srv"])
    assert (settings.user, settings.dbdir, settings.daemonize) == ("greyd", Path("/srv"), False)
    (warning,) = settings.warnings
    assert warning.startswith("POSTGREY_OPTS: -d: ")


def test_greyd_opts_may_name_the_file_and_the_line_counts_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.toml").write_text("delay = 1")
    (tmp_path / "2.toml").write_text("delay = 2")
    monkeypatch.setenv("GREYD_OPTS", f"--config={tmp_path / '1.toml'} word")
    settings = read_settings([])
    assert settings.delay_seconds == 1
    assert settings.warnings == ("ignored, as postgrey does: word",)
    assert read_settings([f"--config={tmp_path / '2.toml'}"]).delay_seconds == 2


def test_the_file_on_the_line_counts_before_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"{number}.toml").write_text(f"delay = {number}")
    monkeypatch.setenv("GREYD_CONFIG", str(tmp_path / "1.toml"))
    assert read_settings([]).delay_seconds == 1
    line = [f"--config={tmp_path / '2.toml'}", "--config", str(tmp_path / "3.toml")]
    assert read_settings(line).delay_seconds == 3


def test_the_default_file_counts_where_it_exists(tmp_path: Path) -> None:
    assert read_settings([]).delay_seconds == 300
    (tmp_path / "default.toml").write_text("delay = 7")
    assert read_settings([]).delay_seconds == 7
    (tmp_path / "default.toml").write_text("nosuch = 7")
    with pytest.raises(SettingsError, match=r"default\.toml: nosuch"):
        read_settings([])


def test_what_is_ignored_is_told_without_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREYD_NOSUCH", "geheim")
    settings = read_settings(["", "--exim", "word", "--store=redis://:geheim@db/0", "\x1b[31m"])
    assert settings.exim
    assert settings.store == ""
    assert len(settings.warnings) == 2
    assert "GREYD_NOSUCH" in settings.warnings[0]
    assert "word" in settings.warnings[1]
    assert all(warning.isprintable() and "geheim" not in warning for warning in settings.warnings)


def test_debian_s_unit_and_init_script_start_with_their_arguments() -> None:
    # The unit expands POSTGREY_TEXT to nothing, the init script passes an empty word.
    unit = read_settings(["--inet=127.0.0.1:10023", "--delay=60", "--greylist-text="])
    assert (unit.inet, unit.delay_seconds) == ((Endpoint("127.0.0.1", 10023),), 60)
    script = read_settings(
        ["--pidfile=/run/postgrey.pid", "--daemonize", "--inet=10023", "", "--delay=60"]
    )
    assert script.daemonize
    assert script.pidfile == Path("/run/postgrey.pid")
    assert script.delay_seconds == 60
