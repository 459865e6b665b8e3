"""What postgrey has remembered, read from its Berkeley DB by Berkeley DB's own programs.

The newest records of a postgrey that was stopped may be in its ``log.*`` files alone. So its files
are copied, the copy is recovered, and what ``db_dump -p`` writes of the copy is read::

    VERSION=3
    format=print                            printable; "bytevalue" is hexadecimal
    HEADER=END
     192.0.2.0/alice@example.com/bob@example.org      a key, behind a space
     1700000000,1700000400                            its value
    DATA=END

Keys and values, as postgrey 1.37 writes them::

    triplet = network "/" sender "/" recipient          first-seen "," last-seen
            | address "/" bits "/" sender "/" recipient     with --lookup-by-host
    client  = address                                   count "," last-counted

IPv6 addresses are written in full. With ``--privacy`` a key is a SHA-1 in hexadecimal.
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
from binascii import unhexlify
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from greyd.cli.errors import CommandError
from greyd.cli.importing.merging import Found, Item, Refused, Unreadable, as_passed_here
from greyd.escaping import printable
from greyd.rules.address import parse_address
from greyd.rules.entries import EntryKind
from greyd.rules.keys import keys_of_normal
from greyd.rules.records import Client, Triplet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from greyd.config.settings import Settings
    from greyd.rules.address import Address

DATABASES = ("postgrey.db", "postgrey_clients.db")

MAX_LINE_LENGTH = 16 * 1024
"""Octets. Postgrey cuts names at 512 octets, each of which the dump writes in three at most."""

_MAX_HEADER_LINES = 100
_RECOVERY_SECONDS = 1800

_SALVAGED = "the dump ends before its end (DATA=END)"


# The programs -------------------------------------------------------------------------------------

_DUMP = re.compile(r"db([0-9.]*)_dump(-[0-9.]+)?")
_USUAL_FOLDERS = ("/usr/bin", "/usr/local/bin")


class Programs(NamedTuple):
    """Berkeley DB's, of one version."""

    recover: Path
    dump: Path
    stat: Path

    @classmethod
    def find(cls) -> Programs:
        """Return those of version 5.3, which postgrey's Perl uses on Debian, else the newest.

        Raises:
            AdminError: there are none.
        """
        found = []
        for folder in dict.fromkeys([*os.get_exec_path(), *_USUAL_FOLDERS]):
            with contextlib.suppress(OSError):
                found += [path for path in Path(folder).iterdir() if _DUMP.fullmatch(path.name)]
        sets = [
            cls(path.with_name(path.name.replace("_dump", "_recover")), path,
                path.with_name(path.name.replace("_dump", "_stat")))
            for path in sorted(found, key=_merit, reverse=True)
        ]  # fmt: skip
        for programs in sets:
            if programs.recover.exists():
                return programs
        raise CommandError(
            "db5.3_dump and db5.3_recover are needed to read postgrey's database: on Debian and"
            " Ubuntu apt install db5.3-util, on Fedora dnf install libdb-utils"
        )


def _merit(path: Path) -> tuple[bool, list[int]]:
    numbers = [int(number) for number in re.findall(r"[0-9]+", path.name)]
    return numbers == [5, 3], numbers


# The folder ---------------------------------------------------------------------------------------


@dataclass
class Folder:
    """A folder of postgrey's: a recovered copy of it, and what is odd about it."""

    copy: Path
    programs: Programs
    remarks: list[str] = field(default_factory=list)

    def count(self) -> int | None:
        """Return how many entries there are; None where that can't be told."""
        return sum(map(self._count, self._databases())) or None

    def _count(self, database: Path) -> int:
        done = _run([self.programs.stat, "-d", database])
        number = re.search(r"^([0-9]+)\s+Number of data items", done.stdout, re.MULTILINE)
        return int(number[1]) if number else 0

    def pairs(self) -> Iterator[Pair | Unreadable]:
        """Go through all entries."""
        for database in self._databases():
            with (
                (self.copy / "complaints").open("w+b") as complaints,
                subprocess.Popen(  # noqa: S603 - no shell; no word is a stranger's
                    [self.programs.dump, "-p", database],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=complaints,
                ) as dumping,
            ):
                try:
                    yield from read_dump(dumping.stdout) if dumping.stdout else ()
                finally:
                    # Where nobody reads on, it is not to write on.
                    dumping.kill()
                complaints.seek(0)
                if said := complaints.read(1000).strip():
                    self.remarks.append(f"{database.name}: {printable(said)}")

    def _databases(self) -> Sequence[Path]:
        return [path for name in DATABASES if (path := self.copy / name).exists()]


