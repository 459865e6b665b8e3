"""Reads an SQL dump of sqlgrey's database into a temporary SQLite database.

A dump has its rows in any order and one table after another, but the import needs all rows of a
client together. SQLite sorts them, on disk if there are many.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing.sql.rows import SqlDump, SqlRow
from greyd.cli.importing.sqlgrey import ADDRESS_TABLES, COLUMNS, OTHER_NAMES, TIMES
from greyd.cli.importing.timestamps import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import tzinfo
    from typing import IO

_TABLES = {**COLUMNS, **ADDRESS_TABLES}
_LOST = "lost_and_found"
"""The table for what sqlite3's command .recover cannot assign."""
_MAX_TEXT_BYTES = 1000
"""Longer values are cut: sqlgrey's columns have at most 255 characters."""


@dataclass(frozen=True, slots=True)
class SqlgreyDump:
    """The tables of a dump, and what is wrong with it."""

    connection: sqlite3.Connection
    problem: str
    """Why rows may be missing; empty if none is."""


@contextlib.contextmanager
def open_dump(stream: IO[bytes], begin: bytes, zone: tzinfo | None) -> Iterator[SqlgreyDump]:
    """Read a dump that begins with ``begin``.

    ``zone`` is the time zone of dates, if the dump sets none.

    Raises:
        CommandError: the dump has none of sqlgrey's tables.
    """
    dump = SqlDump(stream, begin, _TABLES)
    # An empty name: a temporary database, on disk as far as it does not fit into the cache.
    with contextlib.closing(sqlite3.connect("")) as connection:
        connection.text_factory = bytes
        for table, columns in _TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        _fill(connection, dump, zone)
        if not dump.tables.keys() & COLUMNS.keys():
            found = ", ".join(dump.tables) or "none"
            raise CommandError(
                "the dump has none of sqlgrey's tables (connect, from_awl, domain_awl); its tables:"
                f" {found[:200]}"
            )
        yield SqlgreyDump(connection, _problem(dump))


def _problem(dump: SqlDump) -> str:
    """Return why rows may be missing; empty if none are."""
    if dump.is_cut:
        return "the dump ends too early: its last rows are missing"
    if dump.was_database_damaged:
        return (
            "the dump ends with ROLLBACK: the database was damaged when it was dumped, and the rows"
            " that could not be read are missing"
        )
    if any(name.startswith(_LOST) for name in dump.tables):
        return (
            f"the database was damaged: the rows in {_LOST} are not imported, because sqlite3"
            " can't assign them to a table"
        )
    return ""


def _fill(connection: sqlite3.Connection, dump: SqlDump, zone: tzinfo | None) -> None:
    with connection:
        for row in dump.rows():
            columns = _TABLES[row.table]
            marks = ", ".join("?" * len(columns))
            values = _values_in_order(row, columns, dump.zone or zone)
            connection.execute(f"INSERT INTO {row.table} VALUES ({marks})", values)  # noqa: S608


def _values_in_order(
    row: SqlRow, columns: Sequence[str], zone: tzinfo | None
) -> list[bytes | int | None]:
    names = [OTHER_NAMES.get(name, name) for name in row.columns] or columns
    named = dict(zip(names, row.values, strict=False))
    return [_value(name, named.get(name), zone) for name in columns]


def _value(name: str, value: bytes | None, zone: tzinfo | None) -> bytes | int | None:
    if value is None:
        return None
    if name in TIMES:
        # Text that is not a time stays as it is, and is counted as unreadable.
        when = parse_time(value[:_MAX_TEXT_BYTES].decode(errors="replace"), zone)
        return value[:_MAX_TEXT_BYTES] if when is None else when
    return value[:_MAX_TEXT_BYTES]
