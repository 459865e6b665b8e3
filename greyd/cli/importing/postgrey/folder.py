"""Copies postgrey's databases, and reads the copy with Berkeley DB's own programs.

The newest records of a stopped postgrey may exist only in its ``log.*`` files. So this module
copies the files, recovers the copy with ``db_recover``, and reads its records with ``db_dump -p``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing.postgrey.dump import KeyValue, read_dump
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.importing.items import UnreadableItem

DATABASES = ("postgrey.db", "postgrey_clients.db")

_PROGRAM_TIMEOUT_SECONDS = 1800
_MAX_MESSAGE_BYTES = 1000


# Berkeley DB's programs ---------------------------------------------------------------------------

_DUMP_PROGRAM = re.compile(r"db([0-9.]*)_dump(-[0-9.]+)?")
_USUAL_FOLDERS = ("/usr/bin", "/usr/local/bin")


@dataclass(frozen=True, slots=True)
class BerkeleyDbPrograms:
    """The paths of Berkeley DB's programs, all of one version."""

    recover: Path
    dump: Path
    stat: Path

    @classmethod
    def find(cls) -> BerkeleyDbPrograms:
        """Return the programs of version 5.3, which Debian's Perl uses, else of the newest version.

        Raises:
            CommandError: no programs are installed.
        """
        found = []
        for folder in dict.fromkeys([*os.get_exec_path(), *_USUAL_FOLDERS]):
            with contextlib.suppress(OSError):
                found += [
                    path for path in Path(folder).iterdir() if _DUMP_PROGRAM.fullmatch(path.name)
                ]
        for path in sorted(found, key=_version_preference, reverse=True):
            programs = cls(
                recover=path.with_name(path.name.replace("_dump", "_recover")),
                dump=path,
                stat=path.with_name(path.name.replace("_dump", "_stat")),
            )
            if programs.recover.exists():
                return programs
        raise CommandError(
            "db5.3_dump and db5.3_recover are needed to read postgrey's database: on Debian and"
            " Ubuntu apt install db5.3-util, on Fedora dnf install libdb-utils"
        )


def _version_preference(path: Path) -> tuple[bool, list[int]]:
    numbers = [int(number) for number in re.findall(r"[0-9]+", path.name)]
    return numbers == [5, 3], numbers


# The copy -----------------------------------------------------------------------------------------


@dataclass
class RecoveredCopy:
    """A recovered copy of postgrey's databases."""

    folder: Path
    programs: BerkeleyDbPrograms
    problems: list[str] = field(default_factory=list)
    """Errors because of which entries may be missing."""

    def count_entries(self) -> int | None:
        """Return the number of entries; None if it is unknown."""
        return sum(map(self._count_entries, self._databases())) or None

    def _count_entries(self, database: Path) -> int:
        done = _run_program([self.programs.stat, "-d", database])
        number = re.search(r"^([0-9]+)\s+Number of data items", done.stdout, re.MULTILINE)
        return int(number[1]) if number else 0

    def read_pairs(self) -> Iterator[KeyValue | UnreadableItem]:
        """Yield all keys and values."""
        for database in self._databases():
            with (
                (self.folder / "stderr").open("w+b") as stderr,
                subprocess.Popen(  # noqa: S603 - no shell, and no argument from a stranger
                    [self.programs.dump, "-p", database],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                ) as program,
            ):
                try:
                    yield from read_dump(program.stdout) if program.stdout else ()
                finally:
                    # If the caller stops early, the program would block on the full pipe.
                    program.kill()
                stderr.seek(0)
                if message := stderr.read(_MAX_MESSAGE_BYTES).strip():
                    self.problems.append(f"{database.name}: {printable(message)}")

    def _databases(self) -> Sequence[Path]:
        return [path for name in DATABASES if (path := self.folder / name).exists()]


@contextlib.contextmanager
def recovered_copy(folder: Path) -> Iterator[RecoveredCopy]:
    """Copy postgrey's files to a temporary folder, and recover the copy.

    The original folder is only read, and its files are not locked.

    Raises:
        CommandError: the folder has no databases, or they can't be read or copied.
    """
    files = _database_files(folder)
    for file in files:
        _open_regular_file(file).close()
    # Check the folder first, so that its errors are reported even without Berkeley DB's programs.
    programs = BerkeleyDbPrograms.find()
    with tempfile.TemporaryDirectory(prefix="greyd-import-") as name:
        copy = RecoveredCopy(Path(name), programs)
        try:
            for file in files:
                with _open_regular_file(file) as source, (copy.folder / file.name).open("xb") as to:
                    shutil.copyfileobj(source, to, 1 << 20)
        except OSError as error:
            raise CommandError(
                f"{folder}: can't be copied to {copy.folder}: {error.strerror}; set TMPDIR to a"
                " folder with enough space"
            ) from None
        if _is_locked(folder / "postgrey.lock"):
            copy.problems.append(
                "postgrey is running: entries that it adds from now on are missing; stop it, and"
                " import again"
            )
        _recover(copy)
        yield copy


def _database_files(folder: Path) -> list[Path]:
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


def _recover(copy: RecoveredCopy) -> None:
    if not any(copy.folder.glob("log.*")):
        return
    done = _run_program([copy.programs.recover, "-h", copy.folder])
    if done.returncode:
        message = printable(done.stderr[:_MAX_MESSAGE_BYTES].strip().encode())
        copy.problems.append(
            f"{copy.programs.recover.name}: {message}; records that are only in the log files are"
            " missing"
        )


def _run_program(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no argument from a stranger
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROGRAM_TIMEOUT_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
