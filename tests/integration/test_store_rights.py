"""Stores that greyd may not write: mail passes, and health check and log say what to do."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

from greyd.rules.reserved_keys import PROBE_KEY
from greyd.store.circuit_breaker import write_probe
from greyd.store.sqlite.store import SqliteStore
from tests.integration.lives import ask, get, has_said, only_as_root, open_folder
from tests.processes import free_port, greyd, program, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

NOBODY = 65534
GREYLISTED = "action=DEFER_IF_PERMIT "


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's that everybody may enter, with a state folder of nobody's in it."""
    only_as_root()
    with open_folder() as made:
        state = made / "state"
        state.mkdir()
        give(state, NOBODY)
        yield made


def give(path: Path, uid: int) -> None:
    os.chown(path, uid, uid)


def make_database(path: Path) -> None:
    """Make a file as greyd leaves it."""

    async def make() -> None:
        store = SqliteStore(str(path))
        await store.transact([PROBE_KEY], write_probe)
        await store.close()

    asyncio.run(make())


def roots_folder(state: Path) -> None:
    give(state, 0)


def own_folder_closed(state: Path) -> None:
    state.chmod(0o555)


def roots_file(state: Path) -> None:
    make_database(state / "greyd.db")


def roots_readable_file(state: Path) -> None:
    make_database(state / "greyd.db")
    (state / "greyd.db").chmod(0o644)


def own_file_read_only(state: Path) -> None:
    make_database(state / "greyd.db")
    for each in state.iterdir():
        give(each, NOBODY)
    (state / "greyd.db").chmod(0o400)


def roots_log_of_commits(state: Path) -> None:
    make_database(state / "greyd.db")
    give(state / "greyd.db", NOBODY)
    for suffix in ("-wal", "-shm"):
        (state / f"greyd.db{suffix}").touch(mode=0o600)


def all_files_another_users(state: Path) -> None:
    make_database(state / "greyd.db")
    for each in state.iterdir():
        give(each, 4711)
        each.chmod(0o600)


def folder_above_closed(state: Path) -> None:
    state.parent.chmod(0o700)


WHO = f"and greyd, which runs as {NOBODY}:{NOBODY}, may not"
ROOTS_FILE = (
    rf"{{state}}/greyd.db belongs to 0:0 .*, {WHO} write it; chown 65534:65534 {{state}}/greyd.db"
)
PROBLEMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "root's folder": (
        roots_folder,
        rf"{{state}} belongs to 0:0 \(mode 0755\), {WHO} write it; chown 65534:65534 {{state}};",
    ),
    "its own folder, closed": (
        own_folder_closed,
        rf"{{state}} belongs to 65534:65534 \(mode 0555\), {WHO} write it; chmod u\+rwX {{state}};",
    ),
    "root's file": (
        roots_file,
        ROOTS_FILE,
    ),
    "root's file, readable": (
        roots_readable_file,
        ROOTS_FILE,
    ),
    "its own file, read-only": (
        own_file_read_only,
        r"{state}/greyd.db belongs to 65534:65534 .*; chmod u\+rwX {state}/greyd.db",
    ),
    "root's log of commits": (
        roots_log_of_commits,
        r"{state}/greyd.db-wal belongs to 0:0 .*"
        r"; chown 65534:65534 {state}/greyd.db-wal {state}/greyd.db-shm",
    ),
    "all files another user's": (
        all_files_another_users,
        rf"{{state}}/greyd.db belongs to 4711:4711 .*, {WHO} write it; chown 65534:65534 {{state}}"
        r"/greyd.db .*{state}/greyd.db-lock;",
    ),
    "a folder above": (
        folder_above_closed,
        rf"{{above}} belongs to 0:0 \(mode 0700\), {WHO} enter it; chmod a\+x {{above}};",
    ),
}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("make", "line"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_store_that_may_not_be_written_is_unhealthy_until_the_named_command_is_run(
    folder: Path, tmp_path: Path, make: Callable[[Path], None], line: str, workers: str
) -> None:
    state, metrics = folder / "state", free_port()
    make(state)
    options = [
        f"--dbdir={state}", "--user=nobody", f"--metrics=127.0.0.1:{metrics}",
        f"--workers={workers}",
    ]  # fmt: skip
    with greyd(tmp_path, *options) as server:
        has_said(server, "listens on", times=int(workers))
        assert ask(server.port) == "action=DUNNO"
        expected = line.format(state=state, above=folder)
        lines = [each for each in server.log().splitlines() if "store away" in each]
        assert len(lines) == int(workers), lines
        assert re.search(expected, lines[0]), lines[0]
        status, told = get(metrics, "/healthz")
        assert status == 503
        assert re.search(expected.rstrip(";"), told), told
        assert (get(metrics, "/livez"), get(metrics, "/readyz")[0]) == ((200, "ok\n"), 503)

        command = re.search(r"(ch(?:own|mod) \S+(?: /\S+?)+);", lines[0])
        assert command
        subprocess.run(command[1].split(), check=True)
        wait_until(lambda: (ask(server.port) or "").startswith(GREYLISTED), "greylisting", 20)
        wait_until(lambda: get(metrics, "/healthz") == (200, "ok\n"), "its health")


def test_a_file_system_that_is_mounted_read_only_is_named(folder: Path, tmp_path: Path) -> None:
    state, metrics, port = folder / "state", free_port(), free_port()
    # In a mount namespace of its own, so that nothing stays mounted.
    script = f'mount --bind {state} {state}; mount -o remount,bind,ro {state}; exec "$@"'
    prefix = [program("unshare"), "--mount", "sh", "-ec", script, "sh"]
    options = [f"--dbdir={state}", "--user=nobody", f"--metrics=127.0.0.1:{metrics}"]
    with greyd(tmp_path, *options, port=port, prefix=prefix) as server:
        has_said(server, f"{state} is on a file system that is mounted read-only; mount it")
        assert ask(port) == "action=DUNNO"
        assert get(metrics, "/healthz")[0] == 503


def test_a_folder_that_is_taken_away_is_named_and_noticed_when_it_is_back(
    folder: Path, tmp_path: Path
) -> None:
    state, metrics = folder / "state", free_port()
    options = [f"--dbdir={state}", "--user=nobody", f"--metrics=127.0.0.1:{metrics}"]
    with greyd(tmp_path, *options) as server:
        assert (ask(server.port) or "").startswith(GREYLISTED)
        state.rename(folder / "elsewhere")
        has_said(server, f"there is no folder {state}; create it or name another")
        wait_until(lambda: get(metrics, "/healthz")[0] == 503, "the health check says so")
        (folder / "elsewhere").rename(state)
        wait_until(lambda: get(metrics, "/healthz")[0] == 200, "its health")


def test_a_store_that_another_program_holds_for_a_while_is_healthy(tmp_path: Path) -> None:
    metrics = free_port()
    with greyd(tmp_path, f"--metrics=127.0.0.1:{metrics}") as server:
        assert (ask(server.port) or "").startswith(GREYLISTED)
        other = sqlite3.connect(tmp_path / "greyd.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        wait_until(lambda: get(metrics, "/readyz")[0] == 503, "the store away")
        assert get(metrics, "/healthz") == (200, "ok\n")
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: get(metrics, "/readyz")[0] == 200, "the store back")
