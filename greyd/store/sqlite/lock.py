"""The lock of a SQLite file, held while greyd opens, closes, checkpoints or moves the file.

The lock is a file of its own beside the database, ``PATH-lock``, which only greyd's user can open:
a user who can merely read the folder can't hold it. The lock file stays when greyd ends.

The lock file names the process that holds the lock. It also records the state of the database when
greyd last wrote to it, so that greyd recognises a write-ahead log (``-wal``) that was written for
another database; see ``LockRecord``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import sys
import threading
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_WAIT_SECONDS = 2.0
"""Longer than any request waits: the circuit breaker answers first."""

_POLL_SECONDS = 0.01
_FILE_BYTES = 512
_MODE = 0o600
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""The errors of network and FUSE file systems without locks."""

OPEN = "open"
WRITING = "writing"
"""greyd is writing to the database; its state afterwards is not known yet."""


class DatabaseLockedError(StoreError):
    """Another process or thread holds the lock for longer than this one waits."""


class FileState(NamedTuple):
    """The state of a file, which changes when somebody writes to it; a list in the lock file."""

    inode: int
    size_bytes: int
    changed_at_ns: int


NO_FILE = FileState(0, 0, 0)


class WalId(NamedTuple):
    """Which file a write-ahead log is; a list in the lock file."""

    device: int
    inode: int


NO_WAL = WalId(0, 0)


@dataclass
class LockRecord:
    """What the lock file records about its database.

    Only greyd writes to the database file, at checkpoints and under the lock, and records each of
    them. So if the state of the file differs although no write was in progress, somebody has
    replaced the file, and SQLite must not replay a log that was written for the old file into it.
    """

    pid: int = 0
    program: str = ""
    """The program that holds the lock or held it last."""
    state: str = ""
    """``OPEN`` or ``WRITING``; empty if no process has the database open, or nothing is known."""
    boot: str = ""
    """The kernel's boot id: a crash of the machine may lose writes, which changes the state."""
    database: FileState = NO_FILE
    log: WalId = NO_WAL
    damaged: int = 0
    """Inode of a damaged database that other processes still have open."""

    def has_foreign_wal(self, path: str) -> bool:
        """Whether the ``-wal`` at ``path`` was written for another database than the one there."""
        if self.state != OPEN or not self.log.inode or wal_id(path) != self.log:
            return False
        now = file_state(path)
        if now.inode != self.database.inode:
            return True
        return self.boot == boot_id() and now != self.database


def file_state(path: str) -> FileState:
    """Return the state of a file; ``NO_FILE`` where there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return NO_FILE
    return FileState(status.st_ino, status.st_size, status.st_mtime_ns)


def wal_id(path: str) -> WalId:
    """Return which file a database's write-ahead log is; zeros where there is none."""
    try:
        status = Path(path + "-wal").stat()
    except OSError:
        return NO_WAL
    return WalId(status.st_dev, status.st_ino)


