"""The rows of the SQLite store: reads, decides and writes a batch in one transaction.

A batch costs three statements, however many requests it has: one reads the values of all keys, and
two write all changes. In between, the rules run in order, each on the values that the earlier ones
have left.

Rows are appended in the order of arrival and found by a 64-bit hash of their key, which keeps both
the table and its index small; the key itself distinguishes two keys with the same hash. Reads skip
expired rows, and the sweep deletes them in small steps.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from greyd.rules.keys import is_triplet
from greyd.rules.transaction import Change, Record
from greyd.store.errors import StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from greyd.rules.transaction import Rule
    from greyd.store.contract import DoneCallback

    Batch = Sequence["TransactionJob | QueryJob"]


_ROWS_PER_STEP = 500
FEW_ROWS = _ROWS_PER_STEP // 10
"""If a step of the sweep deletes fewer rows, the next step can wait."""

_ROWS_PER_SEARCH = 20_000
"""The rows that SQLite searches in one step, within about 5 ms."""

_KEYS_PER_SELECT = 512
_MAX_ID = 2**63 - 1
_MIN_ID = -(2**63)

_COLUMNS = "id, CAST(key AS BLOB), CAST(value AS BLOB), CAST(expires_at AS INTEGER)"
"""Cast, because somebody may have stored another type by hand."""

STORE_FULL = "the file has grown to --max-store-size"

SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS record_hash ON record (hash);
"""


@dataclass(slots=True, kw_only=True)
class Job:
    """Work to do inside a transaction, and the callback that gets the result."""

    on_done: DoneCallback
    answer: Any = None
    error: Exception | None = None
    is_complete: bool = False

    def complete(self) -> None:
        """Call ``on_done``, unless it has been called."""
        if not self.is_complete:
            self.is_complete = True
            self.on_done(self.answer, self.error)


@dataclass(slots=True, kw_only=True)
class TransactionJob(Job):
    """A rule to apply to the values of some keys."""

    keys: Sequence[bytes]
    rule: Rule[Any]

    def apply_rule(self, values: dict[bytes, bytes]) -> Sequence[Change]:
        """Apply the rule to ``values``; return its changes, none if it raises."""
        try:
            self.answer, changes = self.rule([values.get(key) for key in self.keys])
        except Exception as error:  # noqa: BLE001 - goes to the caller; the other jobs stand
            self.error = error
            return ()
        return changes


@dataclass(slots=True, kw_only=True)
class QueryJob(Job):
    """Any other SQL statements to execute."""

    query: Callable[[sqlite3.Connection, int], Any]
    """Called with the connection and the time in seconds since 1970."""
    is_read_only: bool = False

    def run(self, connection: sqlite3.Connection, now: int) -> None:
        """Execute the statements; keep the answer or the error, but raise a ``sqlite3.Error``."""
        try:
            self.answer = self.query(connection, now)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - goes to the caller; the other jobs stand
            self.error = error


def execute_batch(
    connection: sqlite3.Connection,
    batch: Batch,
    now: int,
    *,
    full: bool = False,
    read_only: bool = False,
) -> None:
    """Execute all jobs of a batch in one transaction, and set their answers and errors.

    Args:
        connection: an open connection to the file.
        batch: the jobs; the caller completes them.
        now: the time in seconds since 1970.
        full: whether the file has reached its size limit; a job that adds a triplet then fails
            with ``StoreFullError``.
        read_only: whether the connection can only read.

    Raises:
        sqlite3.Error: SQLite failed; the transaction has been rolled back.
    """
    # The write lock comes first: otherwise two processes could both decide on the same old value.
    # A batch that only reads, such as a command's scan, needs no write lock and blocks nobody.
    only_reads = read_only or all(isinstance(job, QueryJob) and job.is_read_only for job in batch)
    connection.execute("BEGIN" if only_reads else "BEGIN IMMEDIATE")
    try:
        together: list[TransactionJob] = []
        for job in batch:
            if isinstance(job, TransactionJob):
                together.append(job)
            else:
                _apply_rules(connection, together, now, full=full)
                together = []
                job.run(connection, now)
        _apply_rules(connection, together, now, full=full)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# Transactions -----------------------------------------------------------------------------------


