"""Copies postgrey's databases to a temporary folder, and recovers the copy.

The newest records of a stopped postgrey may exist only in its ``log.*`` files. So this module
copies the files, and recovers the copy with ``db_recover``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing.postgrey.database import BerkeleyDbFile
from greyd.cli.importing.postgrey.programs import BerkeleyDbPrograms, first_words, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DATABASES = ("postgrey.db", "postgrey_clients.db")

_MAGIC_NUMBERS = (0x053162, 0x061561)
"""The magic numbers of B-trees, which postgrey uses, and of hashes."""
MAX_HEADER_BYTES = 16
_LOG_FILE_BYTES = 4


def is_berkeley_db(header: bytes) -> bool:
    """Whether a file that begins with ``header`` is a Berkeley DB file."""
    magic = header[12:MAX_HEADER_BYTES]
    return any(magic in (each.to_bytes(4, "little"), each.to_bytes(4, "big"))
               for each in _MAGIC_NUMBERS)  # fmt: skip


@dataclass
class RecoveredCopy:
    """A recovered copy of postgrey's databases."""

    folder: Path
    programs: BerkeleyDbPrograms
    names: Sequence[str]
    problems: list[str] = field(default_factory=list)
    """Errors because of which entries may be missing."""

    def open_databases(self) -> list[BerkeleyDbFile]:
        """Check the copied databases, and return them."""
        return [BerkeleyDbFile(self.folder / name, self.programs) for name in self.names]


@contextlib.contextmanager
def recovered_copy(path: Path) -> Iterator[RecoveredCopy]:
    """Copy postgrey's folder, or one database under another name, and recover the copy.

    The original folder is only read, and its files are not locked.

    Raises:
        CommandError: the folder has no databases, or they can't be read or copied.
    """
    folder, files = (path, _files_in(path)) if path.is_dir() else (path.parent, [path])
    for file in files:
        _open_regular_file(file).close()
    # Check the folder first, so that its errors are reported even without Berkeley DB's programs.
    programs = BerkeleyDbPrograms.find()
    with tempfile.TemporaryDirectory(prefix="greyd-import-") as name:
        names = [file.name for file in files if not file.name.startswith("log.")]
        copy = RecoveredCopy(Path(name), programs, names)
        _copy_files(files, copy.folder)
        if _is_locked(folder / "postgrey.lock"):
            copy.problems.append(
                "postgrey is running: entries that it adds from now on are missing; stop it, and"
                " import again"
            )
        if len(names) < len(files):
            _recover(copy, files)
        elif any(_was_logged(copy.folder / name) for name in names):
            copy.problems.append(
                f"{folder}: none of postgrey's log.* files is there: entries that are only in them"
                " are missing; import the whole folder of postgrey"
            )
        yield copy


def _copy_files(files: Sequence[Path], folder: Path) -> None:
    try:
        for file in files:
            with _open_regular_file(file) as source, (folder / file.name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        raise CommandError(
            f"{files[0].parent}: can't be copied to {folder}: {error.strerror}; set TMPDIR to a"
            " folder with enough space"
        ) from None


def _files_in(folder: Path) -> list[Path]:
    """Return postgrey's files in its folder.

    Raises:
        CommandError: the folder has no databases, or can't be read.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror}; run this as root") from None
    if DATABASES[0] not in names:
        raise CommandError(
            f"{folder}: no {DATABASES[0]} in it; name the folder of postgrey --dbdir"
        )
    databases = [name for name in DATABASES if name in names]
    logs = sorted(name for name in names if name.startswith("log."))
    # Copy the logs last: they then contain all changes that the copied databases may have.
    return [folder / name for name in databases + logs]


def _was_logged(database: Path) -> bool:
    """Whether a database's first page was written with a log: its log sequence number is set."""
    with database.open("rb") as file:
        return any(file.read(_LOG_FILE_BYTES))


def _open_regular_file(file: Path) -> IO[bytes]:
    """Open a file of another user safely: do not follow a link, and do not block on a FIFO."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CommandError(f"{file}: not a regular file") from None
        raise CommandError(f"{file}: {error.strerror}; run this as root") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CommandError(f"{file}: not a regular file")
    return os.fdopen(descriptor, "rb")


def _is_locked(file: Path) -> bool:
    """Whether a process holds a lock on a file, according to /proc/locks (proc_locks(5))."""
    with contextlib.suppress(OSError):
        inode = file.stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
        return any(re.search(rf":{inode} ", line) for line in locks)
    return False


def _recover(copy: RecoveredCopy, files: Sequence[Path]) -> None:
    done = run_program([copy.programs.recover, "-h", copy.folder])
    if done.returncode:
        copy.problems.append(
            f"{copy.programs.recover.name}: {first_words(done.stderr)}; records that are only in"
            " the log files are missing"
        )
        # A failed recovery may have changed some of the pages.
        _copy_files([file for file in files if file.name in copy.names], copy.folder)
