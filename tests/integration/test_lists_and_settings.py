"""``greyd whitelist`` and ``greyd config`` beside real servers: what is in force, what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.commands import run_here
from tests.processes import PolicyClient, free_port, greyd, request

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration


def lists(folder: Path) -> list[str]:
    """Write empty lists; returns the options that name them, and where the server's record is."""
    for which in ("clients", "recipients"):
        (folder / which).write_text("")
    return [f"--run-dir={folder}"] + [
        f"--whitelist-{which}={folder / which}{suffix}"
        for which in ("clients", "recipients")
        for suffix in ("", ".local")
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Running]]:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "greyd.toml").write_text("max_age = 40\n")
    options = [*lists(folder), f"--metrics=127.0.0.1:{free_port()}", "--workers=2"]
    with greyd(folder, *options, f"--config={folder}/greyd.toml") as running:
        yield folder, running


def run_on(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the server of a folder, and never on this machine's own lists."""
    names = {
        f"GREYD_WHITELIST_{which}": f"{folder}/no-server {folder}/no-server.local"
        for which in ("CLIENTS", "RECIPIENTS")
    }
    done = run_here(*words, f"--run-dir={folder}", **names)
    assert not (folder / "no-server.local").exists(), "the command has not found the server"
    return done


def answer(running: Running, name: str) -> str:
    with PolicyClient(running.port) as client:
        return client.ask(request(client_name=name, client_address="198.51.100.7"))


def test_an_added_entry_is_in_force_in_all_workers_and_a_removed_one_in_none(
    server: tuple[Path, Running],
) -> None:
    folder, running = server
    done = run_on(folder, "whitelist", "add", "mx.example.net", "--reason", "asked by Bob")
    assert done.returncode == 0, done.stderr
    assert f"in force on server {running.process.pid} on 127.0.0.1:{running.port}" in done.stdout
    assert {answer(running, "mx.example.net") for _ in range(8)} == {"action=DUNNO"}
    done = run_on(folder, "whitelist", "remove", "mx.example.net")
    assert done.returncode == 0, done.stderr
    assert not any(answer(running, "mx.example.net") == "action=DUNNO" for _ in range(8))


def test_a_reload_that_fails_is_reported(server: tuple[Path, Running]) -> None:
    folder, running = server
    run_on(folder, "whitelist", "add", "bob@example.org")
    (folder / "recipients").unlink()
    (folder / "recipients").mkdir()
    try:
        done = run_on(folder, "whitelist", "add", "mx.example.net", "--json")
        assert done.returncode == 2
        (told,) = json.loads(done.stdout)["servers"]
        assert (told["pid"], told["in_force"]) == (running.process.pid, False)
        assert "could not read a file" in told["detail"]
    finally:
        (folder / "recipients").rmdir()
        (folder / "recipients").write_text("")


def test_without_metrics_an_entry_is_not_called_in_force(tmp_path: Path) -> None:
    with greyd(tmp_path, *lists(tmp_path)) as running:
        done = run_on(tmp_path, "whitelist", "add", "mx.example.net")
        assert done.returncode == 0, done.stderr
        assert f"not verified on server {running.process.pid}" in done.stdout


def test_a_server_without_a_local_file_is_told_which_option_to_add(tmp_path: Path) -> None:
    (tmp_path / "clients").write_text("")
    options = [f"--run-dir={tmp_path}", f"--whitelist-clients={tmp_path}/clients"]
    with greyd(tmp_path, *options):
        done = run_on(tmp_path, "whitelist", "add", "mx.example.net")
    assert done.returncode == 2
    assert f"add --whitelist-clients={tmp_path}/clients.local beside it" in done.stderr
    assert not (tmp_path / "clients.local").exists()


def test_what_a_restart_would_change_is_shown(server: tuple[Path, Running]) -> None:
    folder, _ = server
    done = run_on(folder, "config", "max-age", "workers", "--json")
    shown = {each["name"]: each for each in json.loads(done.stdout)["options"]}
    assert (shown["max-age"]["values"], shown["max-age"]["place"]) == (
        ["40"], f"{folder}/greyd.toml:1",
    )  # fmt: skip
    assert shown["workers"]["place"] == "command line (--workers)"
    assert done.returncode == 0
    (folder / "greyd.toml").write_text("# longer\nmax_age = 50\n")
    done = run_on(folder, "config")
    assert done.returncode == 1
    difference = f"max-age: 40 in the running server, 50 after a restart ({folder}/greyd.toml:2)"
    assert difference in done.stdout.splitlines()
    (folder / "greyd.toml").write_text("max_aeg = 50\n")
    done = run_on(folder, "config")
    assert done.returncode == 0
    assert "a restart would fail, or its effect is unknown: " in done.stderr
    assert run_on(folder, "config", "--check").returncode == 2
