"""The store on one machine: SQLite in WAL mode, in a thread of its own.

Transactions that arise in one turn of the loop are committed together. While a commit is under way
the next ones gather, so the busier the server, the more a commit carries. The loop waits for a
commit a few milliseconds at most (``_PATIENCE_SECONDS``) before it goes on with other work: that
spares the interpreter lock's hand-overs when the disk is quick, and a hanging disk hangs nothing.

Checkpoints run on a connection and in a thread of their own, so that no request waits for them.

Durability: with ``synchronous=NORMAL`` what was acknowledged survives the death of the process,
and that of the machine but for the last moments; ``?synchronous=full`` syncs every commit.

Only the server makes a file, marks it, brings an old one up to date, and sets a damaged one aside.
A command that writes opens what is there; one that reads changes nothing (``sqlite_reading``).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import queue
import sqlite3
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from greyd.runtime.clock import SteadyClock
from greyd.store.contract import AccessMode, Store, StoreSize, complete
from greyd.store.errors import StoreError, UnusableStoreError, UnwritableStoreError
from greyd.store.sqlite import schema
from greyd.store.sqlite.file_identity import identify
from greyd.store.sqlite.lock import OPEN, DatabaseLock, DatabaseLockedError, file_state, wal_id
from greyd.store.sqlite.permissions import find_permission_fault, folder_is_missing
from greyd.store.sqlite.read_only import ReadOnlyDatabase
from greyd.store.sqlite.rows import (
    FEW_ROWS,
    NEWEST,
    QueryJob,
    TransactionJob,
    bytes_in_use,
    delete,
    entries_before,
    execute_batch,
    get,
    hash_key,
    size,
    sweep,
)
from greyd.store.sqlite.set_aside import move_log_away, set_aside
from greyd.store.sqlite.sweep_clock import SweepClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from greyd.rules.transaction import Answer, Record, Rule
    from greyd.store.contract import DoneCallback
    from greyd.store.sqlite.file_identity import FileIdentity
    from greyd.store.sqlite.lock import HeldLock

_PATIENCE_SECONDS = 0.005
_MAX_STEPS = 10
_CHECKPOINT_SECONDS = 1.0
_LARGE_LOG = 8 * 1024 * 1024
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_UNWRITABLE = (
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
)  # fmt: skip
"""None of these ends before somebody has mended something."""
_BUSY_SECONDS = 0.25
_LOG_PATIENCE_SECONDS = 0.02
_MAX_READ_ATTEMPTS = 10
_FAILURES_TO_WARN = 10
"""Checkpoints that fail in a row before the log says so."""

_MAX_SHOWN_CHARACTERS = 500
"""Of a path that can't be one."""

_never_closed: list[sqlite3.Connection] = []


