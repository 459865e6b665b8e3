"""Opens the SQLite file of an import's source."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.store.errors import StoreError
from greyd.store.sqlite.read_only import ReadOnlyDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def open_sqlite_file(path: Path, remedy: str = "") -> Iterator[sqlite3.Connection]:
    """Open a SQLite file read-only; the connection returns texts as bytes.

    ``remedy`` is what to do if the file is damaged.

    Raises:
        CommandError: the file can't be read, or another program changed it meanwhile.
        StoreError: the file can't be opened.
    """
    try:
        opened = ReadOnlyDatabase(os.path.realpath(path))
    except StoreError as error:
        raise CommandError(_with_remedy(str(error), remedy)) from None
    with contextlib.closing(opened) as database:
        database.connection.text_factory = bytes
        try:
            yield database.connection
        except sqlite3.Error as error:
            if not database.is_stale:
                raise CommandError(_with_remedy(f"{path}: {error}", remedy)) from None
        if database.is_stale:
            raise CommandError(f"{path}: was changed while it was read; try again")


def _with_remedy(message: str, remedy: str) -> str:
    is_damage = "malformed" in message or "not a database" in message
    return f"{message}; {remedy}" if is_damage and remedy else message


def table_names(connection: sqlite3.Connection) -> set[str]:
    """Return the names of the tables in the file."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {bytes(name).decode(errors="replace") for (name,) in rows}
