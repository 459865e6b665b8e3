"""Commands find the running server, say which one, and use its settings instead of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd.config.running import running_servers
from greyd.config.running.running_servers import find_running_servers
from tests.commands import run_here
from tests.processes import (
    PolicyClient,
    free_port,
    greyd,
    open_to_other_users,
    request,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.running.run_record import RunningServer
    from greyd.config.running.running_servers import FoundServers

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without servers: the usual folders and the processes are in ``tmp_path``."""
    for name in ("proc", "run", "lib"):
        (tmp_path / name).mkdir()
    tmp_path.chmod(0o755)
    monkeypatch.delenv("GREYD_RUN_DIR")
    monkeypatch.setattr(running_servers, "RUNTIME_FOLDERS", (tmp_path / "run", "greyd*"))
    monkeypatch.setattr(running_servers, "STORE_FOLDERS", (tmp_path / "lib",))
    monkeypatch.setattr(running_servers, "PROCESSES", tmp_path / "proc")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    return tmp_path


def show_process(machine: Path, pid: int) -> None:
    """Let commands in this process find a process of the real machine."""
    (machine / "proc" / str(pid)).symlink_to(f"/proc/{pid}")


def wait_for_records(folder: Path, count: int = 1) -> None:
    """Wait for the records and stores: a server's port opens before it has written them."""
    wait_until(lambda: len(ready_servers(folder)) == count, f"{count} records in {folder}")


def ready_servers(folder: Path) -> list[RunningServer]:
    """Return the servers with a record in a folder whose stores are there."""
    servers = find_running_servers([folder], everywhere=False).servers
    files = {each: each.record.store.removeprefix("sqlite:") for each in servers}
    return [each for each, file in files.items() if "//" in file or Path(file).exists()]


def everywhere() -> FoundServers:
    return find_running_servers([])


# Finding ------------------------------------------------------------------------------------------


def test_a_server_with_a_folder_of_its_own_is_found_by_its_process(machine: Path) -> None:
    with greyd(machine / "odd folder", "--delay=7200", environment={"GREYD_RUN_DIR": ""}) as server:
        wait_for_records(machine / "odd folder")
        assert everywhere().servers == ()
        show_process(machine, server.process.pid)
        (found,) = everywhere().servers
        assert found.record.pid == server.process.pid
        assert everywhere().processes == ()


