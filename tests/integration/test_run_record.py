"""A running server describes itself in greyd.run, and commands use what it says."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from greyd.config.running.run_record import RUN_FILE, RunRecord
from greyd.config.running.running_servers import find_running_servers
from tests.commands import run
from tests.processes import PolicyClient, free_port, greyd, request, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.config.running.run_record import RunningServer
    from greyd.config.running.running_servers import FoundServers


def found_in(*folders: Path) -> FoundServers:
    return find_running_servers(folders, everywhere=False)


def servers_in(folder: Path, count: int = 1) -> tuple[RunningServer, ...]:
    """Wait for the records: a server listens a moment before it writes its own."""
    wait_until(lambda: len(found_in(folder).servers) == count, "the servers have records")
    return found_in(folder).servers


def test_a_server_describes_itself_while_it_runs(tmp_path: Path) -> None:
    folder, metrics = tmp_path / "run", free_port()
    folder.mkdir()
    options = [f"--run-dir={folder}", "--delay=7200", "--privacy", f"--metrics=127.0.0.1:{metrics}"]
    with greyd(tmp_path / "store", *options) as server:
        file = folder / RUN_FILE
        (found,) = servers_in(folder)
        assert stat.S_IMODE(file.stat().st_mode) == 0o640
        record = found.record
        assert record.pid == server.process.pid
        assert record.sockets == (f"inet:127.0.0.1:{server.port}",)
        assert record.metrics == f"127.0.0.1:{metrics}"
        assert record.store == f"sqlite:{tmp_path}/store/greyd.db"
        assert dict(record.options) | {"delay": "7200", "privacy": "yes"} == dict(record.options)
        assert abs(record.started_at - time.time()) < 60
    assert not file.exists()
    assert found_in(folder).servers == ()


def test_the_record_of_a_killed_server_is_ignored_and_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with greyd(tmp_path, f"--run-dir={folder}") as server:
        servers_in(folder)
        content = (folder / RUN_FILE).read_bytes()
        server.signal(signal.SIGKILL)
        server.process.wait(10)
        assert (folder / RUN_FILE).read_bytes() == content
        assert found_in(folder).servers == ()
    with greyd(tmp_path, f"--run-dir={folder}") as server:
        (found,) = servers_in(folder)
        assert found.record.pid == server.process.pid
        assert [each.name for each in folder.iterdir()] == [RUN_FILE]


def test_servers_with_one_folder_have_a_record_each(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with (
        greyd(tmp_path / "a", f"--run-dir={folder}") as first,
        greyd(tmp_path / "b", f"--run-dir={folder}") as second,
    ):
        pids = {each.record.pid for each in servers_in(folder, 2)}
        assert pids == {first.process.pid, second.process.pid}
        done = run("list", f"--run-dir={folder}")
        assert done.returncode == 2
        assert "2 servers run here; choose one with --store, --dbdir" in done.stderr
        assert str(tmp_path / "a") in done.stderr
        # A command on a file needs no server.
        log = tmp_path / "mail.log"
        log.write_text(
            "action=pass, reason=client AWL, client_address=192.0.2.7, recipient=b@c.org\n"
        )
        done = run("report", "--json", f"--run-dir={folder}", log)
        assert done.returncode == 0, done.stderr
        assert "2 servers run here; --dbdir or --store uses the settings of one" in done.stderr
        done = run("list", f"--run-dir={folder}", f"--dbdir={tmp_path / 'b'}")
        assert done.returncode in (0, 1)
        assert f"server {second.process.pid} on 127.0.0.1:{second.port}" in done.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_commands_use_the_delay_of_the_server(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    options = [f"--run-dir={folder}", "--delay=7200", f"--workers={workers}", "--test-time"]
    with greyd(tmp_path, *options) as server:
        with PolicyClient(server.port) as client:
            reply = client.ask(request(policy_test_time=str(int(time.time()) - 600)))
            assert reply is not None
            assert "DEFER" in reply
        servers_in(folder)
        # With the default delay of 300 s this mail could pass now.
        done = run("list", "--json", f"--run-dir={folder}")
        assert done.returncode == 0, done.stderr
        assert f"server {server.process.pid} on 127.0.0.1:{server.port}, store" in done.stderr
        (entry,) = json.loads(done.stdout)["entries"]
        assert entry["passes_at"] - entry["first_seen"] == 7200


def test_a_password_is_in_no_record(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    secret = "geheim"
    options = [f"--run-dir={folder}", f"--store=redis://user:{secret}@127.0.0.1:{free_port()}/3"]
    with greyd(tmp_path, *options):
        servers_in(folder)
        content = (folder / RUN_FILE).read_text()
        assert secret not in content
        assert "user" not in content
        record = RunRecord.load(content.encode())
        assert record.store.endswith("/3")
        assert record.has_login


def test_a_folder_without_write_permission_causes_a_warning(tmp_path: Path) -> None:
    with greyd(tmp_path, f"--run-dir={tmp_path / 'missing'}") as server:
        text = "no greyd.run: No such file or directory; commands will not find"
        wait_until(lambda: text in server.log(), "the warning is logged")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_record_of_another_user_is_trusted_only_in_a_folder_that_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with greyd(tmp_path, f"--run-dir={folder}"):
        servers_in(folder)
        os.chown(folder / RUN_FILE, 65534, 65534)
        (faulty,) = found_in(folder).faulty
        assert "is neither root, greyd, postgrey nor you" in faulty[1]
        os.chown(folder, 65534, 65534)
        assert len(found_in(folder).servers) == 1


def test_a_file_that_is_not_a_record_is_reported(tmp_path: Path) -> None:
    for name, content in {
        "greyd.run": b"{}",
        "greyd-2.run": b"\0",
        "greyd-3.run": b"[" * 9999,
    }.items():
        (tmp_path / name).write_bytes(content)
    locked = subprocess.Popen(
        ["flock", "greyd.run", "flock", "greyd-2.run", "flock", "greyd-3.run", "sleep", "60"],
        cwd=tmp_path,
    )
    try:
        wait_until(lambda: len(found_in(tmp_path).faulty) == 3, "the files are locked")
        assert {why for _, why in found_in(tmp_path).faulty} == {"not the record of a server"}
    finally:
        locked.terminate()
        locked.wait(10)
