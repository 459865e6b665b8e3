"""Whose a SQLite file is, told from its bytes, before SQLite opens it.

greyd's files carry an ``application_id`` and, as ``user_version``, the version of their schema
(both in the header, https://www.sqlite.org/fileformat.html, section 1.3). Files of greyd 0.1.0
carry neither; they are recognised by their schema, which has to be exactly that of 0.1.0.

Nothing here changes a file, takes a lock of SQLite's, or opens what is not a regular file. A
process must not call ``identify`` for a file that SQLite has open in it: closing a file gives up
all of the process's POSIX locks on it (fcntl(2)), SQLite's too.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from greyd.store.errors import StoreError, UnusableStoreError

APPLICATION_ID = int.from_bytes(b"grey")
SCHEMA_VERSION = 1
"""Of the files that this program makes; 0 is that of greyd 0.1.0, with the same tables."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_MAX_PAGE_BYTES = 65536
_MAX_LOG_BYTES = 4 * 1024 * 1024
"""Of the log of commits that is searched for the schema."""
_BERKELEY_DB = {0x053162: "btree", 0x061561: "hash"}
_LEAF = 13
"""Type of a page of a table without pages below it."""
_WAL = 2

# Frozen: what greyd 0.1.0 wrote. SQLite keeps the text of a statement without IF NOT EXISTS.
_SCHEMA_0 = {
    "CREATE TABLE record ( id INTEGER PRIMARY KEY, hash INTEGER NOT NULL,"
    " expires_at INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL )",
    "CREATE INDEX record_hash ON record (hash)",
}

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_NAME_ANOTHER = "name greyd's own file by --store or --dbdir, or move this one away"


class NewerStoreError(UnusableStoreError):
    """The file is of a newer greyd."""


class FileIdentity(NamedTuple):
    """What is at a path, as far as greyd may use it."""

    version: int | None
    """Of the schema; None where there is no file yet, or an empty one."""
    exists: bool = True
    is_marked: bool = False
    """It carries greyd's application id."""
    uses_wal: bool = False


def identify(path: str) -> FileIdentity:
    """Say what is at ``path``.

    Raises:
        UnusableStoreError: it is not greyd's, or of a newer greyd.
        StoreError: it can't be read.
    """
    try:
        status = Path(path).stat()
        if other := kind_of_file(status.st_mode):
            raise UnusableStoreError(f"sqlite:{path}: is {other}; {_NAME_ANOTHER}")
        if status.st_size == 0:
            return FileIdentity(None)
        page = _read(path, _MAX_PAGE_BYTES)
    except FileNotFoundError:
        return FileIdentity(None, exists=False)
    except OSError as error:
        raise StoreError(f"sqlite:{path}: {error.strerror}; run this as root") from None
    return _identify_page(path, page)


def kind_of_file(mode: int) -> str:
    """Return what a file of a mode is, e.g. "a folder"; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_a, name in _KINDS if is_a(mode)), "no file")


def is_provably_ours(path: str) -> bool:
    """Whether a file carries greyd's application id, however damaged the rest of it is."""
    try:
        return identify(path).is_marked
    except StoreError:
        return False


def check_version(path: str, version: int) -> None:
    """Refuse a schema that this program does not know.

    Raises:
        NewerStoreError: it is of a newer greyd.
    """
    if version > SCHEMA_VERSION:
        raise NewerStoreError(
            f"sqlite:{path}: written by a newer greyd (schema version {version}, this one knows"
            f" {SCHEMA_VERSION}); install that version again, or restore the backup from before"
            " the upgrade"
        )