class SqliteStore(Store):
    """A store in one file."""

    def __init__(
        self, location: str, max_bytes: float = math.inf, access: AccessMode = AccessMode.SERVE
    ) -> None:
        """Use the file at ``location``: a path, ``///path``, ``?synchronous=full``.

        It is opened, or made, when it is needed.

        Raises:
            StoreError: the location can't be understood.
        """
        self._name, self._synchronous = _parse(location)
        # As SQLite sees it, which names the log of commits after it.
        self._path = os.path.realpath(self._name)
        self._access = access
        self._lock = DatabaseLock(self._path)
        self._connection: sqlite3.Connection | None = None
        self._reading: ReadOnlyDatabase | None = None
        self._inode = 0
        self._looked = (0, 0, 0)
        """What the file looked like when greyd last wrote to it."""
        self._damaged = (0, 0, 0)
        """What a damaged file looked like that could not be set aside yet."""
        self._is_damaged = False
        """Another process has found the file damaged that this one has open."""
        self._gathered: list[TransactionJob | QueryJob] = []
        self._under_way: list[TransactionJob | QueryJob] = []
        self._handed: queue.SimpleQueue[list[TransactionJob | QueryJob] | None] = (
            queue.SimpleQueue()
        )
        # Held by nobody: released once a batch is done, taken by whoever then delivers it.
        self._done = threading.Lock()
        self._done.acquire()
        self._late = False
        self._sweep_from = 0
        self._clock = SteadyClock()
        self._sweep_clock = SweepClock()
        self.max_bytes = max_bytes
        self._close_soon = threading.Event()
        self._log_is_large = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._warn: Callable[[str], object] = _tell_nobody
        self._internal_error: Callable[[Exception], object] = _tell_nobody
        self._has_reported = False
        self._has_said_locked = False
        self._threads = [threading.Thread(target=self._work, name="sqlite", daemon=True)]
        if access is not AccessMode.READ:
            self._threads.append(
                threading.Thread(target=self._checkpoint, name="checkpoint", daemon=True)
            )

    # The contract -------------------------------------------------------------------------------

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:
        """Decide and store; see ``greyd.store.contract.Transacting``."""
        self._gather(TransactionJob(keys=keys, rule=rule, done=done))

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``."""
        return await self._do(partial(get, key=key), reads=True)

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Forget what is under ``keys``."""
        return await self._do(partial(delete, keys=keys))

    async def count(self) -> int:
        """Return the number of entries."""
        return sum([len(group) async for group in self.records()])

    async def size(self) -> StoreSize:
        """Return the number of rows, roughly, and the size of the file with its log."""
        entries = await self._do(size, reads=True)
        return StoreSize(entries, _bytes_of(self._path) or None)

    async def records(self) -> AsyncIterator[Sequence[Record]]:
        """Go through all entries, a few hundred rows at a time, the newest first."""
        row = NEWEST
        while (step := await self._do(partial(entries_before, row=row), reads=True)) is not None:
            row, records = step
            yield records

    def index_position(self, key: bytes) -> int:
        """Return the key's place in the index, which is what is spread over the file."""
        return hash_key(key)

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """Return the threads that do the work, once there is some."""
        return self._threads if self._loop is not None else ()

    async def maintain(self) -> None:
        """Take out some expired rows."""
        for _ in range(_MAX_STEPS):
            gone = await self._do(self._sweep)
            if gone < FEW_ROWS:
                return

    def abandon(self) -> None:
        """Let nobody wait longer for what the thread is doing."""
        waiting = [*self._under_way, *self._gathered]
        self._gathered = []
        for work in waiting:
            if not work.told:
                work.error = StoreError(f"sqlite:{self._path}: too slow")
                work.tell()

    def set_problem_handlers(
        self, warn: Callable[[str], object], internal_error: Callable[[Exception], object]
    ) -> None:
        """Tell the server what no request is told; see ``greyd.store.contract.Store``."""
        self._warn, self._internal_error = warn, internal_error

    async def close(self) -> None:
        """End the threads and close the file."""
        self._handed.put(None)
        self._close_soon.set()
        if self._loop is not None:
            for thread in self._threads:
                await asyncio.to_thread(thread.join, 1)

    # The loop's side ----------------------------------------------------------------------------

    async def _do(
        self, do: Callable[[sqlite3.Connection, int], Answer], *, reads: bool = False
    ) -> Answer:
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._gather(QueryJob(do=do, reads=reads, done=partial(complete, waiting)))
        return await waiting

    def _gather(self, work: TransactionJob | QueryJob) -> None:
        loop = self._loop or self._begin()
        self._gathered.append(work)
        if len(self._gathered) == 1 and not self._under_way:
            loop.call_soon(self._hand_over)

    def _begin(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()
        return self._loop

    def _hand_over(self) -> None:
        if self._under_way or not self._gathered:
            return
        self._under_way, self._gathered = self._gathered, []
        self._handed.put(self._under_way)
        if not self._done.acquire(timeout=_PATIENCE_SECONDS):
            self._late = True
            # It may have become ready just now, before the thread could see that it is late.
            if not self._done.acquire(blocking=False):
                return
        self._deliver()

    def _deliver_late(self) -> None:
        if self._done.acquire(blocking=False):
            self._deliver()

    def _deliver(self) -> None:
        self._late = False
        done, self._under_way = self._under_way, []
        for work in done:
            work.tell()
        if self._gathered and self._loop is not None:
            # Not at once: what was told may have asked for more already, over and over.
            self._loop.call_soon(self._hand_over)

    # The thread's side --------------------------------------------------------------------------

    def _work(self) -> None:
        while (batch := self._handed.get()) is not None:
            error = self._carry_out(batch)
            if error is not None:
                for work in batch:
                    work.error = error
            self._done.release()
            if self._late:
                self._call_loop(self._deliver_late)
        with contextlib.suppress(Exception):
            self._disconnect()

    def _carry_out(self, batch: Sequence[TransactionJob | QueryJob]) -> StoreError | None:
        """Do the work of a batch; returns why it failed, None where it did not."""
        try:
            if self._access is AccessMode.READ:
                self._read(batch)
            else:
                self._serve(batch)
                self._has_reported = self._has_said_locked = False
                if self._log_is_large:
                    self._begin_log_anew()
        except Exception as error:  # noqa: BLE001 - the thread goes on, and who waits is told
            try:
                return self._recover(error)
            except Exception as another:  # noqa: BLE001 - the same
                self._report(another)
                return StoreError(f"sqlite:{self._path}: {_words(error)}")
        return None

    def _serve(self, batch: Sequence[TransactionJob | QueryJob]) -> None:
        now = int(self._clock.now())
        execute_batch(self._opened(), batch, now, full=self.bytes_in_use >= self.max_bytes)

    def _sweep(self, connection: sqlite3.Connection, _now: int) -> int:
        """Take out some expired rows, and see how full the file is; returns how many left."""
        now = self._sweep_clock.now(connection)
        self._sweep_from, gone = sweep(connection, now, self._sweep_from)
        self.bytes_in_use = bytes_in_use(connection)
        return gone

    def _recover(self, error: Exception) -> StoreError:
        """Let the next batch open the file anew where it has to; returns what to say."""
        if isinstance(error, DatabaseLockedError) and not self._has_said_locked:
            # The circuit breaker was faster, and could not say who it is.
            self._has_said_locked = True
            self._say(str(error))
        if isinstance(error, StoreError):
            return error
        if not isinstance(error, (sqlite3.Error, OSError)):
            self._report(error)
        code, reason = _code_of(error), f"sqlite:{self._path}: {_words(error)}"
        if code in _BUSY:
            return StoreError(reason)
        self._disconnect()
        if code in _DAMAGED and self._access is AccessMode.SERVE:
            aside, kind = self._set_aside()
            return kind(f"{reason}; {aside}")
        if code != sqlite3.SQLITE_FULL and (fault := find_permission_fault(Path(self._path))):
            return UnwritableStoreError(f"sqlite:{self._path}: {fault.what}", fault.remedy)
        return UnwritableStoreError(reason) if code in _UNWRITABLE else StoreError(reason)

    def _begin_log_anew(self) -> None:
        """Restart the log of commits, nearly all of which the other thread has written back.

        Only this thread can: under load, for any other there is always a commit on its way.
        """
        connection = self._opened()
        # It waits for all who read, other processes too, while requests wait for it. Where they
        # take long, or the other thread is at it, the log begins anew another time.
        try:
            with self._lock.held(0) as held:
                self._log_is_large = False
                connection.execute(f"PRAGMA busy_timeout={_LOG_PATIENCE_SECONDS * 1000:.0f}")
                try:
                    self._write_back(held, connection, "TRUNCATE")
                finally:
                    connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000:.0f}")
        except DatabaseLockedError:
            return

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and not self._is_ours():
            # Set aside by another worker, or taken away by hand.
            self._disconnect()
        if self._is_damaged:
            self._is_damaged = False
            raise _damaged("damaged, as another process has found")
        if self._connection is None:
            try:
                with self._lock.held() as held:
                    try:
                        self._connection = self._open(held)
                    finally:
                        # Also of a file that could not be opened: it may have to be set aside.
                        self._inode = self._looked[0]
            except (DatabaseLockedError, UnwritableStoreError):
                raise
            except StoreError:
                # Another user's lock looks like no lock of greyd's.
                self._require_rights()
                raise
        return self._connection

    def _require_rights(self) -> None:
        if fault := find_permission_fault(Path(self._path)):
            raise UnwritableStoreError(f"sqlite:{self._path}: {fault.what}", fault.remedy)

    def _open(self, held: HeldLock) -> sqlite3.Connection:
        identity = identify(self._path)
        # SQLite would make a -wal as unwritable as its file, and that would stay.
        self._require_rights()
        self._looked = file_state(self._path)
        if self._looked == self._damaged != (0, 0, 0):
            raise _damaged("database disk image is malformed")
        self._move_foreign_log(held, identity)
        if not identity.exists:
            _make(self._path)
            self._looked = file_state(self._path)
        self._check_version_in_log()
        held.note_writing()
        connection = _connect(self._path)
        try:
            if identity.version is None:
                schema.make(connection)
            elif self._access is AccessMode.SERVE:
                self._bring_up_to_date(connection, identity)
            else:
                schema.check(connection, self._path)
            if identity.version is None or self._access is AccessMode.SERVE:
                _use_wal(connection)
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
            connection.execute("PRAGMA cache_size=-8000")
        except BaseException:
            connection.close()
            raise
        held.record.damaged = 0
        self._note_open(held)
        return connection

    def _bring_up_to_date(self, connection: sqlite3.Connection, identity: FileIdentity) -> None:
        """Bring an older schema up to date, and see that the file's header itself is marked."""
        before = schema.upgrade(connection, self._path)
        if before is not None:
            self._say(
                f"sqlite:{self._path}: brought from schema version {before} to {schema.VERSION}"
            )
        if not identity.is_marked:
            # A damaged file is known by its header, so the mark may not stay in the log alone.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _check_version_in_log(self) -> None:
        """Refuse a file that a newer greyd has marked in the log of commits alone.

        Opening it to write, and closing it, would bring that into the file.
        """
        if not file_state(self._path + "-wal")[1] or not file_state(self._path + "-shm")[0]:
            return
        try:
            with contextlib.closing(ReadOnlyDatabase(self._path)) as reading:
                schema.check(reading.connection, self._path)
        except UnusableStoreError:
            raise
        except (sqlite3.Error, StoreError):
            return  # what is wrong shows when it is opened

    def _move_foreign_log(self, held: HeldLock, identity: FileIdentity) -> None:
        """Keep a log of commits that was written for another file from being replayed."""
        # Beside an empty file SQLite would remove it.
        is_orphan = identity.version is None and file_state(self._path + "-wal")[1] > 0
        if not is_orphan and not held.record.is_foreign_log(self._path):
            return
        if self._access is not AccessMode.SERVE:
            raise StoreError(
                f"sqlite:{self._path}: another file lay here when its -wal was written; start"
                " greyd, which moves that away"
            )
        aside = move_log_away(self._path)
        held.note_closed()
        self._say(
            f"sqlite:{self._path}: this file was put in the place of another; the last commits of"
            f" that are kept as {aside}"
        )

    def _note_open(self, held: HeldLock) -> None:
        held.note_open(self._path)
        self._looked = held.record.database

    def _is_ours(self) -> bool:
        """Whether the file at the path is the one that was opened."""
        try:
            return os.stat(self._path).st_ino == self._inode  # noqa: PTH116 - once a batch
        except OSError:
            return False

    def _disconnect(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            with self._lock.held() as held:
                if self._is_ours():
                    held.note_writing()
                    connection.close()
                    if wal_id(self._path)[1]:
                        held.note_open(self._path)
                    else:
                        held.note_closed()
                    return
        except (sqlite3.Error, OSError, StoreError):
            pass  # the lock can't be had, so nobody knows whose file it is
        # Closing would remove the -wal beside the path, which may be another file's by now.
        _never_closed.append(connection)

    def _set_aside(self) -> tuple[str, type[StoreError]]:
        """Keep a damaged file under another name; the next batch begins with an empty one.

        Returns:
            What has been done, and the kind of error: whether somebody has to mend something.
        """
        try:
            with self._lock.held() as held:
                if not self._is_ours():
                    return "set aside by another worker, going on with an empty file", StoreError
                said = set_aside(self._path, held)
                self._damaged = file_state(self._path)
        except (OSError, StoreError) as error:
            return (
                f"can't be set aside: {_words(error)}; move it away by hand",
                UnwritableStoreError,
            )
        return said, UnwritableStoreError if self._damaged[0] else StoreError

    # Reading ------------------------------------------------------------------------------------

    def _read(self, batch: Sequence[TransactionJob | QueryJob]) -> None:
        """Do work that changes nothing, again where the file has changed meanwhile."""
        now = int(self._clock.now())
        for _ in range(_MAX_READ_ATTEMPTS):
            if self._reading is None:
                self._reading = self._opened_for_reading()
            try:
                execute_batch(self._reading.connection, batch, now, read_only=True)
            except sqlite3.Error:
                if not self._reading.is_stale:
                    raise
            else:
                if not self._reading.is_stale:
                    return
            self._disconnect()
        raise StoreError(f"sqlite:{self._path}: changes all the time while it is read")

    def _opened_for_reading(self) -> ReadOnlyDatabase:
        if identify(self._path).version is None:
            raise StoreError(f"sqlite:{self._path}: nothing is stored there")
        reading = ReadOnlyDatabase(self._path)
        try:
            schema.check(reading.connection, self._path)
        except BaseException:
            reading.close()
            raise
        return reading

    # The log of commits -------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        failures = 0
        written_back: tuple[int, ...] = ()
        while not self._close_soon.wait(_CHECKPOINT_SECONDS):
            try:
                written_back = self._look_after_log(written_back)
                failures = 0
            except Exception as error:  # noqa: BLE001 - the next second it is tried again
                failures += 1
                # A full disk, say, is what the requests' own commits report.
                if failures == 1 and not isinstance(error, (sqlite3.Error, OSError, StoreError)):
                    self._report(error)
                if failures == _FAILURES_TO_WARN:
                    self._say(
                        f"sqlite:{self._path}: the log of commits grows, since it can't be written"
                        f" back: {_words(error)}"
                    )

    def _look_after_log(self, written_back: tuple[int, ...]) -> tuple[int, ...]:
        """Bring what the log holds into the file; returns what the log then looks like."""
        if self._connection is None or not wal_id(self._path)[1]:
            return ()
        if self._lock.peek().damaged == self._inode:
            self._is_damaged = True
            return ()
        if file_state(self._path) == self._looked and _look_of_log(self._path) == written_back:
            return written_back
        with self._lock.held(_CHECKPOINT_SECONDS) as held:
            if self._connection is None or not self._is_ours() or not wal_id(self._path)[1]:
                return ()
            connection = _connect(self._path, timeout=0)
            with contextlib.closing(connection):
                connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
                complete = self._write_back(held, connection, "PASSIVE")
            log = _look_of_log(self._path)
            self._log_is_large = log[1] > _LARGE_LOG
            return log if complete else ()

    def _write_back(self, held: HeldLock, connection: sqlite3.Connection, how: str) -> bool:
        """Do a checkpoint; returns whether all that was in the log is in the file now."""
        self._notice_other_writers(held)
        held.note_writing()
        try:
            ((busy, log, done),) = connection.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
        finally:
            self._note_open(held)
        return not busy and log == done

    def _notice_other_writers(self, held: HeldLock) -> None:
        """Say so where another program has written into the file, as ``cp`` over it does."""
        look, known = file_state(self._path), held.record
        if look in (self._looked, known.database) or known.state != OPEN:
            return
        self._say(
            f"sqlite:{self._path}: another program has written over this file while greyd uses it;"
            " to put a backup in its place, stop greyd first, and move it there with mv"
        )

    # What the server is told --------------------------------------------------------------------

    def _report(self, error: Exception) -> None:
        """Report what should not happen; of many in a row the first."""
        if not self._has_reported:
            self._has_reported = True
            self._call_loop(self._internal_error, error)

    def _say(self, text: str) -> None:
        self._call_loop(self._warn, text)

    def _call_loop(self, call: Callable[..., object], *arguments: object) -> None:
        # At the end there may be nobody left to be told.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call, *arguments)


def _tell_nobody(_: object) -> None:
    """Where no server runs: errors reach who asked, all the same."""


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}"
    if isinstance(error, (sqlite3.Error, StoreError)):
        return str(error)
    return f"internal error: {type(error).__name__}: {error}"


