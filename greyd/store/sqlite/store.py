"""The store on one machine: a SQLite file in WAL mode, which a dedicated thread accesses.

All requests of one turn of the event loop are committed together. While a commit is in progress,
further requests gather, so a busy server commits more of them at once. The loop waits for a commit
up to ``_COMMIT_WAIT_SECONDS`` before it goes on with other work: on a quick disk this avoids
switching threads, which the interpreter's lock makes expensive; a disk that hangs blocks nothing.

Durability: with ``synchronous=NORMAL`` every acknowledged request survives a crash of the process;
a crash of the machine may lose the last commits. ``?synchronous=full`` syncs every commit.

Only the server creates a file, upgrades it, and sets a damaged one aside. A command that writes
opens an existing file; one that reads changes nothing (``greyd.store.sqlite.read_only``).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.store.contract import AccessMode, Store, StoreSize, complete
from greyd.store.errors import StoreError
from greyd.store.sqlite import rows
from greyd.store.sqlite.batch_executor import BatchExecutor
from greyd.store.sqlite.checkpointer import Checkpointer
from greyd.store.sqlite.database import Database
from greyd.store.sqlite.location import parse_location
from greyd.store.sqlite.sweeper import Sweeper
from greyd.store.sqlite.thread_reports import ThreadReports

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence

    from greyd.rules.transaction import Answer, Record, Rule
    from greyd.store.contract import DoneCallback

_COMMIT_WAIT_SECONDS = 0.005
_MAX_SWEEP_STEPS = 10
_MAX_JOIN_SECONDS = 1.0


class SqliteStore(Store):
    """A store in one file."""

    def __init__(
        self, location: str, max_bytes: float = math.inf, access: AccessMode = AccessMode.SERVE
    ) -> None:
        """Use the file at ``location``; see ``greyd.store.sqlite.location``.

        The file is opened or created when it is first needed.

        Raises:
            StoreError: the location is invalid.
        """
        self.max_bytes = max_bytes
        self._reports = ThreadReports()
        self._database = Database(parse_location(location), access, self._reports)
        self._sweeper = Sweeper()
        self._executor = BatchExecutor(
            self._database, self._reports, lambda: self.bytes_in_use >= self.max_bytes
        )
        self._checkpointer = Checkpointer(self._database, self._reports)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathered: list[rows.TransactionJob | rows.QueryJob] = []
        self._executing: list[rows.TransactionJob | rows.QueryJob] = []
        self._batches: queue.SimpleQueue[list[rows.TransactionJob | rows.QueryJob] | None] = (
            queue.SimpleQueue()
        )
        # The thread releases this after each batch; the loop acquires it and completes the jobs.
        self._executed = threading.Lock()
        self._executed.acquire()
        self._is_late = False
        self._threads = [threading.Thread(target=self._work, name="sqlite", daemon=True)]
        if access is not AccessMode.READ:
            self._threads.append(
                threading.Thread(target=self._checkpointer.run, name="checkpoint", daemon=True)
            )

    # The contract -------------------------------------------------------------------------------

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], on_done: DoneCallback) -> None:
        """Apply a rule and store its changes; see ``greyd.store.contract.TransactionalStore``."""
        self._gather(rows.TransactionJob(keys=keys, rule=rule, on_done=on_done))

    async def get(self, key: bytes) -> Record | None:
        """Return the entry under ``key``; None if it does not exist."""
        return await self._query(partial(rows.get, key=key), is_read_only=True)

    async def delete(self, keys: Sequence[bytes]) -> int:
        """Delete the entries under ``keys``; return how many existed."""
        return await self._query(partial(rows.delete, keys=keys))

    async def count(self) -> int:
        """Return the number of entries."""
        return sum([len(group) async for group in self.records()])

    async def size(self) -> StoreSize:
        """Return an upper bound of the number of rows, and the size of the file with its log."""
        entry_count = await self._query(rows.size, is_read_only=True)
        return StoreSize(entry_count, self._size_bytes() or None)

    async def records(self, containing: Sequence[bytes] = ()) -> AsyncIterator[Sequence[Record]]:
        """Yield all entries, a few hundred rows at a time, the newest first."""
        row, read = rows.NEWEST, partial(rows.entries_before, containing=tuple(containing))
        while (step := await self._query(partial(read, row=row), is_read_only=True)) is not None:
            row, records = step
            yield records

    def index_position(self, key: bytes) -> int:
        """Return the hash of a key, which is its position in the index."""
        return rows.hash_key(key)

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """The threads of the store; empty until the first request has started them."""
        return self._threads if self._loop is not None else ()

    async def maintain(self) -> None:
        """Delete some expired rows, and update ``bytes_in_use``."""
        for _ in range(_MAX_SWEEP_STEPS):
            deleted_count = await self._query(self._sweeper.sweep)
            self.bytes_in_use = self._sweeper.bytes_in_use
            if deleted_count < rows.FEW_ROWS:
                return

    def abandon(self) -> None:
        """Fail all requests with a ``StoreError``; the thread finishes its batch."""
        waiting = [*self._executing, *self._gathered]
        self._gathered = []
        for job in waiting:
            if not job.is_complete:
                job.error = StoreError(f"sqlite:{self._database.path}: too slow")
                job.complete()

    def set_problem_handlers(
        self, warn: Callable[[str], object], internal_error: Callable[[Exception], object]
    ) -> None:
        """Set the handlers of problems outside of requests; see ``greyd.store.contract.Store``."""
        self._reports.on_warning, self._reports.on_internal_error = warn, internal_error

    async def close(self) -> None:
        """Stop the threads, and close the file."""
        self._batches.put(None)
        self._checkpointer.stop()
        if self._loop is not None:
            for thread in self._threads:
                await asyncio.to_thread(thread.join, _MAX_JOIN_SECONDS)

    def _size_bytes(self) -> int:
        size_bytes = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                size_bytes += Path(self._database.path + suffix).stat().st_size
        return size_bytes

    # On the event loop's thread -----------------------------------------------------------------

    async def _query(
        self, query: Callable[[sqlite3.Connection, int], Answer], *, is_read_only: bool = False
    ) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        on_done = partial(complete, future)
        self._gather(rows.QueryJob(query=query, is_read_only=is_read_only, on_done=on_done))
        return await future

    def _gather(self, job: rows.TransactionJob | rows.QueryJob) -> None:
        loop = self._loop or self._start_threads()
        self._gathered.append(job)
        if len(self._gathered) == 1 and not self._executing:
            loop.call_soon(self._hand_over)

    def _start_threads(self) -> asyncio.AbstractEventLoop:
        self._loop = self._reports.loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()
        return self._loop

    def _hand_over(self) -> None:
        """Pass the gathered jobs to the thread; wait for it up to ``_COMMIT_WAIT_SECONDS``."""
        if self._executing or not self._gathered:
            return
        self._executing, self._gathered = self._gathered, []
        self._batches.put(self._executing)
        if not self._executed.acquire(timeout=_COMMIT_WAIT_SECONDS):
            self._is_late = True
            # The thread may have finished before it could see ``_is_late``.
            if not self._executed.acquire(blocking=False):
                return
        self._complete_batch()

    def _complete_late_batch(self) -> None:
        if self._executed.acquire(blocking=False):
            self._complete_batch()

    def _complete_batch(self) -> None:
        self._is_late = False
        executed, self._executing = self._executing, []
        for job in executed:
            job.complete()
        if self._gathered and self._loop is not None:
            # In the next turn: callbacks may begin more requests, without end.
            self._loop.call_soon(self._hand_over)

    # In the thread ------------------------------------------------------------------------------

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            error = self._executor.execute(batch)
            if error is not None:
                for job in batch:
                    job.error = error
            self._executed.release()
            if self._is_late:
                self._reports.call(self._complete_late_batch)
        with contextlib.suppress(Exception):
            self._executor.close()
