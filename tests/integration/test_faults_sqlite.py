"""What a disk and its files do to greyd on SQLite, and what mail sees of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.load import (
    GREYLISTED,
    HEADER,
    MAX_SECONDS,
    PATIENT,
    Load,
    Mails,
    acknowledged,
    ask_all,
    trial,
)
from tests.processes import PolicyClient, free_port, greyd, request, slowness, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.load import SimulatedServer
    from tests.processes import Running

pytestmark = pytest.mark.integration

NOW = 1_700_000_000
DELAY = 300
TEST_TIME = "--test-time"

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")


def kill(server: Running) -> None:
    server.process.kill()
    server.process.wait(10)


def assert_all_there(port: int, load: Load, run: str) -> None:
    """See that each mail told to come again is let in, with the header, when it does."""
    mails = acknowledged(load)
    later = Mails(run, NOW + DELAY + 1)
    actions = ask_all(port, [later(mail) for mail in mails])
    print(f"FIGURES {run}: {len(actions)} acknowledged asked for again")  # noqa: T201
    assert len(actions) > 100
    assert {action.split()[0] for action in actions} == {HEADER}


# greyd is killed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_acknowledged_is_lost_when_greyd_is_killed(tmp_path: Path, workers: int) -> None:
    port = free_port()
    options = (TEST_TIME, PATIENT, f"--workers={workers}")
    with greyd(tmp_path, *options, port=port) as server:
        load = Load(port, mails=Mails("killed", NOW))
        with load:
            wait_until(lambda: len(load.answers) > 1000, "answers", 60)
            children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
            processes = [int(child) for child in children.read_text().split()]
            kill(server)
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, 9)
            wait_until(lambda: load.dropped == load.connections, "all connections dropped")
    assert {answer.action for answer in load.answers} == {GREYLISTED}
    started = time.monotonic()
    with greyd(tmp_path, *options, port=port) as server:
        with PolicyClient(port) as client:
            client.ask(request())
        seconds = time.monotonic() - started
        print(f"FIGURES SIGKILL, SQLite: serving after {seconds:.2f} s")  # noqa: T201
        assert seconds < MAX_SECONDS * slowness()  # the contract is 1 s
        assert_all_there(port, load, "killed")


# No room ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "greyd-tests", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a file system of its own; test_a_file_size_limit… is near")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left; returns the file that takes it."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        for data in (2**20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    assert file.write(b"x" * data)
    return ballast


@root_only
def test_a_full_disk_lets_mail_pass_and_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    # The log is elsewhere: here the database alone finds no room.
    options = (TEST_TIME, f"--dbdir={small_disk}")
    mails = Mails("full", NOW)
    with trial("disk full", tmp_path, *options, mails=mails) as mail:
        mail.normal(0.5)
        ballast = fill(small_disk)
        mail.away(health=503)
        assert "full" in " ".join(mail.said())
        ballast.unlink()
        mail.returns()
        mail.load.stop()
        shutil.copytree(small_disk, tmp_path / "copy")
        with greyd(tmp_path, TEST_TIME, PATIENT, f"--dbdir={tmp_path / 'copy'}") as server:
            assert_all_there(server.port, mail.load, "full")
    assert not list(small_disk.glob("*damaged*"))


@root_only
def test_a_disk_full_at_the_start_lets_mail_pass_until_there_is_room(
    tmp_path: Path, small_disk: Path
) -> None:
    ballast = fill(small_disk)
    with trial("disk full at start", tmp_path, f"--dbdir={small_disk}") as mail:
        mail.away(0.5, health=503)
        ballast.unlink()
        mail.returns()


def test_the_log_of_commits_does_not_grow_without_end(tmp_path: Path) -> None:
    # Without the quiet moment in which all of it is written back, SQLite goes on at its end.
    wal = tmp_path / "greyd.db-wal"
    with trial("log of commits", tmp_path, "--quiet") as mail:
        sizes: list[int] = []

        def is_begun_anew() -> bool:
            mail.normal(0.6)
            sizes.append(wal.stat().st_size if wal.exists() else 0)
            return any(later <= earlier for earlier, later in itertools.pairwise(sizes))

        # How large it gets before it is begun anew is the disk's business.
        wait_until(is_begun_anew, "the log of commits is begun anew", 60)
        mail.note(f"WAL after each 0.6 s: {[size // 1000 for size in sizes]} kB")


def limit_files(server: Running, data: int) -> None:
    """Let a running program write no file beyond a size: the soft limit, so it can be lifted."""
    hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (data, hard))


def test_a_file_size_limit_lets_mail_pass_and_loses_nothing(tmp_path: Path) -> None:
    # Quiet, because the log is a file too.
    options = (TEST_TIME, "--quiet")
    mails = Mails("limit", NOW)
    with trial("file size limit", tmp_path, *options, mails=mails) as mail:
        mail.normal(0.5)
        limit_files(mail.server, 64 * 1024)
        mail.away(health=503)
        limit_files(mail.server, resource.RLIM_INFINITY)
        mail.returns()
    assert not list(tmp_path.glob("*damaged*"))
    with greyd(tmp_path, TEST_TIME, PATIENT) as server:
        assert_all_there(server.port, mail.load, "limit")


# Rights and locks ---------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may enter, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="greyd-tests-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_file_that_greyd_may_not_write_lets_mail_pass_until_it_may(
    open_folder: Path, healthy: bytes
) -> None:
    options = ["--user=nobody", f"--run-dir={open_folder / 'db'}"] if os.geteuid() == 0 else []
    database = open_folder / "db" / "greyd.db"
    database.parent.mkdir(mode=0o777)
    database.parent.chmod(0o777)
    database.write_bytes(healthy)
    database.chmod(0o444)
    with trial("read-only file", open_folder, f"--store=sqlite:{database}", *options) as mail:
        mail.away(0.5, health=503)
        assert "may not write it; chown " in " ".join(mail.said())
        database.chmod(0o666)
        mail.returns()
    assert not list(database.parent.glob("*damaged*"))


def test_a_file_that_somebody_else_holds_locked_lets_mail_pass_until_it_is_free(
    tmp_path: Path,
) -> None:
    with trial("database locked", tmp_path) as mail:
        mail.normal()
        other = sqlite3.connect(tmp_path / "greyd.db", timeout=5, isolation_level=None)
        with contextlib.closing(other):
            other.execute("BEGIN IMMEDIATE")
            mail.begins()
            mail.away()
            other.execute("ROLLBACK")
            mail.returns()
    assert not list(tmp_path.glob("*damaged*"))


def test_a_file_taken_away_is_begun_anew(tmp_path: Path) -> None:
    with trial("file taken away", tmp_path) as mail:
        mail.normal()
        # The file itself last: as soon as it is gone greyd begins anew, and takes care of the rest.
        for suffix in ("-wal", "-shm", ""):
            (tmp_path / f"greyd.db{suffix}").rename(tmp_path / f"taken.db{suffix}")
        wait_until((tmp_path / "greyd.db").exists, "a new file")
        mail.returns()


# Damage -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database with some thousand triplets."""
    folder = tmp_path_factory.mktemp("healthy")
    with greyd(folder) as server:
        with Load(server.port, mails=Mails("earlier")) as load:
            # Three of four are new, and each takes some 120 bytes.
            wait_until(lambda: len(load.answers) > 5000, "answers", 60)
        assert server.stop() == 0
    data = (folder / "greyd.db").read_bytes()
    assert len(data) > 200_000
    assert not (folder / "greyd.db-wal").exists()
    return data


