"""The systemd units: what systemd says of them, and that greyd needs nothing which they forbid."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import QUIET, ask, ask_unix, has_said, nothing_left_of, workers_of
from tests.processes import accepts, free_port, program, redis_server, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
UNITS = CHECKOUT / "packaging" / "systemd"
SERVICE = (UNITS / "greyd.service").read_text()
GREYD = Path(sys.executable).parent / "greyd"
GREYLISTED = "action=DEFER_IF_PERMIT "


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with nothing_left_of(tmp_path):
        yield


def set_to(name: str) -> list[str]:
    """Return the values of a key of the service, one a line that sets it."""
    return re.findall(rf"^{name}=(.*)$", SERVICE, re.MULTILINE)


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    command = [program("systemd-analyze"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# What systemd says ------------------------------------------------------------------------------


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    # On the machine of a test greyd is not where systemd looks for programs.
    (tmp_path / "greyd.service").write_text(SERVICE.replace("=greyd serve", f"={GREYD} serve"))
    (tmp_path / "greyd.socket").write_text((UNITS / "greyd.socket").read_text())
    report = (UNITS / "greyd-report.service").read_text()
    (tmp_path / "greyd-report.service").write_text(
        report.replace("=greyd report", f"={GREYD} report")
    )
    (tmp_path / "greyd-report.timer").write_text((UNITS / "greyd-report.timer").read_text())
    done = analyze("verify", "--man=no", *sorted(tmp_path.glob("greyd*")))
    said = [line for line in done.stderr.splitlines() if "greyd" in line]
    assert (done.returncode, said) == (0, [])


def test_the_page_tells_how_exposed_the_service_is_and_it_is_no_more() -> None:
    page = (CHECKOUT / "docs" / "install.md").read_text()
    (figure,) = re.findall(r"exposure level for greyd.service: ([0-9.]+) OK", page)
    threshold = round(float(figure) * 10)
    done = analyze(
        "security", "--offline=true", "--no-pager", f"--threshold={threshold}",
        UNITS / "greyd.service",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"exposure level for greyd.service: {figure} OK" in done.stdout


def test_postgrey_and_greyd_are_never_started_side_by_side() -> None:
    for unit in (SERVICE, (UNITS / "greyd.socket").read_text()):
        assert "\nConflicts=postgrey.service\n" in unit
        assert "\nAfter=postgrey.service\n" in unit


# What the service forbids -----------------------------------------------------------------------


def allowed_calls() -> set[str]:
    """Return the system calls that SystemCallFilter lets through."""
    done = analyze("syscall-filter", "--no-pager")
    groups: dict[str, set[str]] = {}
    name = ""
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            name = line.strip()
        elif line.startswith("    ") and not line.strip().startswith("#"):
            groups.setdefault(name, set()).add(line.strip())

    def calls_of(group: str) -> set[str]:
        members = groups.get(group, {group}) if group.startswith("@") else {group}
        return {
            call
            for member in members
            for call in (calls_of(member) if member.startswith("@") else {member})
        }

    allowed: set[str] = set()
    for value in set_to("SystemCallFilter"):
        named = {call for word in value.lstrip("~").split() for call in calls_of(word)}
        allowed = allowed - named if value.startswith("~") else allowed | named
    return allowed


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("store", ["SQLite", "Redis"])
def test_a_life_from_start_to_end_makes_only_calls_that_the_service_allows(
    tmp_path: Path, store: str, workers: str
) -> None:
    allowed = allowed_calls()
    assert "read" in allowed
    assert not {"mount", "setuid", "chown", "ptrace", "setpriority"} & allowed
    port, metrics, trace = free_port(), free_port(), tmp_path / "trace"
    (tmp_path / "state").mkdir()
    with redis_server(tmp_path) as redis:
        settings = {
            "GREYD_INET": f"127.0.0.1:{port}",
            "GREYD_UNIX": str(tmp_path / "socket"),
            "GREYD_METRICS": f"127.0.0.1:{metrics}",
            "GREYD_WORKERS": workers,
            "GREYD_STORE_TIMEOUT": "5",
            "GREYD_DBDIR": str(tmp_path / "state"),
        }
        if store == "Redis":
            settings["GREYD_STORE"] = f"redis://127.0.0.1:{redis.port}/0"
        command = [
            program("strace"), "--follow-forks", "--quiet=all", f"--output={trace}",
            str(GREYD), "serve", f"--pidfile={tmp_path / 'pid'}",
        ]  # fmt: skip
        with running(command, tmp_path, port, lambda: accepts(port), settings) as server:
            has_said(server, "listens on", times=int(workers))
            assert (ask(port) or "").startswith(GREYLISTED)
            assert ask_unix(tmp_path / "socket").startswith(GREYLISTED.encode())
            assert accepts(metrics)
            (traced,) = workers_of(server.process.pid)
            os.kill(traced, signal.SIGHUP)
            has_said(server, "reading the whitelists again", times=int(workers))
            assert ask(port, sender="another@example.com")
            os.kill(traced, signal.SIGTERM)
            wait_until(lambda: server.process.poll() is not None, "its end")
    made = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE))
    assert {"execve", "accept4", "socket", "exit_group"} <= made, "it has been traced"
    # SQLite gives its files to the owner of the database, where it may: when root starts it.
    asked_as_root = {"fchown"} if os.geteuid() == 0 else set()
    assert sorted(made - allowed - asked_as_root) == []


def test_no_memory_is_writable_and_executable(tmp_path: Path) -> None:
    port = free_port()
    command = [str(GREYD), "serve", f"--inet=127.0.0.1:{port}", f"--dbdir={tmp_path}", *QUIET[1:]]
    with running(command, tmp_path, port, lambda: accepts(port), {"GREYD_METRICS": "0"}) as server:
        assert ask(port)
        server.signal(signal.SIGHUP)
        has_said(server, "reading the whitelists again")
        assert ask(port)
        maps = Path(f"/proc/{server.process.pid}/maps").read_text().splitlines()
    assert any("re2" in line for line in maps), "the compiled packages are there"
    assert any("uvloop" in line for line in maps)
    assert [line for line in maps if re.match(r"\S+ .wx", line)] == []


# What it is given -------------------------------------------------------------------------------


def test_what_is_set_for_postgrey_is_in_force_and_what_is_set_for_greyd_counts_more(
    tmp_path: Path,
) -> None:
    port = free_port()
    environment = {
        "POSTGREY_OPTS": f"--inet=127.0.0.1:{port} --delay=60 --user=postgrey --dbdir=/nowhere",
        "POSTGREY_TEXT": "Come back in %s seconds; $(date) & you pass",
        "GREYD_DELAY": "70",
        "GREYD_DBDIR": str(tmp_path),
        "GREYD_METRICS": "0",
        "GREYD_WHITELIST_CLIENTS": "/dev/null",
        "GREYD_WHITELIST_RECIPIENTS": "/dev/null",
        "GREYD_STORE_TIMEOUT": "5",
    }
    command = [str(GREYD), *set_to("ExecStart")[0].split()[1:]]
    with running(command, tmp_path, port, lambda: accepts(port), environment) as server:
        reply = ask(port, etrn_domain="")
        assert reply == f"{GREYLISTED}4.2.0 Come back in 70 seconds; $(date) & you pass"
        has_said(server, "POSTGREY_OPTS: --user")
        # --dbdir is given for greyd, so nobody has to be told.
        assert "POSTGREY_OPTS: --dbdir" not in server.log()


def test_systemd_hands_over_the_sockets_that_the_socket_unit_would(tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "socket"
    addresses = [f"127.0.0.1:{port}", f"[::1]:{port}", str(path)]
    command = [
        program("systemd-socket-activate"), *(f"--listen={each}" for each in addresses),
        str(GREYD), "serve", f"--dbdir={tmp_path}", *QUIET, f"--inet=127.0.0.1:{free_port()}",
    ]  # fmt: skip
    # It starts greyd as soon as somebody connects, who is then answered.
    with running(command, tmp_path, port, path.exists) as server:
        assert (ask(port) or "").startswith(GREYLISTED)
        assert (ask(port, "::1") or "").startswith(GREYLISTED)
        assert ask_unix(path).startswith(GREYLISTED.encode())
        has_said(server, f"listens on 127.0.0.1:{port}, [::1]:{port}, {path};")
        assert server.stop() == 0
        assert path.exists(), "it is systemd's"
