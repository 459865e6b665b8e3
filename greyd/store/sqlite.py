"""The store on one machine: SQLite in WAL mode, in a thread of its own.

Transactions that arise in one turn of the loop are committed together. While a commit is under way
the next ones gather, so the busier the server, the more a commit carries. The loop waits for a
commit a few milliseconds at most (``_PATIENCE_SECONDS``) before it goes on with other work: that
spares the interpreter lock's hand-overs when the disk is quick, and a hanging disk hangs nothing.

Checkpoints run on a connection and in a thread of their own, so that no request waits for them.

Durability: with ``synchronous=NORMAL`` what was acknowledged survives the death of the process,
and that of the machine but for the last moments; ``?synchronous=full`` syncs every commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
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

from greyd.clock import SteadyClock
from greyd.store import Answer, Record, Size, Store, StoreError, StoreUnwritable, rows, tell
from greyd.store.rights import fault_of, is_missing
from greyd.store.sweep_clock import SweepClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from greyd.store import Done, Rule

_PATIENCE_SECONDS = 0.005
_MOST_STEPS = 10
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

_never_closed: list[sqlite3.Connection] = []


class SqliteStore(Store):
    """A store in one file."""

    def __init__(self, location: str, max_bytes: float = math.inf) -> None:
        """Use the file at ``location``: a path, ``///path``, ``?synchronous=full``.

        It is opened, or made, when it is needed.

        Raises:
            StoreError: the location can't be understood.
        """
        self._path, self._synchronous = _parse(location)
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._gathered: list[rows.Transaction | rows.Errand] = []
        self._under_way: list[rows.Transaction | rows.Errand] = []
        self._handed: queue.SimpleQueue[list[rows.Transaction | rows.Errand] | None] = (
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
        self._threads = [
            threading.Thread(target=self._work, name="sqlite", daemon=True),
            threading.Thread(target=self._checkpoint, name="checkpoint", daemon=True),
        ]

    # The contract -------------------------------------------------------------------------------

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: Done) -> None:
        """Decide and store; see ``greyd.store.Transacting``."""
        self._gather(rows.Transaction(keys=keys, rule=rule, done=done))

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``."""
        return await self._do(partial(rows.get, key=key), reads=True)

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Forget what is under ``keys``."""
        return await self._do(partial(rows.delete, keys=keys))

    async def count(self) -> int:
        """Return the number of entries."""
        return sum([len(group) async for group in self.records()])

    async def size(self) -> Size:
        """Return the number of rows, roughly, and the size of the file with its log."""
        entries = await self._do(rows.size, reads=True)
        return Size(entries, _octets_of(self._path) or None)

    async def records(self) -> AsyncIterator[Sequence[Record]]:
        """Go through all entries, a few hundred rows at a time, the newest first."""
        row = rows.NEWEST
        while (step := await self._do(partial(rows.before, row=row), reads=True)) is not None:
            row, records = step
            yield records

    def place_of(self, key: bytes) -> int:
        """Return the key's place in the index, which is what is spread over the file."""
        return rows.hash_of(key)

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """Return the threads that do the work, once there is some."""
        return self._threads if self._loop is not None else ()

    async def maintain(self) -> None:
        """Take out some expired rows."""
        for _ in range(_MOST_STEPS):
            gone = await self._do(self._sweep)
            if gone < rows.FEW_ROWS:
                return

    def abandon(self) -> None:
        """Let nobody wait longer for what the thread is doing."""
        waiting = [*self._under_way, *self._gathered]
        self._gathered = []
        for work in waiting:
            if not work.told:
                work.error = StoreError(f"sqlite:{self._path}: too slow")
                work.tell()

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
        self._gather(rows.Errand(do=do, reads=reads, done=partial(tell, waiting)))
        return await waiting

    def _gather(self, work: rows.Transaction | rows.Errand) -> None:
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
            try:
                now = int(self._clock.now())
                rows.carry_out(self._opened(), batch, now, full=self.bytes_in_use >= self.max_bytes)
                if self._log_is_large:
                    self._begin_log_anew()
            except sqlite3.Error as error:
                self._fail(batch, error)
            self._done.release()
            if self._late and self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._deliver_late)
        self._disconnect()

    def _sweep(self, connection: sqlite3.Connection, _now: int) -> int:
        """Take out some expired rows, and see how full the file is; returns how many left."""
        now = self._sweep_clock.now(connection)
        self._sweep_from, gone = rows.sweep(connection, now, self._sweep_from)
        self.bytes_in_use = rows.bytes_in_use(connection)
        return gone

    def _begin_log_anew(self) -> None:
        """Restart the log of commits, nearly all of which the other thread has written back.

        Only this thread can: under load, for any other there is always a commit on its way.
        """
        self._log_is_large = False
        connection = self._opened()
        # It waits for all who read, other processes too, while requests wait for it. Where they
        # take long, the log begins anew another time.
        connection.execute(f"PRAGMA busy_timeout={_LOG_PATIENCE_SECONDS * 1000:.0f}").fetchall()
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000:.0f}").fetchall()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and not self._is_ours():
            # Set aside by another worker, or taken away by hand.
            self._disconnect()
        if self._connection is None:
            with _alone_in(self._path):
                try:
                    self._connection = _connect(self._path, self._synchronous)
                finally:
                    # Also of a file that could not be opened: it may have to be set aside.
                    with contextlib.suppress(OSError):
                        self._inode = Path(self._path).stat().st_ino
        return self._connection

    def _is_ours(self) -> bool:
        """Whether the file at the path is the one that was opened."""
        try:
            return os.stat(self._path).st_ino == self._inode  # noqa: PTH116 - once a batch
        except OSError:
            return False

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            with _alone_in(self._path):
                if self._is_ours():
                    connection.close()
                    return
        except sqlite3.Error:
            pass  # the folder can't be held, so nobody knows whose file it is
        # Closing would remove the -wal beside the path, which may be another file's by now.
        _never_closed.append(connection)

    def _fail(self, batch: list[rows.Transaction | rows.Errand], error: sqlite3.Error) -> None:
        """Tell who waits, and let the next batch open the file anew."""
        explained = self._explained(error)
        for work in batch:
            work.error = explained

    def _explained(self, error: sqlite3.Error) -> StoreError:
        """Return what is wrong with the file, after what can be done about it here."""
        code, reason = _code_of(error), f"sqlite:{self._path}: {error}"
        if code in _BUSY:
            return StoreError(reason)
        self._disconnect()
        if code in _DAMAGED:
            aside, is_set_aside = self._set_aside()
            kind = StoreError if is_set_aside else StoreUnwritable
            return kind(f"{reason}; {aside}")
        if code != sqlite3.SQLITE_FULL and (fault := fault_of(Path(self._path))):
            return StoreUnwritable(f"sqlite:{self._path}: {fault.what}", fault.remedy)
        return StoreUnwritable(reason) if code in _UNWRITABLE else StoreError(reason)

    def _set_aside(self) -> tuple[str, bool]:
        """Keep a damaged file under another name; the next batch begins with an empty one.

        Returns:
            What has been done, and whether greyd can go on.
        """
        aside = stamp = f"{self._path}.damaged-{time.strftime('%Y%m%dT%H%M%S')}"
        number = 1
        try:
            with _alone_in(self._path):
                if not self._is_ours():
                    return "set aside by another worker, going on with an empty file", True
                while Path(aside).exists():
                    number += 1
                    aside = f"{stamp}-{number}"
                for suffix in ("-wal", "-shm", ""):
                    if Path(self._path + suffix).exists():
                        Path(self._path + suffix).rename(aside + suffix)
        except OSError as error:
            return f"can't be set aside as {aside}: {error.strerror}; move it away by hand", False
        except sqlite3.Error as error:
            return f"can't be set aside as {aside}: {error}; move it away by hand", False
        return f"set aside as {aside}, going on with an empty file", True

    def _checkpoint(self) -> None:
        while not self._close_soon.wait(_CHECKPOINT_SECONDS):
            # A full disk, say, is what the requests' own commits report.
            with contextlib.suppress(sqlite3.Error), _alone_in(self._path):
                self._log_is_large = _write_back(self._path)