@contextlib.contextmanager
def open_folder(folder: Path) -> Iterator[Folder]:
    """Copy postgrey's files from its folder, and recover the copy.

    The folder is only read, and nothing in it is locked.

    Raises:
        AdminError: there are none, or they can't be read.
    """
    files = _files(folder)
    for file in files:
        _open(file).close()
    # Only now: who names the wrong folder, or may not read it, needs no package.
    programs = Programs.find()
    with tempfile.TemporaryDirectory(prefix="greyd-import-") as name:
        copied = Folder(Path(name), programs)
        try:
            for file in files:
                with _open(file) as original, (copied.copy / file.name).open("xb") as target:
                    shutil.copyfileobj(original, target, 1 << 20)
        except OSError as error:
            raise CommandError(
                f"{folder}: can't be copied to {copied.copy}: {error.strerror}; set TMPDIR to a"
                " folder with room"
            ) from None
        if _is_locked(folder / "postgrey.lock"):
            copied.remarks.append(
                "postgrey is running: what it learns from now on is not in here; stop it, and"
                " import once more"
            )
        _recover(copied)
        yield copied


def _files(folder: Path) -> list[Path]:
    """Return postgrey's files in its folder.

    Raises:
        AdminError: it has none, or can't be read.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror}; run this as root") from None
    if DATABASES[0] not in names:
        raise CommandError(
            f"{folder}: no {DATABASES[0]} in it; name the folder of postgrey's --dbdir"
        )
    # What is in the databases while postgrey runs is in its logs too, if these are copied later.
    databases = [name for name in DATABASES if name in names]
    logs = sorted(name for name in names if name.startswith("log."))
    return [folder / name for name in databases + logs]


def _open(file: Path) -> IO[bytes]:
    """Open a file in a folder of another user's: no link and no pipe is followed."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CommandError(f"{file}: no regular file") from None
        raise CommandError(f"{file}: {error.strerror}; run this as root") from None
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise CommandError(f"{file}: no regular file")
    return os.fdopen(opened, "rb")


def _is_locked(file: Path) -> bool:
    """Whether somebody holds a lock on a file, as the kernel tells (proc_locks(5))."""
    with contextlib.suppress(OSError):
        inode = file.stat().st_ino
        locks = Path("/proc/locks").read_text().splitlines()
        return any(re.search(rf":{inode} ", line) for line in locks)
    return False


def _recover(copied: Folder) -> None:
    if not any(copied.copy.glob("log.*")):
        return
    done = _run([copied.programs.recover, "-h", copied.copy])
    if done.returncode:
        copied.remarks.append(
            f"{copied.programs.recover.name}: {printable(done.stderr[:1000].strip().encode())};"
            " what is in the log files alone is missing"
        )


