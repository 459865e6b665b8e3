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
"""How long a thread waits for the lock; the circuit breaker answers its requests earlier."""

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
    """The state of a file, which changes with each write; stored as a list in the lock file."""

    inode: int
    size_bytes: int
    changed_at_ns: int


NO_FILE = FileState(0, 0, 0)


class WalId(NamedTuple):
    """The identity of a write-ahead log's file; stored as a list in the lock file."""

    device: int
    inode: int


NO_WAL = WalId(0, 0)


@dataclass
class LockRecord:
    """The content of the lock file: the lock's holder, and the state of the database.

    Only greyd writes to the database file, at checkpoints and under the lock, and then records the
    file's state. If the state differs although no write was in progress, somebody has replaced the
    file, and SQLite must not replay the old file's log into the new file.
    """

    pid: int = 0
    program: str = ""
    """The program that holds the lock or held it last."""
    state: str = ""
    """``OPEN`` or ``WRITING``; empty if no process has the database open, or nothing is known."""
    boot: str = ""
    """The kernel's boot id: after a crash of the machine, lost writes may change the state."""
    database: FileState = NO_FILE
    log: WalId = NO_WAL
    damaged: int = 0
    """Inode of a damaged database that other processes still have open."""

    def has_foreign_wal(self, path: str) -> bool:
        """Whether the ``-wal`` beside the database ``path`` was written for another database."""
        if self.state != OPEN or not self.log.inode or wal_id(path) != self.log:
            return False
        now = file_state(path)
        if now.inode != self.database.inode:
            return True
        return self.boot == boot_id() and now != self.database


def file_state(path: str) -> FileState:
    """Return the state of a file; ``NO_FILE`` if it does not exist."""
    try:
        status = Path(path).stat()
    except OSError:
        return NO_FILE
    return FileState(status.st_ino, status.st_size, status.st_mtime_ns)


def wal_id(path: str) -> WalId:
    """Return the identity of a database's write-ahead log; ``NO_WAL`` if it does not exist."""
    try:
        status = Path(path + "-wal").stat()
    except OSError:
        return NO_WAL
    return WalId(status.st_dev, status.st_ino)


@cache
def boot_id() -> str:
    """Return the id of this boot of the kernel; empty if the kernel has none."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


class HeldLock:
    """The lock while this process holds it."""

    def __init__(self, descriptor: int, *, is_alone: bool) -> None:
        self._descriptor = descriptor
        self.is_alone = is_alone
        """Whether the lock excludes other processes; False on a file system without locks."""
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
        """Record that the write-ahead log has been deleted or moved away."""
        self.record.state, self.record.damaged = "", 0
        self._write()

    def note_damaged(self, inode: int) -> None:
        """Record a damaged database, so that the other processes close it."""
        self.record.damaged = inode
        self._write()

    def _write(self) -> None:
        """Overwrite the old record in place, which works on a full disk too."""
        if not self.is_alone:
            return
        text = json.dumps({"greyd": asdict(self.record)}).encode()
        try:
            written_bytes = os.pwrite(self._descriptor, text.ljust(_FILE_BYTES - 1) + b"\n", 0)
        except OSError:
            written_bytes = 0
        if written_bytes != _FILE_BYTES:
            # A partly overwritten record could be mistaken for a complete one.
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
            DatabaseLockedError: another process or thread holds the lock for longer.
            StoreError: the file at the lock's path is not greyd's.
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
        """Read the record without holding the lock; return an empty one if that fails."""
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
            # Somebody has deleted the file meanwhile; another process would lock a new file.
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
        """Return the uid that must own the lock file: the database's, else the folder's owner."""
        for path in (self._database, Path(self._database).parent):
            with contextlib.suppress(OSError):
                return Path(path).stat().st_uid
        return os.geteuid()

    @staticmethod
    def _is_ours(descriptor: int) -> bool:
        """Whether the file is empty or contains a record: greyd overwrites nothing else."""
        begin = os.pread(descriptor, _FILE_BYTES, 0)
        return not begin.strip() or begin.startswith(b'{"greyd":')

    def _remedy(self) -> str:
        return "move it away, and greyd creates its own"

    def _wait(self, descriptor: int, deadline: float, seconds: float) -> bool:
        """Wait for the lock; return False if the file system does not support locks."""
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
    """Parse a record; return an empty one if the text is not a record."""
    try:
        values: dict[str, Any] = json.loads(text)["greyd"]
        record = LockRecord(**values)
        # JSON stores these tuples as lists.
        record.database = FileState(*map(int, record.database))
        record.log = WalId(*map(int, record.log))
    except (ValueError, TypeError, KeyError):
        return LockRecord()
    return record


def _program() -> str:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    return f"greyd {command}".strip()[:40]
