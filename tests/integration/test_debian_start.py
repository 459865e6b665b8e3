"""greyd where Debian's packaging has postgrey: its unit's command line, and its init script's.

What is run here is what ``/lib/systemd/system/postgrey.service`` and ``/etc/init.d/postgrey`` of
Debian 12 do with the variables of ``/etc/default/postgrey``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import (
    QUIET,
    SOON_SECONDS,
    ask,
    lives,
    nothing_left_of,
    only_as_root,
    processes_of,
    run_to_the_end,
)
from tests.processes import (
    Running,
    accepts,
    free_port,
    program,
    running,
    unavailable,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

UNITS_TEXT = "Greylisted, see https://postgrey.schweikert.ch/help/%H.html"
"""POSTGREY_TEXT as the unit sets it; ``%H`` is no variable of postgrey's, and stays."""

DEFAULT_REPLY = (
    "action=DEFER_IF_PERMIT 4.2.0 Greylisted, see"
    " http://postgrey.schweikert.ch/help/example.org.html"
)


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with nothing_left_of(tmp_path):
        yield


def installed() -> str:
    """Return the path of the command ``greyd`` beside this Python."""
    return program(str(Path(sys.executable).parent / "greyd"))


def here(folder: Path) -> str:
    """Return what keeps the test's greyd apart from one that the machine may run."""
    return shlex.join([f"--dbdir={folder}", *QUIET])


# The unit ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def by_the_unit(folder: Path, port: int, environment: dict[str, str]) -> Iterator[Running]:
    """Run greyd as ExecStart does: the options in words, the text as one, whatever is in it.

    A variable that is not set is no word to systemd where it stands alone, and empty in braces.
    """
    script = (
        f"exec {installed()} serve {here(folder)} $POSTGREY_OPTS"
        ' --greylist-text="${POSTGREY_TEXT}"'
    )
    command = ["/bin/sh", "-c", script]
    with running(command, folder, port, lambda: accepts(port), environment) as server:
        yield server


@pytest.mark.parametrize(
    ("environment", "reply"),
    [
        pytest.param(
            {"POSTGREY_TEXT": UNITS_TEXT},
            f"action=DEFER_IF_PERMIT 4.2.0 {UNITS_TEXT}",
            id="as the unit sets it",
        ),
        pytest.param(
            {"POSTGREY_TEXT": 'Come back in "%s" seconds; $(date) & you pass'},
            'action=DEFER_IF_PERMIT 4.2.0 Come back in "60" seconds; $(date) & you pass',
            id="as an administrator may",
        ),
        pytest.param({"POSTGREY_TEXT": ""}, DEFAULT_REPLY, id="empty"),
        pytest.param({}, DEFAULT_REPLY, id="not set"),
    ],
)
def test_the_units_command_line_starts_greyd(
    tmp_path: Path, environment: dict[str, str], reply: str
) -> None:
    port = free_port()
    options = f"--inet=127.0.0.1:{port} --delay=60"
    with by_the_unit(tmp_path, port, {"POSTGREY_OPTS": options, **environment}) as server:
        assert ask(port, etrn_domain="") == reply
        # Type=simple: the process that was started is the one that serves and is stopped.
        assert processes_of(tmp_path) == [server.process.pid]
        assert server.stop() == 0


def test_debians_own_options_mean_both_families_of_localhost(tmp_path: Path) -> None:
    port = free_port("::1")
    with by_the_unit(tmp_path, port, {"POSTGREY_OPTS": f"--inet={port}"}):
        assert ask(port, "127.0.0.1")
        assert ask(port, "::1")


# The init script --------------------------------------------------------------------------------


def start_stop_daemon(*words: str) -> tuple[int, str]:
    """Run start-stop-daemon; returns its status and all that it or greyd has written."""
    done = run_to_the_end([program("start-stop-daemon"), *words])
    return done.status, done.output + done.errors