def _run(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - no shell; no word is a stranger's
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_RECOVERY_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


# The dump -----------------------------------------------------------------------------------------


class Pair(NamedTuple):
    """A key and its value."""

    key: bytes
    value: bytes


def read_dump(stream: IO[bytes]) -> Iterator[Pair | Unreadable]:
    """Read what ``db_dump`` has written, of one database or of several in turn.

    Whatever the stream holds, no more than a line of it is held.

    Raises:
        AdminError: it does not begin as a dump does.
    """
    lines = _lines(stream)
    first = next(lines, None)
    if first is None or not first.startswith(b"VERSION="):
        shown = printable((first or b"")[:60])
        raise CommandError(f'no output of db_dump: it begins with "{shown}", not with VERSION=')
    yield from _read_database(lines)
    for line in lines:
        if line.startswith(b"VERSION="):
            yield from _read_database(lines)
        elif line:
            yield Unreadable(line[:_SHOWN])


_SHOWN = 200
"""Octets of what can't be read that are kept to be shown."""

_TOO_LONG = b"\0"
"""Begins what stands for a line that is too long, which no dump has."""


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE_LENGTH):
        if line.endswith(b"\n"):
            yield line[:-1]
            continue
        rest = False
        while more := stream.readline(MAX_LINE_LENGTH):
            rest = True
            if more.endswith(b"\n"):
                break
        yield _TOO_LONG + line[:_SHOWN] if rest else line


def _read_database(lines: Iterator[bytes]) -> Iterator[Pair | Unreadable]:
    decode: Callable[[bytes], bytes] = _printable
    for _, line in zip(range(_MAX_HEADER_LINES), lines, strict=False):
        if line == b"HEADER=END":
            break
        if line == b"format=bytevalue":
            decode = unhexlify
    for line in lines:
        if line == b"DATA=END":
            return
        value = next(lines, b"DATA=END")
        if value == b"DATA=END":
            # A key without a value.
            yield Unreadable(line[:_SHOWN])
            return
        try:
            if line[:1] != b" " or value[:1] != b" ":
                raise ValueError
            yield Pair(decode(line[1:]), decode(value[1:]))
        except ValueError:
            yield Unreadable(b" ".join((line[:_SHOWN], value[:_SHOWN])))
    yield Unreadable(_SALVAGED.encode())


_ESCAPE = re.compile(rb"\\(\\|[0-9a-fA-F]{2}|)")


def _printable(text: bytes) -> bytes:
    return _ESCAPE.sub(_unescaped, text) if b"\\" in text else text


