"""SQLite's errors: their kinds, and their texts for the log."""

from __future__ import annotations

import sqlite3

from greyd.store.errors import StoreError

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
UNWRITABLE = (
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR,
)  # fmt: skip
"""Errors that last until somebody fixes the cause."""


def error_code(error: Exception) -> int:
    """Return SQLite's primary result code; 0 for an error of another kind."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def damaged_error(text: str) -> sqlite3.DatabaseError:
    """Return the error that SQLite raises for a damaged file."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def describe_error(error: Exception) -> str:
    """Return an error's text for the log."""
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return f"{name}{error.strerror or error}"
    if isinstance(error, (sqlite3.Error, StoreError)):
        return str(error)
    return f"internal error: {type(error).__name__}: {error}"
