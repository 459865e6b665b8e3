"""What happens to greyd's SQLite file: marks, versions, reading without a trace, locks, faults."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greyd.store.errors import StoreError, UnusableStoreError
from greyd.store.sqlite import checkpointer, database, rows
from greyd.store.sqlite.file_identity import APPLICATION_ID, SCHEMA_VERSION, identify
from greyd.store.sqlite.lock import DatabaseLock, DatabaseLockedError
from greyd.store.sqlite.read_only import ReadOnlyDatabase
from greyd.store.sqlite.store import SqliteStore
from tests.commands import CHECKOUT, answer_of, content, fill, run_here
from tests.stores import Place, look, put

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ENTRIES = {b"key %d" % number: b"value %d" % number for number in range(50)}

SCHEMA_OF_0_1 = """
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS record_hash ON record (hash);
"""


def serve(file: Path, do: Callable[[SqliteStore], Awaitable[Any]]) -> Any:
    """Do something with a store as the server opens it."""

    async def use() -> Any:
        store = SqliteStore(str(file))
        try:
            async with asyncio.timeout(60):
                return await do(store)
        finally:
            await store.close()

    return asyncio.run(use())


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so that another thread does."""
    while not true():  # noqa: ASYNC110 - of another thread there is no event
        await asyncio.sleep(0.02)


def pragma(file: Path, name: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as it:
        return int(it.execute(f"PRAGMA {name}").fetchone()[0])


def marks(file: Path) -> tuple[int, int]:
    """Return what a file's own header says, without its log."""
    return pragma(file, "application_id"), pragma(file, "user_version")


def make_0_1(file: Path) -> None:
    """Make a file as greyd 0.1.0 does."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA_OF_0_1)


def crash(file: Path, code: str) -> None:
    """Run code on an open database, in a process that ends without closing it."""
    begin = "import os, sqlite3, sys\nfile = sys.argv[1]\n"
    subprocess.run(
        [sys.executable, "-c", f"{begin}{code}\nos._exit(0)", str(file)], cwd=CHECKOUT, check=True
    )


CRASHED_STORE = """
import asyncio
from greyd.store.sqlite.store import SqliteStore
from tests.stores import put
async def use():
    store = SqliteStore(file)
    await store.transact([b"k"], put(b"k", b"stored", 100_000))
    await store.transact([b"late"], put(b"late", b"stored", 100_000))
    os._exit(0)
asyncio.run(use())
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def seen(folder: Path) -> list[tuple[object, ...]]:
    return [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.iterdir())
    ]


# Marks and versions -------------------------------------------------------------------------------


def test_a_new_file_is_marked_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"
    before = os.umask(0)
    try:
        serve(file, lambda store: store.transact([b"k"], put(b"k", b"v")))
    finally:
        os.umask(before)
    assert marks(file) == (APPLICATION_ID, SCHEMA_VERSION)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "greyd.db": 0o600,
        "greyd.db-lock": 0o600,
    }


def test_an_empty_file_is_a_new_store_for_the_server_and_none_for_who_reads(
    tmp_path: Path,
) -> None:
    file = tmp_path / "greyd.db"
    file.touch()
    done = run_here("list", f"--dbdir={tmp_path}")
    assert (done.returncode, file.read_bytes(), names(tmp_path)) == (2, b"", {"greyd.db"})
    assert "nothing is stored there" in done.stderr
    serve(file, lambda store: store.transact([b"k"], put(b"k", b"v")))
    assert marks(file) == (APPLICATION_ID, SCHEMA_VERSION)


def old(file: Path) -> None:
    make_0_1(file)


def old_and_analysed(file: Path) -> None:
    make_0_1(file)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("INSERT INTO record VALUES (1, 2, 9999999999, x'6b', x'76')")
        connection.execute("ANALYZE")


def old_and_crashed(file: Path) -> None:
    """The tables are in the log of commits alone."""
    crash(
        file,
        "connection = sqlite3.connect(file, isolation_level=None)\n"
        "connection.execute('PRAGMA journal_mode=WAL')\n"
        f"connection.executescript({SCHEMA_OF_0_1!r})",
    )
    assert file.stat().st_size == 4096