def garbage(data: int) -> bytes:
    return random.Random(3).randbytes(data)


def middle_overwritten(data: bytes) -> bytes:
    third = len(data) // 3
    return data[:third] + garbage(third) + data[2 * third :]


def cut_in_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


DAMAGES = [middle_overwritten, cut_in_half]


def set_aside(folder: Path) -> list[Path]:
    """Return the databases that have been set aside, without what belongs to them."""
    found = folder.glob("greyd.db.damaged-*")
    return [file for file in found if not file.name.endswith(("-wal", "-shm"))]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_greylisting_goes_on(
    tmp_path: Path, healthy: bytes, damage: Callable[[bytes], bytes]
) -> None:
    damaged = damage(healthy)
    (tmp_path / "greyd.db").write_bytes(damaged)
    with trial(f"damaged: {damage.__name__}", tmp_path) as mail:
        mail.returns()
        (aside,) = set_aside(tmp_path)
        said = [line for line in mail.said() if aside.name in line]
    assert len(said) == 1, "where the old file is"
    assert aside.stat().st_size >= len(damaged)
    with greyd(tmp_path):
        assert set_aside(tmp_path) == [aside], "the new file is whole"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_damaged_while_greyd_runs_is_set_aside_once(tmp_path: Path, workers: int) -> None:
    database = tmp_path / "greyd.db"
    with trial(
        f"damaged while running, {workers} workers", tmp_path, f"--workers={workers}"
    ) as mail:
        mail.normal(1)
        # Three of four are new, and each takes some 120 bytes.
        wait_until(lambda: len(mail.load.answers) > 3000, "a file worth damaging", 60)
        mail.begins()
        damage_in_use(database)
        wait_until(lambda: bool(set_aside(tmp_path)), "set aside", 10)
        mail.returns()
        time.sleep(1.5)
        # Each worker is in the new file by now, though one was slower to see it.
        assert len(set_aside(tmp_path)) == 1
        wait_until(lambda: ask_beside(mail) == {GREYLISTED}, "greylisting")
        assert health_of(database) == ["ok"]
        assert rows_of(database, "@after.") == 100


