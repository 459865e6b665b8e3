"""Creates, checks and upgrades the schema of greyd's SQLite files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.store.sqlite.file_identity import APPLICATION_ID, SCHEMA_VERSION, check_version
from greyd.store.sqlite.rows import SCHEMA

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

VERSION = SCHEMA_VERSION

_STEPS: Sequence[Callable[[sqlite3.Connection], object]] = (
    # 0 to 1: the same tables, and greyd's application id in the header.
    lambda _connection: None,
)
"""Step N upgrades a file from version N to N + 1."""


def make(connection: sqlite3.Connection) -> None:
    """Create the tables and set greyd's application id in an empty file, in one transaction."""
    _in_one_transaction(connection, 0)


def upgrade(connection: sqlite3.Connection, path: str) -> int | None:
    """Upgrade a file of an older version, in one transaction.

    Returns:
        The file's old version; None if it was up to date.

    Raises:
        NewerStoreError: the file's version is newer than this program's.
    """
    version = check(connection, path)
    if version == VERSION and _pragma(connection, "application_id") == APPLICATION_ID:
        return None
    _in_one_transaction(connection, version)
    return version


def check(connection: sqlite3.Connection, path: str) -> int:
    """Return the schema version of a file, even if only the write-ahead log has it yet.

    Raises:
        NewerStoreError: the version is newer than this program's.
    """
    version = _pragma(connection, "user_version")
    check_version(path, version)
    return version


def _in_one_transaction(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        for step in _STEPS[version:]:
            step(connection)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