def _code_of(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 where the error is not SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _parse(location: str) -> tuple[str, str]:
    """Return the path and the value of ``synchronous``."""
    path, _, query = location.partition("?")
    path = path.removeprefix("//")
    options = dict(parse_qsl(query))
    synchronous = options.pop("synchronous", "normal").upper()
    if options or synchronous not in ("NORMAL", "FULL") or not path:
        raise StoreError(f"sqlite:{location}: write sqlite:PATH or sqlite:PATH?synchronous=full")
    if is_missing(Path(path).parent):
        raise StoreError(f"sqlite:{path}: no folder {Path(path).parent}; make it or name another")
    return path, synchronous


def _octets_of(path: str) -> int:
    octets = 0
    for suffix in ("", "-wal"):
        with contextlib.suppress(OSError):
            octets += Path(path + suffix).stat().st_size
    return octets


def _write_back(path: str) -> bool:
    """Bring what the log of commits holds into the file; returns whether the log is large."""
    log = Path(path + "-wal")
    if not log.exists():
        return False
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    with contextlib.closing(connection):
        connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    with contextlib.suppress(OSError):
        return log.stat().st_size > _LARGE_LOG
    return False


@contextlib.contextmanager
def _alone_in(path: str) -> Iterator[None]:
    """Hold the folder of a file against other processes and threads that open or move files."""
    try:
        folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise sqlite3.OperationalError(f"folder {Path(path).parent}: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _connect(path: str, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        _use_wal(connection)
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
        connection.execute("PRAGMA cache_size=-8000")
        connection.executescript(rows.SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Put the file into WAL mode, where it is not."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            # Another worker makes the same new file; here SQLite does not wait by itself.
            if _code_of(error) not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
