"""Rows in the file of the SQLite store: what one write transaction reads, decides and writes.

A batch of transactions costs three statements, however many they are: one reads all that is
remembered under their keys, then each rule is asked in turn and sees what those before it have
changed, and what all have changed is inserted and updated together.

Rows are appended in their order of arrival and found by a 64-bit hash of their key, which keeps
both the table and its index small; two keys of one hash are told apart by the key itself. Expired
rows are passed over when read and leave in small steps.
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


_ROWS_PER_STEP = 500
FEW_ROWS = _ROWS_PER_STEP // 10
"""Expired rows in a step of the sweep below which the next step can wait."""

_KEYS_PER_SELECT = 512
_LARGEST_ID = 2**63 - 1

_COLUMNS = "id, CAST(key AS BLOB), CAST(value AS BLOB), CAST(expires_at AS INTEGER)"
"""As they are meant, of whatever type a hand has made them."""

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
    """Something to do inside a write transaction, and who waits for it."""

    done: DoneCallback
    answer: Any = None
    error: Exception | None = None
    told: bool = False

    def tell(self) -> None:
        """Call who waits, unless that has been done."""
        if not self.told:
            self.told = True
            self.done(self.answer, self.error)


@dataclass(slots=True, kw_only=True)
class TransactionJob(Job):
    """A rule, to be asked about what is remembered under some keys."""

    keys: Sequence[bytes]
    rule: Rule[Any]

    def ask(self, values: dict[bytes, bytes]) -> Sequence[Change]:
        """Ask the rule; returns what it changes."""
        try:
            self.answer, changes = self.rule([values.get(key) for key in self.keys])
        except Exception as error:  # noqa: BLE001 - goes to who asked; the others' work stands
            self.error = error
            return ()
        return changes


@dataclass(slots=True, kw_only=True)
class QueryJob(Job):
    """Anything else."""

    do: Callable[[sqlite3.Connection, int], Any]
    """Gets the time of day, too."""
    reads: bool = False
    """It changes nothing."""

    def run(self, connection: sqlite3.Connection, now: int) -> None:
        """Do it."""
        try:
            self.answer = self.do(connection, now)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - goes to who asked; the others' work stands
            self.error = error


def execute_batch(
    connection: sqlite3.Connection,
    batch: Sequence[TransactionJob | QueryJob],
    now: int,
    *,
    full: bool = False,
    read_only: bool = False,
) -> None:
    """Do all work of a batch in one transaction.

    Args:
        connection: to the file.
        batch: the work; each is given its answer or its error, and nobody is called.
        now: the time of day, seconds since 1970.
        full: no new triplet may be added; a transaction that would gets ``StoreFull``.
        read_only: none of the work may change anything.

    Raises:
        sqlite3.Error: nothing of it is done.
    """
    # The write lock comes first: two processes that had both read an old value could else both
    # believe that theirs is the next. Who only reads, as a walk by another process than the
    # server, keeps nobody waiting.
    only_reads = read_only or all(isinstance(work, QueryJob) and work.reads for work in batch)
    connection.execute("BEGIN" if only_reads else "BEGIN IMMEDIATE")
    try:
        together: list[TransactionJob] = []
        for work in batch:
            if isinstance(work, TransactionJob):
                together.append(work)
            else:
                _apply_rules(connection, together, now, full=full)
                together = []
                work.run(connection, now)
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
        changes = each.ask(values)
        if full and _adds_triplet(each.keys, changes, rows):
            each.answer, each.error = None, StoreFullError(STORE_FULL)
            continue
        for change in changes:
            values[change.key] = change.value
            changed[change.key] = change
    _write(connection, changed.values(), hashes, rows, now)


def _adds_triplet(keys: Sequence[bytes], changes: Sequence[Change], rows: dict[bytes, int]) -> bool:
    """Whether a transaction is of a new triplet, none of whose keys has a row yet."""
    return not any(key in rows for key in keys) and any(is_triplet(each.key) for each in changes)


def _read(
    connection: sqlite3.Connection, hashes: dict[bytes, int], now: int
) -> tuple[dict[bytes, bytes], dict[bytes, int]]:
    """Return the values that have not expired, and the rows of all keys that have one."""
    values: dict[bytes, bytes] = {}
    rows: dict[bytes, int] = {}
    wanted = list(hashes.values())
    for start in range(0, len(wanted), _KEYS_PER_SELECT):
        look = wanted[start : start + _KEYS_PER_SELECT]
        # Few different statements, so that all of them stay prepared.
        size = 1 << (len(look) - 1).bit_length()
        look += look[-1:] * (size - len(look))
        for row, key, value, expires_at in connection.execute(_select(size), look).fetchall():
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
    """Return by what a key is found."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big", signed=True)