def ask_beside(mail: SimulatedServer) -> set[str]:
    """Ask about a hundred mails, over connections to all workers; returns the actions."""
    mails = [Mails("after")(number) for number in range(100)]
    mail.asked_beside(len(mails))
    return {action.split()[0] for action in ask_all(mail.server.port, mails)}


def damage_in_use(database: Path) -> None:
    """Overwrite the middle of a file in use, and see to it that it is read again.

    What the write-ahead log or a cache holds of a page would else hide the damage, or mend it.
    """
    with contextlib.ExitStack() as ends:
        other = sqlite3.connect(database, timeout=5, isolation_level=None)
        ends.enter_context(contextlib.closing(other))
        restart = "PRAGMA wal_checkpoint(RESTART)"
        wait_until(lambda: other.execute(restart).fetchone()[0] == 0, "a checkpoint")
        other.execute("BEGIN IMMEDIATE")
        data = database.stat().st_size
        assert data > 100_000
        file = ends.enter_context(database.open("r+b", buffering=0))
        file.seek(4096)
        file.write(garbage(data - 4096))
        other.execute("CREATE TABLE another (x)")
        other.execute("DROP TABLE another")
        other.execute("COMMIT")


def health_of(database: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(database, timeout=5)) as connection:
        return [text for (text,) in connection.execute("PRAGMA integrity_check")]


def rows_of(database: Path, text: str) -> int:
    """Return the number of records that have a text in their keys."""
    with contextlib.closing(sqlite3.connect(database, timeout=5)) as connection:
        query = "SELECT count(*) FROM record WHERE instr(CAST(key AS TEXT), ?)"
        return int(connection.execute(query, [text]).fetchone()[0])


@root_only
def test_a_damaged_file_that_can_t_be_set_aside_lets_mail_pass_and_is_left_alone(
    open_folder: Path, healthy: bytes
) -> None:
    # In a folder such as /tmp greyd may write a file of root's, but not rename it.
    folder = open_folder / "db"
    folder.mkdir()
    folder.chmod(0o1777)
    database = folder / "greyd.db"
    database.write_bytes(middle_overwritten(healthy))
    database.chmod(0o666)
    options = [f"--store=sqlite:{database}", "--user=nobody", f"--run-dir={folder}"]
    with trial("damaged, can't move", open_folder, *options) as mail:
        mail.away(2.5, health=503)
        assert "by hand" in " ".join(mail.said())
        database.write_bytes(healthy)
        mail.returns()
    assert not set_aside(folder)


def test_a_file_whose_header_is_destroyed_is_left_where_it_is(
    tmp_path: Path, healthy: bytes
) -> None:
    database = tmp_path / "greyd.db"
    with trial("header destroyed", tmp_path) as mail:
        mail.normal(0.6)
        broken = tmp_path / "broken.db"
        broken.write_bytes(garbage(100) + healthy[100:])
        broken.replace(database)
        mail.away(1.5, health=503)
        said = " ".join(mail.said())
        assert "move" in said
        assert str(database) in said
        assert not set_aside(tmp_path)
        (tmp_path / "elsewhere").mkdir()
        database.rename(tmp_path / "elsewhere" / "greyd.db")
        mail.returns()


def test_a_damaged_file_is_not_set_aside_while_another_program_has_it_open(
    tmp_path: Path, healthy: bytes
) -> None:
    database = tmp_path / "greyd.db"
    database.write_bytes(healthy)
    with trial("damaged, in use", tmp_path) as mail:
        mail.normal(0.6)
        with other_reader(database) as reader:
            damage_in_use(database)
            mail.away(1.5, health=503)
            assert f"process {reader} has it open" in " ".join(mail.said())
            assert not set_aside(tmp_path)
        mail.returns()
        assert len(set_aside(tmp_path)) == 1


@contextlib.contextmanager
def other_reader(database: Path) -> Iterator[int]:
    """Run a program that has a database open; yields its process id."""
    with subprocess.Popen(
        [
            sys.executable, "-c",
            "import sqlite3, sys\n"
            f"connection = sqlite3.connect({str(database)!r})\n"
            "connection.execute('SELECT count(*) FROM sqlite_master').fetchall()\n"
            "print('open', flush=True)\n"
            "sys.stdin.read()\n",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as reader:  # fmt: skip
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdout.readline()
        yield reader.pid
        reader.stdin.close()
        reader.wait(10)
