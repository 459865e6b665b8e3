"""Recognises greyd's SQLite files by their bytes, before SQLite opens them.

The header of greyd's files has an ``application_id`` and, as ``user_version``, the version of the
schema (https://www.sqlite.org/fileformat.html, section 1.3). Files of greyd 0.1.0 have neither;
greyd recognises them by their schema, which must be exactly that of 0.1.0.

This module changes no file, takes no lock of SQLite's, and opens only regular files. A process must
not call ``identify`` for a file that SQLite has open in it: closing a file releases all of the
process's POSIX locks on it (fcntl(2)), including SQLite's.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from greyd.store.errors import StoreError, UnusableStoreError

APPLICATION_ID = int.from_bytes(b"grey")
SCHEMA_VERSION = 1
"""The version of new files; 0 is that of greyd 0.1.0, with the same tables."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_MAX_PAGE_BYTES = 65536
_MAX_WAL_BYTES = 4 * 1024 * 1024
"""The part of the write-ahead log in which greyd searches for the schema."""
_BERKELEY_DB = {0x053162: "btree", 0x061561: "hash"}
_LEAF = 13
"""The type byte of a table's leaf page (file format, section 1.6)."""
_WAL = 2

# Frozen: the statements of greyd 0.1.0. SQLite keeps the text of a statement without IF NOT EXISTS.
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

_NAME_ANOTHER = "set --store or --dbdir to greyd's own file, or move this one away"


class NewerStoreError(UnusableStoreError):
    """A newer greyd wrote the file."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """The identity of a file that greyd may use as its store, or may create."""

    version: int | None
    """The version of the schema; None if the file is empty or does not exist."""
    exists: bool = True
    is_marked: bool = False
    """Whether the header has greyd's application id."""
    uses_wal: bool = False


def identify(path: str) -> FileIdentity:
    """Identify the file at ``path``.

    Raises:
        UnusableStoreError: the file is not greyd's, or a newer greyd wrote it.
        StoreError: the file can't be read.
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
    """Return the kind of a file by its mode, e.g. "a folder"; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((name for is_a, name in _KINDS if is_a(mode)), "no file")


def is_provably_ours(path: str) -> bool:
    """Whether a file's header has greyd's application id, however damaged the rest is."""
    try:
        return identify(path).is_marked
    except StoreError:
        return False


def check_version(path: str, version: int) -> None:
    """Raise if a file's schema version is newer than this program's.

    Raises:
        NewerStoreError: the version is newer.
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
        # 0.1.0 wrote its tables to the write-ahead log first, where a crash may have left them.
        schema = _schema_of(_first_page_in_log(path))
    return schema == _SCHEMA_0


def _schema_of(page: bytes) -> set[str] | None:
    """Return the schema's statements on a file's first page, with single spaces.

    Omits SQLite's own tables, e.g. ``sqlite_stat1``, which ANALYZE makes. Returns None if the page
    is malformed, or the schema does not fit on it.
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
    """Return the name and statement in a row of ``sqlite_schema`` (file format, 1.6 and 2)."""
    payload_bytes, place = _varint(page, place)
    _, place = _varint(page, place)
    if place + payload_bytes > len(page):
        raise ValueError("continued on another page")
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
    """Return the length of a value in bytes, given its serial type (file format, section 2.1)."""
    if kind >= 12:
        return (kind - 12) // 2
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[kind]


def _first_page_in_log(path: str) -> bytes:
    """Return the latest first page in the write-ahead log; empty if it has none."""
    with contextlib.suppress(OSError):
        log = _read(path + "-wal", _MAX_WAL_BYTES)
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


def _read(path: str, max_bytes: int) -> bytes:
    # Do not wait if a FIFO has replaced the file since its status was read.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read(max_bytes)
