"""Files that are not greyd's, named as its store: greyd changes no byte of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from greyd.cli.app import COMMANDS
from tests.commands import CHECKOUT, environment_without_settings, fill
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.integration

APPLICATION_ID = int.from_bytes(b"grey")

LINE = "May  1 00:00:00 mx postfix/smtpd[1]: connect from unknown[192.0.2.7]\n"

ARGUMENTS: dict[str, list[list[str]]] = {
    "stats": [[], ["--json"]],
    "top": [["--count=1", "--json"]],
    "list": [[]],
    "show": [["192.0.2.7"], ["192.0.2.7", "a@example.com", "b@example.org"]],
    "explain": [
        [
            "--no-dns", "--client-address=192.0.2.7", "--sender=a@example.com",
            "--recipient=b@example.org",
        ],
    ],
    "release": [["--recipient=b@example.org"], ["--recipient=b@example.org", "--dry-run"]],
    "expect": [[], ["b@example.org"], ["b@example.org", "--close"]],
    "forget": [["--address=b@example.org"], ["--client=192.0.2.7", "--dry-run"]],
    "mode": [[], ["off", "--for=1h"], ["reset"]],
    "check-whitelist": [["--hits"]],
    "import": [["DUMP"], ["DUMP", "--dry-run"]],
    "doctor": [[], ["--thorough"]],
    "serve": [[]],
}  # fmt: skip
"""What each command that uses a store is called with."""

WITHOUT_STORE = {
    "status", "ask", "tail", "report", "replay", "tune", "whitelist", "config", "postfix-config",
    "switch-from",
}  # fmt: skip


class Other(NamedTuple):
    """Something that is not greyd's store."""

    make: Callable[[Path], object]
    said: str


def text(path: Path) -> None:
    path.write_text("The passwords of all of us.\n" * 500)


def sqlite_of_another(path: Path, *, wal: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
    connection.execute("CREATE TABLE record (id INTEGER PRIMARY KEY, what TEXT)")
    connection.execute("INSERT INTO record (what) VALUES ('theirs')")
    return connection


def closed_sqlite(path: Path) -> None:
    sqlite_of_another(path).close()


def closed_wal(path: Path) -> None:
    sqlite_of_another(path, wal=True).close()


def crashed_wal(path: Path) -> None:
    """Leave what a process leaves that ends without closing its database."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from tests.integration.test_other_files import sqlite_of_another\n"
        "connection = sqlite_of_another(Path(sys.argv[1]), wal=True); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=CHECKOUT, check=True)
    assert Path(f"{path}-wal").stat().st_size > 0


def marked_by_another(path: Path) -> None:
    with contextlib.closing(sqlite_of_another(path)) as connection:
        connection.execute("PRAGMA application_id=252006673")


def nearly_greyds(path: Path) -> None:
    """Make a file with a table like greyd's, and one of their own."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TABLE record (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, expires_at"
            " INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL)"
        )
        connection.execute("CREATE INDEX record_hash ON record (hash)")
        connection.execute("CREATE TABLE theirs (what TEXT)")


def newer(path: Path) -> None:
    fill(f"sqlite:{path}", {b"k": b"v"})
    Path(f"{path}-lock").unlink()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version=1000")


def berkeley_db(path: Path) -> None:
    path.write_bytes(bytes(12) + (0x053162).to_bytes(4, "little") + bytes(8176))


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def link_to_text(path: Path) -> None:
    text(path.parent / "elsewhere.txt")
    path.symlink_to(path.parent / "elsewhere.txt")


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.parent / "fifo")
    path.symlink_to(path.parent / "fifo")