def by_the_init_script(folder: Path, options: str, text: str) -> tuple[int, str]:
    """Start greyd as the script does: an empty last argument where there is no text."""
    pidfile = f"--pidfile={folder / 'pid'}"
    text_option = f"--greylist-text={text}" if text else ""
    return start_stop_daemon(
        "--start", "--quiet", "--pidfile", str(folder / "pid"), "--exec", installed(), "--",
        "serve", *shlex.split(here(folder)), pidfile, "--daemonize", *options.split(), text_option,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reply"),
    [("", DEFAULT_REPLY), (UNITS_TEXT, f"action=DEFER_IF_PERMIT 4.2.0 {UNITS_TEXT}")],
)
def test_the_init_script_starts_reloads_and_stops_greyd(
    tmp_path: Path, text: str, reply: str
) -> None:
    only_as_root()
    port, pidfile = free_port(), tmp_path / "pid"
    options = f"--inet=127.0.0.1:{port} --delay=60"
    assert by_the_init_script(tmp_path, options, text) == (0, "")
    assert ask(port) == reply, "started means that it answers"
    pid = int(pidfile.read_text())
    assert processes_of(tmp_path) == [pid]

    reload = ("--stop", "--signal", "1", "--quiet", "--pidfile", str(pidfile))
    assert start_stop_daemon(*reload) == (0, "")
    assert ask(port, sender="another@example.com") == reply

    stop = ("--stop", "--quiet", "--retry=TERM/30/KILL/5", "--pidfile", str(pidfile))
    assert start_stop_daemon(*stop) == (0, "")
    assert not lives(pid)
    assert not pidfile.exists()
    assert not accepts(port)


def test_the_init_script_stops_greyd_that_runs_as_postgreys_user(tmp_path: Path) -> None:
    only_as_root()
    port, pidfile = free_port(), tmp_path / "pid"
    # With --user the script makes sure that it is postgrey's process.
    options = f"--inet=127.0.0.1:{port} --store=redis://127.0.0.1:1/0 --user=nobody"
    assert by_the_init_script(tmp_path, options, "") == (0, "")
    pid = int(pidfile.read_text())
    status, said = start_stop_daemon(
        "--user", "nobody", "--stop", "--quiet", "--retry=TERM/30/KILL/5", "--pidfile", str(pidfile)
    )
    assert (status, said) == (0, "")
    wait_until(lambda: not lives(pid), "its end", SOON_SECONDS)
    # The folder is root's, so greyd could not take its pid file away. The next start copes.
    assert by_the_init_script(tmp_path, options, "") == (0, "")
    os.kill(int(pidfile.read_text()), 15)
    wait_until(lambda: not processes_of(tmp_path), "its end", SOON_SECONDS)


def test_a_start_that_fails_is_a_failure_of_the_init_script(tmp_path: Path) -> None:
    only_as_root()
    port = free_port()
    status, said = by_the_init_script(tmp_path, f"--inet=127.0.0.1:{port} --colour=grey", "")
    assert status == 2
    assert said.startswith("greyd: --colour: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "pid").exists()


def test_a_second_start_by_the_init_script_leaves_the_first_alone(tmp_path: Path) -> None:
    only_as_root()
    port, pidfile = free_port(), tmp_path / "pid"
    options = f"--inet=127.0.0.1:{port}"
    assert by_the_init_script(tmp_path, options, "")[0] == 0
    pid = pidfile.read_text()
    status, said = by_the_init_script(tmp_path, options, "")
    # start-stop-daemon does not know a Python script by its name, so greyd itself is asked.
    assert (status, said.count("\n")) == (2, 1)
    assert "in use" in said
    assert pidfile.read_text() == pid
    assert ask(port)
    os.kill(int(pid), 15)
    wait_until(lambda: not lives(int(pid)), "its end", SOON_SECONDS)


def test_the_unit_and_the_script_are_still_what_debian_ships() -> None:
    # If Debian changes them, the command lines above are to follow.
    unit, script = Path("/lib/systemd/system/postgrey.service"), Path("/etc/init.d/postgrey")
    if not unit.exists() or not script.exists():
        unavailable("postgrey is not installed")
    assert '$POSTGREY_OPTS \\\n --greylist-text="${POSTGREY_TEXT}"' in unit.read_text()
    assert '"$POSTGREY_TEXT_OPT"' in script.read_text()
    assert 'POSTGREY_OPTS="--pidfile=$PIDFILE --daemonize $POSTGREY_OPTS"' in script.read_text()