def _unescaped(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    if not code:
        raise ValueError
    return code if code == b"\\" else unhexlify(code)


# Entries ------------------------------------------------------------------------------------------

_VALUE = re.compile(rb"([0-9]{1,15}),([0-9]{1,15})")
_HASH = re.compile(rb"[0-9a-f]{40}")
_MAX_COUNT = 10**8
"""A count is below it, a time since 1973 above."""

_HASHED = (
    "keys of postgrey --privacy tell no names, and this server looks for others; they can only be"
    " used with --privacy and without --privacy-key"
)


@dataclass
class Reading:
    """How postgrey's entries become those of a server, and what its networks were."""

    settings: Settings
    delay_seconds: int
    """Postgrey's."""
    networks: Networks = field(init=False)

    def __post_init__(self) -> None:
        """Begin without any network."""
        self.networks = Networks(self.settings)

    def understand_all(self, pairs: Iterable[Pair | Unreadable]) -> Iterator[Item]:
        """Say what each pair of a dump means."""
        for pair in pairs:
            yield pair if isinstance(pair, Unreadable) else self.understand(pair)

    def understand(self, pair: Pair) -> Item:
        """Say what a pair means."""
        numbers = _VALUE.fullmatch(pair.value)
        if numbers is None:
            return _unreadable(pair)
        first, last = int(numbers[1]), int(numbers[2])
        if b"/" not in pair.key:
            return self._without_names(pair, first, last)
        keys = self._triplet_keys(pair.key)
        if keys is None:
            return _unreadable(pair)
        return Found(EntryKind.TRIPLET, keys, self._triplet(first, last))

    def _triplet(self, first: int, last: int) -> Triplet:
        return as_passed_here(Triplet(first, last), self.delay_seconds, self.settings)

    def _without_names(self, pair: Pair, first: int, last: int) -> Item:
        """Say what a client's entry means, or one of ``--privacy``."""
        address = parse_address(pair.key)
        if address is not None:
            key = keys_of_normal(address, b"", b"", self.settings).client
            return Found(EntryKind.CLIENT, (key,), Client(first, last))
        if not _HASH.fullmatch(pair.key):
            return _unreadable(pair)
        kind = EntryKind.CLIENT if first < _MAX_COUNT else EntryKind.TRIPLET
        if not self.settings.privacy or self.settings.privacy_key is not None:
            return Refused(kind, _HASHED, is_wrong=True)
        if kind is EntryKind.CLIENT:
            return Found(kind, (b":" + pair.key,), Client(first, last))
        return Found(kind, (b"/" + pair.key,), self._triplet(first, last))

    def _triplet_keys(self, key: bytes) -> tuple[bytes, ...] | None:
        """Return the keys of a triplet here; None where it is none."""
        network, _, rest = key.partition(b"/")
        address = parse_address(network)
        if address is None or b"/" not in rest:
            return None
        bits, _, behind = rest.partition(b"/")
        if bits == b"%d" % address.bits and b"/" in behind:
            rest = behind
        self.networks.note(address)
        found = (
            keys_of_normal(address, sender, recipient, self.settings).triplet
            for sender, recipient in split_names(rest)
        )
        return tuple(dict.fromkeys(found))


def _unreadable(pair: Pair) -> Unreadable:
    return Unreadable(b" ".join((pair.key[:_SHOWN], pair.value[:_SHOWN])))


_MAX_SLASHES = 16
_MAX_SPLITS = 4


def split_names(names: bytes) -> Sequence[tuple[bytes, bytes]]:
    """Return sender and recipient out of ``sender "/" recipient``, where both may hold a slash.

    A recipient has a domain, a sender has one or is empty, and no domain has a slash. Where that
    leaves more than one way, all are returned, up to ``_MAX_SPLITS``.
    """
    if names.count(b"/") == 1:
        sender, _, recipient = names.partition(b"/")
        return ((sender, recipient),)
    parts = names.split(b"/")
    splits = [
        (b"/".join(parts[:at]), b"/".join(parts[at:]))
        for at in range(max(1, len(parts) - _MAX_SLASHES), len(parts))
    ]
    likely = [(not sender or _has_domain(sender)) + _has_domain(recipient)
              for sender, recipient in splits]  # fmt: skip
    best = [split for split, each in zip(splits, likely, strict=True) if each == max(likely)]
    return best[-_MAX_SPLITS:]


def _has_domain(address: bytes) -> bool:
    _, at, domain = address.rpartition(b"@")
    return bool(at and domain) and b"/" not in domain


# Networks -----------------------------------------------------------------------------------------

_ENOUGH = 32
"""Networks that must all have zeros where the server's would not, before one speaks of it."""


class Networks:
    """How wide the networks of a database are, beside those that the server looks for."""

    def __init__(self, settings: Settings) -> None:
        """Compare with the server's."""
        self._settings = settings
        self._seen = {32: 0, 128: 0}
        self._some: dict[int, set[int]] = {32: set(), 128: set()}

    def note(self, address: Address) -> None:
        """Take note of a network."""
        self._seen[address.bits] |= address.number
        some = self._some[address.bits]
        if len(some) < _ENOUGH:
            some.add(address.number)

    def remarks(self) -> Iterator[tuple[str, bool]]:
        """Yield what is to be said, and whether it is wrong."""
        for bits, option in ((32, "ipv4cidr"), (128, "ipv6cidr")):
            seen = self._seen[bits]
            finest = bits - (seen & -seen).bit_length() + 1 if seen else 0
            prefix = bits if self._settings.lookup_by_host else getattr(self._settings, option)
            if finest > prefix:
                yield (
                    f"the database has networks of /{finest} (--lookup-by-host, --{option}): cut"
                    f" to /{prefix}, as this server looks for them",
                    False,
                )
            elif len(self._some[bits]) == _ENOUGH and finest < prefix:
                yield (
                    f"the database was made with --{option}={finest}, and this server looks for"
                    f" /{prefix}: it will not find the triplets; give it --{option}={finest} too,"
                    " and import once more",
                    True,
                )