@pytest.mark.parametrize("starter", [["timeout", "60"], ["timeout", "-v", "60"]])
def test_what_started_a_server_is_not_reported_as_a_server(
    machine: Path, starter: list[str]
) -> None:
    folder = machine / "odd folder"
    script = Path(sys.executable).with_name("greyd")
    serve = [script, "serve", f"--inet=127.0.0.1:{free_port()}", "--dbdir", folder]
    folder.mkdir()
    with subprocess.Popen([*starter, *serve], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_records(folder)
            show_process(machine, process.pid)
            found = find_running_servers([folder])
            assert found.processes == ((process.pid,) if len(starter) == 2 else ())
            show_process(machine, found.servers[0].record.pid)
            assert find_running_servers([folder]).processes == ()
        finally:
            process.terminate()


@is_root
def test_a_record_that_this_user_may_not_read_is_reported_with_sudo(tmp_path: Path) -> None:
    open_to_other_users(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    with greyd(tmp_path / "store", f"--run-dir={folder}"):
        wait_for_records(folder)
        # The first call imports what the unprivileged user may be unable to read.
        assert run_here("list", f"--run-dir={folder}").returncode in (0, 1)
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
        try:
            done = run_here("list", f"--run-dir={folder}", XDG_STATE_HOME=str(tmp_path))
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
        assert done.returncode == 2
        text = f"this user can't read its record {folder}/greyd.run; run the command with sudo"
        assert text in done.stderr


@contextmanager
def process_in_another_root(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with a server's command line in another root folder, as in a container."""
    code = f"import os, sys; os.chroot({str(root)!r}); print(flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        ["greyd", "-c", code, "serve"],
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHOME": sys.base_prefix},
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@is_root
def test_a_server_in_a_container_is_reported_with_the_command_to_run(machine: Path) -> None:
    with process_in_another_root(machine / "lib") as process:
        show_process(machine, process.pid)
        found = everywhere()
        assert (found.servers, found.processes) == ((), ())
        assert found.contained == (process.pid,)
        done = run_here("list")
        assert done.returncode == 2
        assert f"process {process.pid} is a server in a container; run the command there" in (
            done.stderr
        )


def test_without_a_server_the_places_and_the_options_are_reported(machine: Path) -> None:
    done = run_here("list")
    assert done.returncode == 2
    assert "no running server in " in done.stderr
    assert f"{machine / 'lib'}" in done.stderr
    assert "and the processes; using sqlite:/" in done.stderr
    assert "select another one with --dbdir or --store" in done.stderr


def test_a_database_in_another_usual_folder_is_named(machine: Path) -> None:
    with greyd(machine / "lib"):
        pass
    done = run_here("list")
    assert f"--dbdir={machine / 'lib'} selects {machine / 'lib' / 'greyd.db'}" in done.stderr
    assert "no running server" not in run_here("list", f"--dbdir={machine / 'lib'}").stderr


# Choosing -----------------------------------------------------------------------------------------


def test_several_servers_are_listed_each_with_the_options_that_select_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    here = f"--run-dir={folder}"
    with (
        greyd(tmp_path / "a", here) as first,
        greyd(tmp_path / "b", here, f"--store=sqlite:{tmp_path}/b/other.db") as second,
        greyd(tmp_path / "c", here, "--store=memory://") as third,
    ):
        wait_for_records(folder, 3)
        done = run_here("list", here)
        assert done.returncode == 2
        head, *lines = done.stderr.splitlines()
        assert head.startswith("greyd: 3 servers run here; choose one with ")
        assert len(lines) == 3
        listed = set()
        for line in lines:
            found = re.fullmatch(r"greyd:   (--\S+): (server (\d+) on \S+, store \S+)", line)
            assert found is not None
            listed.add(int(found[3]))
            chosen = run_here("mode", found[1], *([here] if "run-dir" not in found[1] else []))
            assert found[2] in chosen.stderr
        assert listed == {each.process.pid for each in (first, second, third)}


def test_options_that_select_a_store_without_a_server_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with greyd(tmp_path / "old"):
        pass
    with greyd(tmp_path / "new", f"--run-dir={folder}", "--delay=7200") as server:
        wait_for_records(folder)
        done = run_here("list", f"--run-dir={folder}", f"--dbdir={tmp_path / 'old'}")
        line = done.stderr.splitlines()[0]
        assert line.startswith(f"greyd: --dbdir={tmp_path / 'old'}: no running server uses sqlite:")
        assert f"running: server {server.process.pid} on" in line
        done = run_here("list", f"--run-dir={folder}", "--key-prefix=other:")
        assert "--key-prefix=other:: no running server uses" in done.stderr


def test_a_file_that_differs_from_the_running_server_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    file = tmp_path / "greyd.toml"
    file.write_text("delay = 60\nmode = 'learn'")
    options = [f"--run-dir={folder}", f"--config={file}"]
    with greyd(tmp_path / "store", *options):
        wait_for_records(folder)
        done = run_here("mode", *options)
        assert len(done.stderr.splitlines()) == 1
        file.write_text("delay = 90\nmode = 'learn'")
        _, line = run_here("mode", *options).stderr.splitlines()
        assert line == (
            f"greyd: --config={file} differs from the running server, whose settings apply:"
            " delay (here 90, server 60)"
        )
        assert len(run_here("mode", options[0]).stderr.splitlines()) == 1


DIFFERS = "from the running server, whose settings apply:"


def test_a_variable_that_differs_from_the_running_server_is_reported(tmp_path: Path) -> None:
    folder, file = tmp_path / "run", tmp_path / "greyd.toml"
    folder.mkdir()
    file.write_text("max-age = '40d'")
    at_60 = "delay (here 60, server 300)"
    learning = "mode (here learn, server on)"
    reported: list[tuple[dict[str, str], str]] = [
        ({"GREYD_DELAY": "60"}, f"GREYD_DELAY differs {DIFFERS} {at_60}"),
        ({"POSTGREY_DELAY": "60"}, f"POSTGREY_DELAY differs {DIFFERS} {at_60}"),
        ({"POSTGREY_DELAY": "--delay=60"}, f"POSTGREY_DELAY differs {DIFFERS} {at_60}"),
        ({"POSTGREY_OPTS": "--delay=60"}, f"POSTGREY_OPTS differs {DIFFERS} {at_60}"),
        ({"postgrey_flags": "--delay=60"}, f"postgrey_flags differs {DIFFERS} {at_60}"),
        ({"GREYD_OPTS": "--delay=60"}, f"GREYD_OPTS differs {DIFFERS} {at_60}"),
        ({"GREYD_DELAY": "60", "POSTGREY_DELAY": "9"}, f"GREYD_DELAY differs {DIFFERS} {at_60}"),
        (
            {"GREYD_DELAY": "60", "GREYD_MODE": "learn"},
            f"GREYD_DELAY and GREYD_MODE differ {DIFFERS} {at_60}, {learning}",
        ),
        (
            {"GREYD_CONFIG": str(file), "GREYD_MODE": "learn"},
            f"GREYD_CONFIG={file} and GREYD_MODE differ {DIFFERS}"
            f" max-age (here 40d, server 35d), {learning}",
        ),
        (
            {"GREYD_DNSBL": "zen.example bl.example"},
            f"GREYD_DNSBL differs {DIFFERS} dnsbl (here zen.example bl.example, server unset)",
        ),
        # These need another option, which the server has.
        (
            {"GREYD_LEARN_OUTBOUND": "yes"},
            f"GREYD_LEARN_OUTBOUND differs {DIFFERS} learn-outbound (here yes, server unset)",
        ),
        ({"GREYD_DELAY": "soon"}, "GREYD_DELAY=soon: expected "),
        # What does not decide on mail, is equal, or sets nothing.
        ({"GREYD_DELAY": "5m", "POSTGREY_DELAY": "300", "GREYD_IDENTITY": "spf,name"}, ""),
        ({"GREYD_DELAY": " ", "POSTGREY_DELAY": "", "GREYD_OPTS": ""}, ""),
        ({"GREYD_INET": "127.0.0.1:1", "GREYD_USER": "nobody", "GREYD_PORT": "tcp://10.0.0.1"}, ""),
        ({"POSTGREY_INET": "127.0.0.1:1", "POSTGREY_OPTS": "--dbdir=/var/lib/postgrey"}, ""),
    ]
    with greyd(tmp_path / "store", f"--run-dir={folder}", "--delay=300", "--identity=spf,name"):
        wait_for_records(folder)
        for variables, wanted in reported:
            done = run_here("mode", **{"GREYD_RUN_DIR": str(folder), **variables})
            _, *notes = done.stderr.splitlines()
            assert len(notes) == (wanted != ""), (variables, notes)
            assert "".join(notes).startswith(f"greyd: {wanted}" if wanted else ""), variables
        other = str(tmp_path / "other")
        for variables in ({"GREYD_DBDIR": other}, {"GREYD_OPTS": f"--dbdir={other}"}):
            done = run_here("list", **{"GREYD_RUN_DIR": str(folder), **variables})
            assert f"={other}: no running server uses sqlite:{other}/greyd.db" in done.stderr


def test_different_settings_of_servers_that_share_a_store_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    options = [f"--run-dir={folder}", f"--dbdir={tmp_path / 'store'}"]
    (tmp_path / "store").mkdir()
    with greyd(tmp_path / "a", *options, "--delay=60"), greyd(tmp_path / "b", *options):
        wait_for_records(folder, 2)
        done = run_here("list", f"--run-dir={folder}")
        line = done.stderr.splitlines()[0]
        found = re.search(
            r"\(2 servers use this store, and differ in (.*); (--run-dir=\S+) selects", line
        )
        assert found is not None
        assert "delay" in found[1]
        done = run_here("list", found[2])
        both = find_running_servers([folder], everywhere=False).servers
        others = {each.record.pid for each in both}
        others -= {int(line.split()[2])}
        assert f"server {others.pop()} on" in done.stderr


# Using --------------------------------------------------------------------------------------------


def test_commands_reach_the_sockets_and_the_metrics_port_of_the_server(tmp_path: Path) -> None:
    folder, socket, metrics = tmp_path / "run", tmp_path / "socket", free_port()
    folder.mkdir()
    options = [f"--run-dir={folder}", f"--unix={socket}", f"--metrics=127.0.0.1:{metrics}"]
    with greyd(tmp_path, *options) as server:
        wait_for_records(folder)
        done = run_here("ask", "--json", f"--run-dir={folder}")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["server"] == f"127.0.0.1:{server.port}"
        done = run_here("stats", "--json", f"--run-dir={folder}")
        assert done.returncode == 0, done.stderr
        assert f":{metrics}" in done.stdout
        assert (
            f"inet:127.0.0.1:{server.port},"
            in run_here("postfix-config", f"--run-dir={folder}").stdout
        )


@pytest.mark.parametrize("delay", [5, 300, 7200])
def test_each_command_judges_by_the_delay_of_the_server(delay: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    here = f"--run-dir={folder}"
    now = int(time.time())
    tmp_path / "mail.log"
    with greyd(tmp_path, here, f"--delay={delay}", "--test-time", "--retry-window=6h") as server:
        wait_for_records(folder)
        with PolicyClient(server.port) as client:
            reply = client.ask(request(policy_test_time=str(now - 600)))
            assert reply is not None
            assert "DEFER" in reply
        wait_until(lambda: json.loads(run_here("list", "--json", here).stdout)["entries"], "stored")
        (entry,) = json.loads(run_here("list", "--json", here).stdout)["entries"]
        assert entry["passes_at"] - entry["first_seen"] == delay
        assert abs(entry["forgotten_at"] - entry["first_seen"] - 6 * 3600) <= 1
        names = [f"--{name}={entry[name]}" for name in ("sender", "recipient")]
        client = f"--client-address={entry['client'].partition('/')[0]}"
        done = run_here("explain", *names, client, "--json", here)
        explained = json.loads(done.stdout)
        assert ("DEFER" in json.dumps(explained)) == (delay > 600)