# Errands ----------------------------------------------------------------------------------------


def get(connection: sqlite3.Connection, now: int, key: bytes) -> Record | None:
    """Return the entry under ``key``."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM record WHERE hash = ?", (hash_key(key),))  # noqa: S608 - a constant
    return next((each for each in _records(rows, now) if each.key == key), None)


def _records(rows: Iterable[tuple[int, bytes, bytes, int]], now: int) -> Iterator[Record]:
    """Return what is not expired of rows of ``_COLUMNS``."""
    for _, key, value, expires_at in rows:
        if expires_at > now:
            yield Record(key, value, expires_at - now)


def size(connection: sqlite3.Connection, _now: int) -> int:
    """Return the number of rows, or more where some have left: counting them would take long."""
    first, last = connection.execute(
        "SELECT (SELECT min(id) FROM record), (SELECT max(id) FROM record)"
    ).fetchone()
    return 0 if last is None else int(last - first + 1)


def put(connection: sqlite3.Connection, change: Change, now: int) -> None:
    """Store one entry."""
    hashes = {change.key: hash_key(change.key)}
    _, rows = _read(connection, hashes, now)
    _write(connection, [change], hashes, rows, now)


def delete(connection: sqlite3.Connection, now: int, keys: Sequence[bytes]) -> int:
    """Forget what is under ``keys``; returns how many of them were there."""
    there = 0
    for key in keys:
        gone = connection.execute(
            "DELETE FROM record WHERE hash = ? AND CAST(key AS BLOB) = ?"
            " RETURNING CAST(expires_at AS INTEGER) > ?",
            (hash_key(key), key, now),
        ).fetchall()
        there += sum(live for (live,) in gone)
    return there


NEWEST = _LARGEST_ID
"""A row behind all others."""


def entries_before(
    connection: sqlite3.Connection, now: int, row: int
) -> tuple[int, list[Record]] | None:
    """Return some hundred entries before a row, and the first one's row; None at the beginning."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM record WHERE id < ? ORDER BY id DESC LIMIT ?",  # noqa: S608 - a constant
        (row, _ROWS_PER_STEP),
    ).fetchall()
    if not rows:
        return None
    return rows[-1][0], list(_records(rows, now))


def sweep(connection: sqlite3.Connection, now: int, row: int) -> tuple[int, int]:
    """Take the expired rows out of the next few hundred behind ``row``.

    Args:
        connection: to the file.
        now: the time by which rows have expired for good.
        row: where the last step ended.

    Returns:
        Where to go on, and how many rows left.
    """
    end = connection.execute(
        "SELECT id FROM record WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?", (row, _ROWS_PER_STEP)
    ).fetchone()
    last = end[0] if end else _LARGEST_ID
    gone = connection.execute(
        "DELETE FROM record WHERE id > ? AND id <= ? AND CAST(expires_at AS INTEGER) <= ?",
        (row, last, now),
    ).rowcount
    return (last if end else 0), gone


def bytes_in_use(connection: sqlite3.Connection) -> int:
    """Return how much of the file is in use, the log of commits included."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    return int((pages - free) * page_bytes)