def _code_of(error: Exception) -> int:
    """Return SQLite's primary result code; 0 where the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _damaged(text: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _parse(location: str) -> tuple[str, str]:
    """Return the path and the value of ``synchronous``."""
    path, _, query = location.partition("?")
    path = path.removeprefix("//")
    options = dict(parse_qsl(query))
    synchronous = options.pop("synchronous", "normal").upper()
    if options or synchronous not in ("NORMAL", "FULL") or not path:
        raise StoreError(f"sqlite:{location}: write sqlite:PATH or sqlite:PATH?synchronous=full")
    folder = Path(path).parent
    if folder_is_missing(folder):
        raise StoreError(
            f"sqlite:{_shorten(path)}: no folder {_shorten(folder)}; make it or name another"
        )
    return path, synchronous


def _shorten(path: str | Path) -> str:
    return (
        str(path)
        if len(str(path)) <= _MAX_SHOWN_CHARACTERS
        else f"{str(path)[:_MAX_SHOWN_CHARACTERS]}…"
    )


def _bytes_of(path: str) -> int:
    data = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(OSError):
            data += Path(path + suffix).stat().st_size
    return data


def _look_of_log(path: str) -> tuple[int, ...]:
    """Return inode, size and time of the last change of the log of commits."""
    return file_state(path + "-wal")


def _make(path: str) -> None:
    """Make an empty file that nobody else can read."""
    with contextlib.suppress(FileExistsError):
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(path, flags, 0o600))


def _connect(path: str, timeout: float = _BUSY_SECONDS) -> sqlite3.Connection:
    """Open a file that is there; one that is not there is not made."""
    address = f"{Path(path).as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=timeout, isolation_level=None)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Put the file into WAL mode, where it is not."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except sqlite3.OperationalError:
            # Somebody else reads the file; here SQLite does not wait by itself.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