def _apply_rules(
    connection: sqlite3.Connection, transactions: Sequence[TransactionJob], now: int, *, full: bool
) -> None:
    hashes = {key: hash_key(key) for each in transactions for key in each.keys}
    values, rows = _read(connection, hashes, now)
    changed: dict[bytes, Change] = {}
    for each in transactions:
        changes = each.apply_rule(values)
        if full and _adds_triplet(each.keys, changes, rows):
            each.answer, each.error = None, StoreFullError(STORE_FULL)
            continue
        for change in changes:
            values[change.key] = change.value
            changed[change.key] = change
    _write(connection, changed.values(), hashes, rows, now)


def _adds_triplet(keys: Sequence[bytes], changes: Sequence[Change], rows: dict[bytes, int]) -> bool:
    """Whether the changes add a new triplet: none of the keys has a row yet."""
    return not any(key in rows for key in keys) and any(is_triplet(each.key) for each in changes)


def _read(
    connection: sqlite3.Connection, hashes: dict[bytes, int], now: int
) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
    """Return the values that have not expired, and the row ids of all keys that have a row."""
    values: dict[bytes, bytes] = {}
    rows: dict[bytes, int] = {}
    wanted = list(hashes.values())
    for start in range(0, len(wanted), _KEYS_PER_SELECT):
        hashes_here = wanted[start : start + _KEYS_PER_SELECT]
        # Round up to a power of two: with few different sizes all statements stay prepared.
        size = 1 << (len(hashes_here) - 1).bit_length()
        hashes_here += hashes_here[-1:] * (size - len(hashes_here))
        for row, key, value, expires_at in connection.execute(
            _select(size), hashes_here
        ).fetchall():
            if key in hashes:
                rows[key] = row
                if expires_at > now:
                    values[key] = value
    return values, rows


@cache
def _select(size: int) -> str:
    places = ",".join("?" * size)
    return f"SELECT {_COLUMNS} FROM record WHERE hash IN ({places})"  # noqa: S608 - question marks


def _write(
    connection: sqlite3.Connection,
    changes: Iterable[Change],
    hashes: dict[bytes, int],
    rows: dict[bytes, int],
    now: int,
) -> None:
    added = []
    altered = []
    for key, value, ttl_seconds in changes:
        if key in rows:
            altered.append((value, now + ttl_seconds, rows[key]))
        else:
            added.append((hashes[key], now + ttl_seconds, key, value))
    connection.executemany(
        "INSERT INTO record (hash, expires_at, key, value) VALUES (?, ?, ?, ?)", added
    )
    connection.executemany("UPDATE record SET value = ?, expires_at = ? WHERE id = ?", altered)


def hash_key(key: bytes) -> int:
    """Return the signed 64-bit hash of a key, by which the index finds its row."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big", signed=True)


# Queries ----------------------------------------------------------------------------------------


def get(connection: sqlite3.Connection, now: int, key: bytes) -> Record | None:
    """Return the entry under ``key``; None if it does not exist."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM record WHERE hash = ?", (hash_key(key),))  # noqa: S608 - a constant
    return next((each for each in _records(rows, now) if each.key == key), None)


def _records(rows: Iterable[tuple[int, bytes, bytes, int]], now: int) -> Iterator[Record]:
    """Yield the entries of rows of ``_COLUMNS`` that have not expired."""
    for _, key, value, expires_at in rows:
        if expires_at > now:
            yield Record(key, value, expires_at - now)


