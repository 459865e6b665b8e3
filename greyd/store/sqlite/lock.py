"""The lock of a SQLite file: who opens, closes, checkpoints or moves it holds it for that moment.

It is a file of its own beside the database, ``PATH-lock``, that only greyd's user can open: who can
merely read the folder can't hold it. It stays when greyd ends; nothing needs it then.

While the lock is held, its file names the holder. It also keeps what the database looked like when
greyd last wrote to it, so that a log of commits (``-wal``) beside another database is noticed: see
``SideRecord``.
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
from typing import TYPE_CHECKING, Any

from greyd.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_WAIT_SECONDS = 2.0
"""Of mail nobody waits that long: the circuit breaker answers before."""

_POLL_SECONDS = 0.01
_FILE_BYTES = 512
_MODE = 0o600
_NO_LOCKS_HERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
"""What a network or FUSE file system without locks says."""

OPEN = "open"
WRITING = "writing"
"""The database is being written; what it will look like is not known."""


class DatabaseLockedError(StoreError):
    """Somebody else holds the lock for longer than is waited."""


@dataclass
class LockRecord:
    """What the lock's file keeps about its database.

    Under the lock it is true: only greyd writes into the database itself, at checkpoints, and each
    of them is noted. So where the database looks different and no write was under way, somebody
    else has put another file in its place, and a log that was written for the file before must not
    be replayed into it.
    """

    pid: int = 0
    program: str = ""
    """Who holds the lock, or held it last."""
    state: str = ""
    """``OPEN`` or ``WRITING``; empty where nobody has the database open, or nothing is known."""
    boot: str = ""
    """Of the kernel: what was on its way to the disk may be lost with the machine."""
    database: tuple[int, int, int] = (0, 0, 0)
    """Inode, size in bytes, time of the last change in nanoseconds."""
    log: tuple[int, int] = (0, 0)
    """Device and inode of the ``-wal``."""
    damaged: int = 0
    """Inode of a database that was found damaged while other processes have it open."""

    def is_foreign_log(self, path: str) -> bool:
        """Whether the ``-wal`` at ``path`` was written for another database than the one there."""
        if self.state != OPEN or not self.log[1] or wal_id(path) != self.log:
            return False
        now = file_state(path)
        if now[0] != self.database[0]:
            return True
        return self.boot == boot_id() and now != self.database


def file_state(path: str) -> tuple[int, int, int]:
    """Return inode, size and time of the last change of a file; zeros where there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns


def wal_id(path: str) -> tuple[int, int]:
    """Return device and inode of a database's log of commits; zeros where there is none."""
    try:
        status = Path(path + "-wal").stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


@cache
def boot_id() -> str:
    """Return what tells this start of the kernel from others; empty where that can't be told."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


class HeldLock:
    """The lock, while it is held."""

    def __init__(self, descriptor: int, *, is_alone: bool) -> None:
        self._descriptor = descriptor
        self.is_alone = is_alone
        """Whether other processes are kept out; not on a file system without locks."""
        self.record = _parse(os.pread(descriptor, _FILE_BYTES, 0)) if is_alone else LockRecord()
        self.record.pid, self.record.program = os.getpid(), _program()
        self._write()

    def note_writing(self) -> None:
        """Note that the database is about to be written."""
        self.record.state = WRITING
        self._write()

    def note_open(self, path: str) -> None:
        """Note what the database looks like now, with its log."""
        self.record.state = OPEN
        self.record.boot = boot_id()
        self.record.database, self.record.log = file_state(path), wal_id(path)
        self._write()

    def note_closed(self) -> None:
        """Note that nothing is known: the log is gone, or has been moved away."""
        self.record.state, self.record.damaged = "", 0
        self._write()

    def note_damaged(self, inode: int) -> None:
        """Ask the other processes that have a database open to let go of it."""
        self.record.damaged = inode
        self._write()

    def _write(self) -> None:
        """Write the record over the old one: that needs no room on a full disk."""
        if not self.is_alone:
            return
        text = json.dumps({"greyd": asdict(self.record)}).encode()
        try:
            done = os.pwrite(self._descriptor, text.ljust(_FILE_BYTES - 1) + b"\n", 0)
        except OSError:
            done = 0
        if done != _FILE_BYTES:
            # Half a record could be taken for a whole one.
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
        """Hold it, after ``seconds`` at the most.

        Raises:
            StoreLocked: somebody else holds it for longer.
            StoreError: something else is at its path.
            OSError: it can't be made.
        """
        deadline = time.monotonic() + seconds
        if not self._mutex.acquire(timeout=seconds):
            raise DatabaseLockedError(
                f"{self.path}: this process writes the file for longer than that"
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
        """Read the record without the lock; an empty one where that can't be done."""
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
            # Somebody has removed it meanwhile: the next one to open it makes another.
            os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        try:
            descriptor = os.open(self.path, flags, _MODE)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES) and (
                os.path.lexists(self.path)
            ):
                raise StoreError(f"{self.path}: is not greyd's lock; {self._remedy()}") from None
            raise
        try:
            self._check(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, descriptor: int) -> None:
        """See that the file is one that only greyd's user and root can open."""
        status = os.fstat(descriptor)
        owner = self._owner()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or not self._is_ours(descriptor):
            raise StoreError(f"{self.path}: is not greyd's lock; {self._remedy()}")
        if status.st_uid not in (os.geteuid(), owner):
            raise StoreError(f"{self.path}: belongs to user {status.st_uid}; {self._remedy()}")
        if stat.S_IMODE(status.st_mode) != _MODE:
            os.fchmod(descriptor, _MODE)
        if os.geteuid() == 0 and status.st_uid != owner:
            os.fchown(descriptor, owner, -1)

    def _owner(self) -> int:
        """Return whose the lock has to be: the database's owner, else the folder's."""
        for path in (self._database, Path(self._database).parent):
            with contextlib.suppress(OSError):
                return Path(path).stat().st_uid
        return os.geteuid()

    @staticmethod
    def _is_ours(descriptor: int) -> bool:
        """Whether the file holds a record or nothing: what somebody else wrote is left alone."""
        begin = os.pread(descriptor, _FILE_BYTES, 0)
        return not begin.strip() or begin.startswith(b'{"greyd":')

    def _remedy(self) -> str:
        return "move it away, greyd makes its own"

    def _wait(self, descriptor: int, deadline: float, seconds: float) -> bool:
        """Wait for the lock; returns False where the file system has none."""
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
        return f"{self.path} is held by {who} for longer than {seconds:g} s; end it if it hangs"

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            there, ours = os.lstat(self.path), os.fstat(descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _parse(text: bytes) -> LockRecord:
    """Read a record; an empty one where there is none."""
    try:
        values: dict[str, Any] = json.loads(text)["greyd"]
        record = LockRecord(**values)
        record.database = tuple(map(int, record.database))  # type: ignore[assignment] # checked next
        record.log = tuple(map(int, record.log))  # type: ignore[assignment] # checked next
        if len(record.database) == 3 and len(record.log) == 2:
            return record
    except (ValueError, TypeError, KeyError):
        pass
    return LockRecord()


def _program() -> str:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"greyd {command}".strip()[:40]