def _identify_page(path: str, page: bytes) -> FileIdentity:
    if not page.startswith(_MAGIC) or len(page) < _HEADER_BYTES:
        raise UnusableStoreError(f"sqlite:{path}: {_describe_foreign_file(page)}; {_NAME_ANOTHER}")
    application, version = int.from_bytes(page[68:72]), int.from_bytes(page[60:64])
    uses_wal = page[18] == _WAL
    if application == APPLICATION_ID:
        check_version(path, version)
        return FileIdentity(version, is_marked=True, uses_wal=uses_wal)
    if application == version == 0 and _is_schema_0(path, page):
        return FileIdentity(0, uses_wal=uses_wal)
    raise UnusableStoreError(f"sqlite:{path}: another program's SQLite file; {_NAME_ANOTHER}")


def _describe_foreign_file(page: bytes) -> str:
    magic = page[12:16]
    if int.from_bytes(magic, "little") in _BERKELEY_DB or int.from_bytes(magic) in _BERKELEY_DB:
        return "a Berkeley DB file, as postgrey's, which greyd import takes over"
    return "not a SQLite file"


# The schema of 0.1.0 ----------------------------------------------------------------------------


def _is_schema_0(path: str, page: bytes) -> bool:
    schema = _schema_of(page)
    if schema == set():
        # 0.1.0 wrote its tables into the log of commits first, where a crash may have left them.
        schema = _schema_of(_first_page_in_log(path))
    return schema == _SCHEMA_0


def _schema_of(page: bytes) -> set[str] | None:
    """Return the statements on a file's first page, white space made even.

    SQLite's own tables (``sqlite_stat1`` of ANALYZE, for one) are left out. None where the page
    can't be read, or has more than fits on it.
    """
    if len(page) < _HEADER_BYTES + 8 or page[_HEADER_BYTES] != _LEAF:
        return None
    statements = set()
    cells = int.from_bytes(page[103:105])
    try:
        for number in range(cells):
            place = 108 + 2 * number
            name, statement = _object_at(page, int.from_bytes(page[place : place + 2]))
            if not name.startswith("sqlite_"):
                statements.add(" ".join(statement.split()))
    except (IndexError, ValueError):
        return None
    return statements


def _object_at(page: bytes, place: int) -> tuple[str, str]:
    """Return name and statement of a row of ``sqlite_schema`` (file format, sections 1.6 and 2)."""
    payload_bytes, place = _varint(page, place)
    _, place = _varint(page, place)
    if place + payload_bytes > len(page):
        raise ValueError("goes on on another page")
    header_bytes, at = _varint(page, place)
    sizes = []
    body = place + header_bytes
    while at < body:
        kind, at = _varint(page, at)
        sizes.append(_bytes_of(kind))
    _, name, _, _, statement = _texts(page, body, sizes)
    return name, statement


def _texts(page: bytes, place: int, sizes: list[int]) -> list[str]:
    texts = []
    for size in sizes:
        texts.append(page[place : place + size].decode("utf-8", "replace"))
        place += size
    return texts


def _varint(page: bytes, place: int) -> tuple[int, int]:
    value = 0
    for number in range(9):
        byte = page[place]
        place += 1
        if number == 8:
            return value << 8 | byte, place
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, place


def _bytes_of(kind: int) -> int:
    """Return how long a value of a serial type is."""
    if kind >= 12:
        return (kind - 12) // 2
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]


def _first_page_in_log(path: str) -> bytes:
    """Return the last version of the file's first page in the log of commits; empty for none."""
    with contextlib.suppress(OSError):
        log = _read(path + "-wal", _MAX_LOG_BYTES)
        page_bytes, salts = int.from_bytes(log[8:12]), log[16:24]
        if not 512 <= page_bytes <= _MAX_PAGE_BYTES:
            return b""
        found = b""
        for start in range(32, len(log) - 23 - page_bytes, 24 + page_bytes):
            is_first = int.from_bytes(log[start : start + 4]) == 1
            if is_first and log[start + 8 : start + 16] == salts:
                found = log[start + 24 : start + 24 + page_bytes]
        return found
    return b""


def _read(path: str, most: int) -> bytes:
    # Without waiting, should a FIFO have taken the file's place since it was looked at.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read(most)