def size(connection: sqlite3.Connection, _now: int) -> int:
    """Return an upper bound of the number of rows, without counting them."""
    first, last = connection.execute(
        "SELECT (SELECT min(id) FROM record), (SELECT max(id) FROM record)"
    ).fetchone()
    return 0 if last is None else int(last - first + 1)


def put(connection: sqlite3.Connection, change: Change, now: int) -> None:
    """Store one entry; replaces an entry under the same key."""
    hashes = {change.key: hash_key(change.key)}
    _, rows = _read(connection, hashes, now)
    _write(connection, [change], hashes, rows, now)


def delete(connection: sqlite3.Connection, now: int, keys: Sequence[bytes]) -> int:
    """Delete the entries under ``keys``; return how many existed."""
    there = 0
    for key in keys:
        gone = connection.execute(
            "DELETE FROM record WHERE hash = ? AND CAST(key AS BLOB) = ?"
            " RETURNING CAST(expires_at AS INTEGER) > ?",
            (hash_key(key), key, now),
        ).fetchall()
        there += sum(live for (live,) in gone)
    return there


NEWEST = _MAX_ID
"""A row id after all others: the start for ``entries_before``."""


def entries_before(
    connection: sqlite3.Connection, now: int, row: int, containing: Sequence[bytes] = ()
) -> tuple[int, list[Record]] | None:
    """Read up to ``_ROWS_PER_STEP`` rows before ``row``, the newest first.

    With ``containing``, SQLite searches ``_ROWS_PER_SEARCH`` rows for keys with one of these texts.

    Returns:
        The lowest row id of this step, and the step's unexpired entries; None if no row is left.
    """
    if containing:
        return _entries_containing(connection, now, row, containing)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM record WHERE id < ? ORDER BY id DESC LIMIT ?",  # noqa: S608 - a constant
        (row, _ROWS_PER_STEP),
    ).fetchall()
    if not rows:
        return None
    return rows[-1][0], list(_records(rows, now))


_IS_NOT_ASCII = "length(CAST(key AS TEXT)) < length(CAST(key AS BLOB))"
"""Such a key has fewer characters than bytes. So has one with a NUL, where SQLite ends a text."""


def _entries_containing(
    connection: sqlite3.Connection, now: int, row: int, containing: Sequence[bytes]
) -> tuple[int, list[Record]] | None:
    if row == _MIN_ID:
        return None
    end = connection.execute(
        "SELECT id FROM record WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ?",
        (row, _ROWS_PER_SEARCH - 1),
    ).fetchone()
    last = end[0] if end else _MIN_ID
    matches = " OR ".join(["instr(CAST(key AS BLOB), ?) > 0"] * len(containing))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM record WHERE id < ? AND id >= ?"  # noqa: S608 - constants
        f" AND ({matches} OR {_IS_NOT_ASCII}) ORDER BY id DESC",
        (row, last, *containing),
    ).fetchall()
    return last, list(_records(rows, now))


def sweep(connection: sqlite3.Connection, now: int, row: int) -> tuple[int, int]:
    """Delete the expired rows among the next ``_ROWS_PER_STEP`` after ``row``.

    Args:
        connection: an open connection to the file.
        now: the time in seconds since 1970, from a clock that is never ahead of the true
            time, so that no valid row is deleted.
        row: the row id that the last step returned; 0 to begin.

    Returns:
        The row id to pass to the next step (0 after the last row), and the number of deleted rows.
    """
    end = connection.execute(
        "SELECT id FROM record WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (row, _ROWS_PER_STEP)
    ).fetchone()
    last = end[0] if end else _MAX_ID
    gone = connection.execute(
        "DELETE FROM record WHERE id > ? AND id <= ? AND CAST(expires_at AS INTEGER) <= ?",
        (row, last, now),
    ).rowcount
    return (last if end else 0), gone


def bytes_in_use(connection: sqlite3.Connection) -> int:
    """Return the bytes in use in the file, including pages that are still in the log."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_bytes)
