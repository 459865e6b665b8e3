"""The schema of greyd's SQLite files: how it is made, marked, and brought up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.store.sqlite.file_identity import APPLICATION_ID, SCHEMA_VERSION, check_version
from greyd.store.sqlite.rows import SCHEMA

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

VERSION = SCHEMA_VERSION

_STEPS: Sequence[Callable[[sqlite3.Connection], object]] = (
    # 0 to 1: the same tables; from now on the file is marked.
    lambda _connection: None,
)
"""The step at place N brings a file from version N to N + 1."""


def make(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file, and mark it: all or nothing."""
    _in_one_transaction(connection, 0)


def upgrade(connection: sqlite3.Connection, path: str) -> int | None:
    """Bring a file of an older version up to date, in one transaction.

    Returns:
        Its version before; None where nothing was to do.

    Raises:
        NewerStoreError: it is of a newer version.
    """
    version = check(connection, path)
    if version == VERSION and _pragma(connection, "application_id") == APPLICATION_ID:
        return None
    _in_one_transaction(connection, version)
    return version


def check(connection: sqlite3.Connection, path: str) -> int:
    """Return a file's version, as the log of commits knows it too.

    Raises:
        NewerStoreError: it is of a newer version.
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