OTHERS = {
    "text": Other(text, "not a SQLite file"),
    "short text": Other(lambda path: path.write_bytes(b"x"), "not a SQLite file"),
    "SQLite": Other(closed_sqlite, "another program's SQLite file"),
    "SQLite in WAL mode": Other(closed_wal, "another program's SQLite file"),
    "SQLite after a crash": Other(crashed_wal, "another program's SQLite file"),
    "SQLite with an id": Other(marked_by_another, "another program's SQLite file"),
    "SQLite with our table": Other(nearly_greyds, "another program's SQLite file"),
    "a newer greyd's": Other(newer, "written by a newer greyd"),
    "Berkeley DB": Other(berkeley_db, "Berkeley DB"),
    "folder": Other(Path.mkdir, "is a folder"),
    "FIFO": Other(os.mkfifo, "is a FIFO"),
    "socket": Other(socket_file, "is a socket"),
    "device": Other(lambda path: path.symlink_to("/dev/full"), "is a device"),
    "link to text": Other(link_to_text, "not a SQLite file"),
    "link to a FIFO": Other(link_to_fifo, "is a FIFO"),
}


def seen(folder: Path) -> list[tuple[object, ...]]:
    """Return all that can be seen of a folder's files: names, kinds, rights, times, content."""
    there = []
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        what = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, status.st_uid)
        there.append((path.name, *what, digest))
    return there


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a store alone."""
    made = tmp_path / "store"
    made.mkdir()
    yield made
    shutil.rmtree(made)


_DRIVER = """
import contextlib, io, json, sys
from greyd.cli.main import main
for line in sys.stdin:
    said, status = io.StringIO(), None
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            main(json.loads(line))
        except SystemExit as exit:
            status = exit.code
    print(json.dumps([status, said.getvalue()]), flush=True)
"""
"""Runs command after command in one process, which spares their starts."""


@contextlib.contextmanager
def driver() -> Iterator[Callable[[list[str]], str]]:
    """Yield what runs a command, which has to end with status 2; it returns what was said."""
    environment = environment_without_settings()
    with subprocess.Popen(
        [sys.executable, "-c", _DRIVER],
        cwd=CHECKOUT,
        env={**environment, "GREYD_METRICS": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout
        # A command that hangs is ended, and fails the test.
        watchdog = threading.Timer(100, process.kill)
        watchdog.start()

        def call(words: list[str]) -> str:
            stdin.write(json.dumps(words) + "\n")
            stdin.flush()
            answer = stdout.readline()
            assert answer, f"{words} does not end"
            status, said = json.loads(answer)
            assert status == 2, (words, said)
            return str(said)

        yield call
        watchdog.cancel()
        stdin.close()


def words_of(command: str, arguments: list[str], folder: Path) -> list[str]:
    """Return a command with its arguments and the store."""
    dump = folder.parent / "dump"
    dump.write_text("VERSION=3\nformat=print\ntype=btree\nHEADER=END\nDATA=END\n")
    given = [str(dump) if word == "DUMP" else word for word in arguments]
    options = [f"--store=sqlite:{folder / 'greyd.db'}"]
    if command == "serve":
        options.append(f"--inet=127.0.0.1:{free_port()}")
    return [command, *given, *options]


def assert_one_line(said: str, wanted: str, command: str) -> None:
    notes = ("no server to ask", "no running server uses")
    lines = [line for line in said.splitlines() if not any(note in line for note in notes)]
    assert len(lines) == 1, (command, said)
    assert wanted in lines[0], (command, said)
    assert "Traceback" not in said


def test_each_command_that_uses_a_store_is_tried() -> None:
    assert set(ARGUMENTS) | WITHOUT_STORE == {*COMMANDS, "serve"}


@pytest.mark.parametrize("kind", OTHERS)
def test_no_command_changes_a_file_that_is_not_greyd_s(folder: Path, kind: str) -> None:
    OTHERS[kind].make(folder / "greyd.db")
    before = seen(folder)
    with driver() as call:
        for command, calls in ARGUMENTS.items():
            for arguments in calls:
                said = call(words_of(command, arguments, folder))
                assert_one_line(said, OTHERS[kind].said, command)
                assert seen(folder) == before, (command, arguments)