def old_and_dumped(file: Path) -> None:
    """Read in again from a dump as text."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.executescript(SCHEMA_OF_0_1.replace("IF NOT EXISTS ", ""))


@pytest.mark.parametrize("make", [old, old_and_analysed, old_and_crashed, old_and_dumped])
def test_a_file_of_0_1_0_is_recognised_and_marked_by_the_server_alone(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    file = tmp_path / "greyd.db"
    make(file)
    before = seen(tmp_path)
    assert run_here("list", f"--dbdir={tmp_path}").returncode in (0, 1)
    assert seen(tmp_path) == before
    assert run_here("expect", "bob@example.org", f"--dbdir={tmp_path}").returncode == 0
    assert marks(file) == (0, 0), "a command does not mark"
    warnings: list[str] = []

    async def use(store: SqliteStore) -> None:
        store.set_problem_handlers(warnings.append, lambda error: pytest.fail(str(error)))
        await store.transact([b"k"], put(b"k", b"v"))
        assert marks(file) == (APPLICATION_ID, SCHEMA_VERSION), "in the file itself at once"

    serve(file, use)
    assert [line for line in warnings if "version 0" in line] == warnings
    assert len(warnings) == 1
    assert set(answer_of("expect", f"--dbdir={tmp_path}")[0]) == {"recipient", "from", "until"}


def test_greyd_0_1_0_can_use_a_marked_file_and_it_stays_marked(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"
    fill(f"sqlite:{file}", ENTRIES)
    make_0_1(file)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (len(ENTRIES),)
    assert content(f"sqlite:{file}") == ENTRIES
    assert identify(str(file)).is_marked


@pytest.mark.parametrize("how", ["backup", "vacuum"])
def test_a_copy_that_sqlite_makes_is_marked_and_can_be_imported(tmp_path: Path, how: str) -> None:
    file, copy = tmp_path / "greyd.db", tmp_path / "copy.db"
    fill(f"sqlite:{file}", ENTRIES)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        if how == "vacuum":
            connection.execute(f"VACUUM INTO '{copy}'")
        else:
            with contextlib.closing(sqlite3.connect(copy)) as target:
                connection.backup(target)
    assert marks(copy) == (APPLICATION_ID, SCHEMA_VERSION)
    before = copy.read_bytes()
    done = run_here("import", f"sqlite:{copy}", f"--store=sqlite:{tmp_path / 'other.db'}")
    assert done.returncode in (0, 1), done.stderr
    assert "another greyd's file" in done.stdout
    assert copy.read_bytes() == before
    assert not {"copy.db-wal", "copy.db-shm"} & names(tmp_path)


def test_a_newer_file_is_refused_even_where_only_its_log_says_so(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"
    fill(f"sqlite:{file}", ENTRIES)
    crash(
        file,
        "connection = sqlite3.connect(file, isolation_level=None)\n"
        "connection.execute('PRAGMA user_version=9')",
    )
    assert marks(file) == (APPLICATION_ID, SCHEMA_VERSION)
    before = file.read_bytes()

    async def use(store: SqliteStore) -> None:
        with pytest.raises(StoreError, match="newer greyd"):
            await store.transact([b"k"], look)

    serve(file, use)
    for command in (["list"], ["mode", "off"]):
        done = run_here(*command, f"--dbdir={tmp_path}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "newer greyd" in done.stderr
    assert file.read_bytes() == before


# Reading ------------------------------------------------------------------------------------------


def closed(folder: Path) -> None:
    fill(f"sqlite:{folder / 'greyd.db'}", {b"k": b"stored", b"late": b"stored"})


def crashed(folder: Path) -> None:
    crash(folder / "greyd.db", CRASHED_STORE)
    assert (folder / "greyd.db-wal").stat().st_size > 0


def crashed_without_shm(folder: Path) -> None:
    crashed(folder)
    (folder / "greyd.db-shm").unlink()


def closed_in_rollback_mode(folder: Path) -> None:
    closed(folder)
    with contextlib.closing(sqlite3.connect(folder / "greyd.db")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def with_an_empty_log(folder: Path) -> None:
    closed(folder)
    (folder / "greyd.db-wal").touch()


STATES = [closed, crashed, crashed_without_shm, closed_in_rollback_mode, with_an_empty_log]
AS_ROOT = os.geteuid() == 0


@pytest.mark.parametrize("rights", ["all", "folder read-only", "another user"])
@pytest.mark.parametrize("make", STATES)
def test_all_that_is_stored_is_read_and_nothing_changed(
    tmp_path: Path, make: Callable[[Path], None], rights: str
) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    make(folder)
    if rights != "all":
        for path in folder.iterdir():
            path.chmod(0o644)
        folder.chmod(0o555)
    before = seen(folder)
    code = (
        # Another user may be unable to read what Path.as_uri imports.
        "import os, sys, urllib.parse\n"
        "from greyd.store.sqlite.read_only import ReadOnlyDatabase\n"
        "if sys.argv[2]: os.setuid(65534)\n"
        "reading = ReadOnlyDatabase(sys.argv[1])\n"
        "rows = reading.connection.execute('SELECT key FROM record ORDER BY key').fetchall()\n"
        "reading.close(); print(rows)"
    )
    if rights == "another user":
        for parent in [folder, *folder.parents][:-2]:
            parent.chmod(parent.stat().st_mode | 0o055)
    other = "1" if AS_ROOT and rights == "another user" else ""
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "greyd.db"), other],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[(b'k',), (b'late',)]\n", done.stderr
    assert seen(folder) == before
    folder.chmod(0o755)


def test_a_copy_that_has_no_room_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed_without_shm(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined] # the type of its result has no other name
    with pytest.raises(StoreError, match="start greyd, or set TMPDIR to another folder"):
        ReadOnlyDatabase(str(tmp_path / "greyd.db"))


def test_who_reads_a_file_that_nobody_has_open_notices_a_writer(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"
    closed(tmp_path)
    with contextlib.closing(ReadOnlyDatabase(str(file))) as reading:
        assert not reading.is_stale
        run_here("mode", "off", f"--dbdir={tmp_path}")
        assert reading.is_stale


# The lock -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def held_elsewhere(file: Path) -> Iterator[int]:
    """Let another process hold the lock of a database; yields its process id."""
    code = (
        "import sys\n"
        "from greyd.store.sqlite.lock import DatabaseLock\n"
        "with DatabaseLock(sys.argv[1]).held():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)],
        cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process.pid
        process.stdin.close()


def test_who_waits_too_long_for_the_lock_is_told_who_holds_it(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"
    with held_elsewhere(file) as pid:
        lock = DatabaseLock(str(file))
        with pytest.raises(DatabaseLockedError, match=f"process {pid} "), lock.held(0.1):
            pass
        assert (tmp_path / "greyd.db-lock").stat().st_mode & 0o777 == 0o600
    with lock.held():
        pass


def test_the_threads_of_a_process_keep_each_other_out(tmp_path: Path) -> None:
    lock = DatabaseLock(str(tmp_path / "greyd.db"))
    with lock.held():
        failed = []

        def other() -> None:
            try:
                with lock.held(0.05):
                    pass
            except DatabaseLockedError:
                failed.append(True)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert failed == [True]


def link(path: Path) -> None:
    (path.parent / "precious").write_text("precious")
    path.symlink_to(path.parent / "precious")


def hard_link(path: Path) -> None:
    (path.parent / "precious").write_text("")
    (path.parent / "precious").hardlink_to(path) if path.exists() else path.hardlink_to(
        path.parent / "precious"
    )


def somebodys_text(path: Path) -> None:
    path.write_text("somebody's")


@pytest.mark.parametrize("make", [link, hard_link, somebodys_text, os.mkfifo, Path.mkdir])
def test_what_is_not_greyd_s_lock_is_not_followed_nor_written(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "greyd.db-lock"
    make(path)
    before = {each.name: each.lstat()[:9] for each in tmp_path.iterdir()}
    lock = DatabaseLock(str(tmp_path / "greyd.db"))
    with pytest.raises(StoreError, match="not greyd's lock; move it away"), lock.held():
        pass
    assert {each.name: each.lstat()[:9] for each in tmp_path.iterdir()} == before
    assert not (tmp_path / "precious").exists() or (
        (tmp_path / "precious").read_text() in ("precious", "")
    )


@pytest.mark.skipif(not AS_ROOT, reason="needs root, to be somebody else")
def test_another_user_can_t_hold_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"
    fill(f"sqlite:{file}", ENTRIES)
    for parent in [tmp_path, *tmp_path.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    code = "import os, sys; os.setuid(65534); os.open(sys.argv[1], os.O_RDONLY)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "greyd.db-lock")],
        capture_output=True,
        text=True,
    )
    assert "PermissionError" in done.stderr


def test_a_lock_that_is_too_open_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "greyd.db-lock"
    path.touch()
    path.chmod(0o666)
    with DatabaseLock(str(tmp_path / "greyd.db")).held():
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    file = tmp_path / "greyd.db"
    serve(file, lambda store: store.transact([b"k"], put(b"k", b"v")))
    assert serve(file, lambda store: store.transact([b"k"], look)) == [b"v"]


# The threads --------------------------------------------------------------------------------------

FAULTS: list[Exception] = [
    OSError(errno.ENOLCK, "No locks available"),
    OSError(errno.EIO, "Input/output error"),
    MemoryError(),
    KeyError("k"),
    RuntimeError("unexpected"),
    sqlite3.InterfaceError("bad"),
    sqlite3.ProgrammingError("bad"),
    sqlite3.OperationalError("disk I/O error"),
]
UNEXPECTED = (MemoryError, KeyError, RuntimeError)


@pytest.mark.parametrize("error", FAULTS, ids=repr)
@pytest.mark.parametrize("where", ["execute_batch", "connect", "identify"])
def test_no_error_ends_the_thread_that_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    reported: list[Exception] = []

    async def use(store: SqliteStore) -> None:
        loop_thread = threading.get_ident()

        def report(error: Exception) -> None:
            assert threading.get_ident() == loop_thread
            reported.append(error)

        store.set_problem_handlers(lambda _: None, report)
        if where == "execute_batch":
            await store.transact([b"k"], put(b"k", b"v"))
        with monkeypatch.context() as patch:
            break_it(patch, where, error)
            for _ in range(2):
                with pytest.raises(StoreError):
                    await store.transact([b"k"], put(b"k", b"w"))
        await store.transact([b"other"], put(b"other", b"v"))
        assert await store.transact([b"other"], look) == [b"v"]

    serve(tmp_path / "greyd.db", use)
    assert reported == ([error] if isinstance(error, UNEXPECTED) else [])


def break_it(patch: pytest.MonkeyPatch, where: str, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    if where == "execute_batch":
        patch.setattr(rows, "execute_batch", fail)
    else:
        patch.setattr(database, {"connect": "_connect", "identify": "identify"}[where], fail)


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_no_error_ends_the_thread_that_writes_the_log_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SECONDS", 0.02)
    file = tmp_path / "greyd.db"
    reported: list[Exception] = []
    warnings: list[str] = []
    failed = threading.Event()
    real = DatabaseLock.peek

    def peek(lock: DatabaseLock) -> Any:
        if not failed.is_set():
            raise error
        return real(lock)

    monkeypatch.setattr(DatabaseLock, "peek", peek)

    async def use(store: SqliteStore) -> None:
        store.set_problem_handlers(warnings.append, reported.append)
        await store.transact([b"k"], put(b"k", b"v", 100_000))
        async with asyncio.timeout(30):
            await until(lambda: bool(warnings))
            failed.set()
            await until(lambda: bool(rows_in_file_alone(file)))

    serve(file, use)
    assert "the write-ahead log grows" in warnings[0]
    assert reported == ([error] if isinstance(error, UNEXPECTED) else [])


def rows_in_file_alone(file: Path) -> int:
    """Return how many rows the file has without its log, seen by another process."""
    code = (
        "import sqlite3, sys\n"
        "address = f'file:{sys.argv[1]}?mode=ro&immutable=1'\n"
        "connection = sqlite3.connect(address, uri=True)\n"
        "print(connection.execute('SELECT count(*) FROM record').fetchone()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


# Another file in its place ------------------------------------------------------------------------


def in_its_place(how: str, backup: Path, file: Path) -> None:
    if how == "mv":
        backup.rename(file)
    elif how == "cp":
        file.write_bytes(backup.read_bytes())
    else:
        shutil.copy2(backup, file)


@pytest.mark.parametrize("how", ["mv", "cp", "cp -p"])
def test_the_log_of_a_file_that_was_replaced_is_not_replayed(tmp_path: Path, how: str) -> None:
    file, backup = tmp_path / "greyd.db", tmp_path / "backup.db"
    fill(f"sqlite:{file}", {b"before": b"stored"})
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute(f"VACUUM INTO '{backup}'")
    crashed(tmp_path)
    assert set(content(f"sqlite:{file}")) == {b"before", b"k", b"late"}
    crash(file, CRASHED_STORE.replace('b"late"', 'b"later"'))
    in_its_place(how, backup, file)
    before = seen(tmp_path)
    done = run_here("show", "late", f"--dbdir={tmp_path}")
    assert done.returncode != 2, done.stderr
    assert seen(tmp_path) == before
    refused = run_here("mode", "off", f"--dbdir={tmp_path}")
    assert (refused.returncode, seen(tmp_path)[0]) == (2, before[0])
    assert "start greyd" in refused.stderr
    warnings: list[str] = []

    async def use(store: SqliteStore) -> None:
        store.set_problem_handlers(warnings.append, lambda error: pytest.fail(str(error)))
        assert await store.transact([b"before", b"k", b"late"], look) == [b"stored", None, None]

    serve(file, use)
    (aside,) = tmp_path.glob("greyd.db.replaced-*-wal")
    assert str(aside) in warnings[0]


@pytest.mark.parametrize("how", ["nothing", "copied folder", "no lock", "chmod"])
def test_the_log_of_the_same_file_is_replayed(tmp_path: Path, how: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    crashed(here)
    if how == "copied folder":
        shutil.copytree(here, there, copy_function=shutil.copyfile)
        shutil.rmtree(here)
        there.rename(here)
    elif how == "no lock":
        (here / "greyd.db-lock").unlink()
    elif how == "chmod":
        (here / "greyd.db").chmod(0o640)
    stored = serve(here / "greyd.db", lambda store: store.transact([b"k", b"late"], look))
    assert stored == [b"stored", b"stored"]
    assert not list(here.glob("*replaced*"))


def test_a_file_that_is_overwritten_in_use_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SECONDS", 0.05)
    file, backup = tmp_path / "greyd.db", tmp_path / "backup.db"
    fill(f"sqlite:{file}", ENTRIES)
    backup.write_bytes(file.read_bytes())
    warnings: list[str] = []

    async def use(store: SqliteStore) -> None:
        store.set_problem_handlers(warnings.append, lambda error: pytest.fail(str(error)))
        await store.transact([b"k"], put(b"k", b"v"))
        await asyncio.sleep(0.5)
        assert warnings == []
        # By another process, as its closing would give up this one's locks.
        await asyncio.to_thread(subprocess.run, ["cp", backup, file], check=True)
        async with asyncio.timeout(30):
            await until(lambda: bool(warnings))

    serve(file, use)
    assert "another program has written over this file" in warnings[0]


def test_two_stores_on_one_file_warn_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointer, "CHECKPOINT_SECONDS", 0.02)
    file = tmp_path / "greyd.db"
    warnings: list[str] = []

    async def use(store: SqliteStore) -> None:
        store.set_problem_handlers(warnings.append, lambda error: pytest.fail(str(error)))
        for number in range(20):
            key = b"%d" % number
            await store.transact([key], put(key, b"v"))
            if number % 5 == 0:
                # Another process that writes, closes, and writes the log back.
                await asyncio.to_thread(run_here, "mode", "off", f"--dbdir={tmp_path}")

    serve(file, use)
    assert warnings == []


def test_a_record_that_is_torn_proves_nothing(tmp_path: Path) -> None:
    lock = DatabaseLock(str(tmp_path / "greyd.db"))
    for text in ("", "{", '{"greyd": 1}', json.dumps({"greyd": {"state": "open", "log": [1]}})):
        Path(lock.path).write_text(text)
        assert not lock.peek().has_foreign_wal(str(tmp_path / "greyd.db"))


def replace_by_text(file: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{file}{suffix}").unlink()
    file.write_text("theirs" * 1000)


def test_a_file_that_changes_to_another_s_is_refused_while_it_is_used(tmp_path: Path) -> None:
    file = tmp_path / "greyd.db"

    async def use(store: SqliteStore) -> None:
        await store.transact([b"k"], put(b"k", b"v"))
        await asyncio.to_thread(replace_by_text, file)
        for _ in range(2):
            with pytest.raises(StoreError, match="not a SQLite file"):
                await store.transact([b"k"], look)

    serve(file, use)
    assert file.read_text() == "theirs" * 1000


def test_the_store_of_a_place_is_opened_by_the_server_in_a_test(tmp_path: Path) -> None:
    place = Place(f"sqlite:{tmp_path / 'x' / '..' / 'greyd.db'}", "")
    (tmp_path / "x").mkdir()

    async def use() -> None:
        async with place.opened() as store:
            await store.transact([b"k"], put(b"k", b"v"))

    asyncio.run(use())
    assert identify(str(tmp_path / "greyd.db")).is_marked
    with pytest.raises(UnusableStoreError):
        identify(str(tmp_path))