@cache
def boot_id() -> str:
    """Return the id of this boot of the kernel; empty where the kernel has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


class HeldLock:
    """The lock while this process holds it."""

    def __init__(self, descriptor: int, *, is_alone: bool) -> None:
        self._descriptor = descriptor
        self.is_alone = is_alone
        """Whether other processes are kept out; false on a file system without locks."""
        self.record = _parse(os.pread(descriptor, _FILE_BYTES, 0)) if is_alone else LockRecord()
        self.record.pid, self.record.program = os.getpid(), _program()
        self._write()

    def note_writing(self) -> None:
        """Record that greyd is about to write to the database."""
        self.record.state = WRITING
        self._write()

    def note_open(self, path: str) -> None:
        """Record the state of the database and its log."""
        self.record.state = OPEN
        self.record.boot = boot_id()
        self.record.database, self.record.log = file_state(path), wal_id(path)
        self._write()

    def note_closed(self) -> None:
        """Record that there is no log: it has been deleted or moved away."""
        self.record.state, self.record.damaged = "", 0
        self._write()

    def note_damaged(self, inode: int) -> None:
        """Ask the other processes to close a damaged database."""
        self.record.damaged = inode
        self._write()

    def _write(self) -> None:
        """Overwrite the old record, which needs no space on a full disk."""
        if not self.is_alone:
            return
        text = json.dumps({"greyd": asdict(self.record)}).encode()
        try:
            written_bytes = os.pwrite(self._descriptor, text.ljust(_FILE_BYTES - 1) + b"\n", 0)
        except OSError:
            written_bytes = 0
        if written_bytes != _FILE_BYTES:
            # Half of a record could be read as a whole one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)


class DatabaseLock:
    """The lock of one database, for the threads of a process and for other processes."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.path = f"{database}-lock"
        self._mutex = threading.Lock()

    @contextlib.contextmanager
    def held(self, seconds: float = MAX_WAIT_SECONDS) -> Iterator[HeldLock]:
        """Hold the lock; wait for it for up to ``seconds``.

        Raises:
            DatabaseLockedError: another process or thread holds it for longer.
            StoreError: the file at its path is not greyd's lock.
            OSError: the lock file can't be created.
        """
        deadline = time.monotonic() + seconds
        if not self._mutex.acquire(timeout=seconds):
            raise DatabaseLockedError(
                f"{self.path}: this process has been writing for more than {seconds:g} s"
            )
        try:
            descriptor, is_alone = self._acquire(deadline, seconds)
            try:
                yield HeldLock(descriptor, is_alone=is_alone)
            finally:
                os.close(descriptor)
        finally:
            self._mutex.release()

    def peek(self) -> LockRecord:
        """Read the record without holding the lock; an empty one where that fails."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, flags)
            try:
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    return _parse(os.pread(descriptor, _FILE_BYTES, 0))
            finally:
                os.close(descriptor)
        return LockRecord()

    def _acquire(self, deadline: float, seconds: float) -> tuple[int, bool]:
        while True:
            descriptor = self._open()
            try:
                is_alone = self._wait(descriptor, deadline, seconds)
                if self._is_at_path(descriptor):
                    return descriptor, is_alone
            except BaseException:
                os.close(descriptor)
                raise
            # Somebody has deleted the file meanwhile; the next process would create another one.
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        try:
            descriptor = os.open(self.path, flags, _MODE)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES) and (
                os.path.lexists(self.path)
            ):
                raise StoreError(f"{self.path} is not greyd's lock; {self._remedy()}") from None
            raise
        try:
            self._check(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, descriptor: int) -> None:
        """Raise unless the file is a lock that only greyd's user and root can open."""
        status = os.fstat(descriptor)
        owner = self._owner()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or not self._is_ours(descriptor):
            raise StoreError(f"{self.path} is not greyd's lock; {self._remedy()}")
        if status.st_uid not in (os.geteuid(), owner):
            raise StoreError(f"{self.path} belongs to user {status.st_uid}; {self._remedy()}")
        if stat.S_IMODE(status.st_mode) != _MODE:
            os.fchmod(descriptor, _MODE)
        if os.geteuid() == 0 and status.st_uid != owner:
            os.fchown(descriptor, owner, -1)

    def _owner(self) -> int:
        """Return the user who must own the lock: the database's owner, else the folder's."""
        for path in (self._database, Path(self._database).parent):
            with contextlib.suppress(OSError):
                return Path(path).stat().st_uid
        return os.geteuid()

    @staticmethod
    def _is_ours(descriptor: int) -> bool:
        """Whether the file is empty or has a record: greyd does not overwrite anything else."""
        begin = os.pread(descriptor, _FILE_BYTES, 0)
        return not begin.strip() or begin.startswith(b'{"greyd":')

    def _remedy(self) -> str:
        return "move it away, and greyd creates its own"

    def _wait(self, descriptor: int, deadline: float, seconds: float) -> bool:
        """Wait for the lock; return False where the file system has no locks."""
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DatabaseLockedError(self._held_by(descriptor, seconds)) from None
                time.sleep(_POLL_SECONDS)
            except OSError as error:
                if error.errno in _NO_LOCKS_HERE:
                    return False
                raise
            else:
                return True

    def _held_by(self, descriptor: int, seconds: float) -> str:
        record = _parse(os.pread(descriptor, _FILE_BYTES, 0))
        who = f"process {record.pid} ({record.program})" if record.pid else "another process"
        return (
            f"{who} has held {self.path} for more than {seconds:g} s; end that process if it hangs"
        )

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            there, ours = os.lstat(self.path), os.fstat(descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _parse(text: bytes) -> LockRecord:
    """Parse a record; return an empty one where the text has none."""
    try:
        values: dict[str, Any] = json.loads(text)["greyd"]
        record = LockRecord(**values)
        # JSON has them as lists.
        record.database = FileState(*map(int, record.database))
        record.log = WalId(*map(int, record.log))
    except (ValueError, TypeError, KeyError):
        return LockRecord()
    return record


def _program() -> str:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"greyd {command}".strip()[:40]
