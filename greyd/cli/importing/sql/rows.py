"""Reads the rows of some tables from the tokens of an SQL dump.

Rows are in ``INSERT`` and ``REPLACE`` statements, with one or several rows, with or without the
names of the columns, and in the lines of PostgreSQL's ``COPY``. Without names, the columns are in
the order of ``CREATE TABLE``.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from greyd.cli.importing.sql.tokens import SqlTokens, Token, TokenKind
from greyd.cli.importing.timestamps import parse_zone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import tzinfo

_MAX_COLUMNS = 100
_MAX_TABLES = 100

_STATEMENT = re.compile(
    rb"^[^\w\n]{0,20}(INSERT\s+(\w+\s+){0,3}INTO|REPLACE\s+INTO|COPY\s.*\sFROM\s+stdin|CREATE\s+TABLE)\b"
    rb"|^-- (MySQL|MariaDB|PostgreSQL|phpMyAdmin|Adminer)\b",
    re.IGNORECASE | re.MULTILINE,
)
_WITHOUT_ESCAPES = re.compile(
    rb"PostgreSQL database|standard_conforming_strings\s*=\s*'?on|^PRAGMA "
    rb"|\ABEGIN TRANSACTION;",
    re.IGNORECASE | re.MULTILINE,
)
_COMPLETED_BY_A_COMMENT = re.compile(
    rb"-- (MySQL dump|MariaDB dump|PostgreSQL database (cluster )?dump\b)", re.IGNORECASE
)


def is_sql(begin: bytes) -> bool:
    """Whether a text that begins with ``begin`` is an SQL dump."""
    return _STATEMENT.search(begin) is not None


@dataclass(frozen=True, slots=True)
class SqlRow:
    """A row of a table."""

    table: str
    """The table's name in lower case, without a schema."""
    columns: Sequence[str]
    """The columns' names in lower case; empty if the dump does not name them."""
    values: Sequence[bytes | None]
    """None: NULL."""


class SqlDump:
    """The rows of some tables of a dump."""

    def __init__(self, stream: IO[bytes], begin: bytes, tables: Collection[str]) -> None:
        """Read ``stream``, which begins with ``begin``."""
        self._tokens = SqlTokens(stream, has_escapes=not _WITHOUT_ESCAPES.search(begin))
        self._has_last_comment = _COMPLETED_BY_A_COMMENT.search(begin) is not None
        self._wanted = tables
        self._columns: dict[str, Sequence[str]] = {}
        self._is_in_statement = False
        self._is_in_transaction = False
        self.was_database_damaged = False
        """Whether sqlite3 found the database damaged; known after the last row."""
        self.tables: dict[str, None] = {}
        """The names of the dump's tables, in their order."""
        self.zone: tzinfo | None = None
        """The time zone that the dump sets; None if it sets none."""

    @property
    def is_cut(self) -> bool:
        """Whether the dump ended too early; known after the last row."""
        return (
            self._tokens.is_cut
            or self._is_in_statement
            or self._is_in_transaction
            or (self._has_last_comment and not self._tokens.is_complete)
        )

    def rows(self) -> Iterator[SqlRow]:
        """Yield the rows of the wanted tables."""
        while (token := self._tokens.read_token()) is not None:
            self._is_in_statement = not token.is_sign(b";")
            if token.is_word(b"INSERT", b"REPLACE"):
                yield from self._insert()
            elif token.is_word(b"COPY"):
                yield from self._copy()
            elif token.is_word(b"CREATE"):
                self._create()
            elif token.is_word(b"SET"):
                self._set()
            elif self._is_in_statement:
                self._read_transaction(token)
                self._skip_statement()

    def _read_transaction(self, token: Token) -> None:
        """Read the begin or the end of the transaction around all rows, as sqlite3 writes it."""
        if token.is_word(b"BEGIN", b"START"):
            self._is_in_transaction = True
        elif token.is_word(b"COMMIT", b"END", b"ROLLBACK"):
            self._is_in_transaction = False
            # sqlite3 ends with it if it could not read the whole database.
            self.was_database_damaged |= token.is_word(b"ROLLBACK")

    def _next(self) -> Token | None:
        token = self._tokens.read_token()
        if token is not None and token.is_sign(b";"):
            self._is_in_statement = False
            return None
        return token

    def _skip_statement(self) -> None:
        while self._next() is not None:
            pass

    def _table_name(self) -> tuple[str, Token | None]:
        """Read a table's name; return it, and the token after it."""
        name = b""
        token = self._next()
        while token is not None and token.is_word(b"IF", b"NOT", b"EXISTS", b"ONLY"):
            token = self._next()
        while token is not None and token.kind is not TokenKind.SIGN:
            name = token.text
            token = self._next()
            if token is None or not token.is_sign(b"."):
                break
            token = self._next()
        table = name.decode(errors="replace").lower()
        if len(self.tables) < _MAX_TABLES and table:
            self.tables[table] = None
        return table, token

    def _names(self) -> list[str]:
        """Read the names in a list of columns, after its opening parenthesis."""
        names: list[str] = []
        while (token := self._next()) is not None and not token.is_sign(b")"):
            if token.kind is not TokenKind.SIGN and len(names) < _MAX_COLUMNS:
                names.append(token.text.decode(errors="replace").lower())
        return names

    def _create(self) -> None:
        token = self._next()
        while token is not None and not token.is_word(b"TABLE"):
            token = self._next()
        if token is None:
            return
        table, token = self._table_name()
        names: list[str] = []
        if token is not None and token.is_sign(b"("):
            names = self._defined_names()
        if table in self._wanted:
            self._columns[table] = names
        if self._is_in_statement:
            self._skip_statement()

    def _defined_names(self) -> list[str]:
        """Read the names of the columns in a ``CREATE TABLE``, after its parenthesis."""
        names: list[str] = []
        depth, is_first = 1, True
        while depth and (token := self._next()) is not None:
            if token.is_sign(b"("):
                depth += 1
            elif token.is_sign(b")"):
                depth -= 1
            elif depth == 1 and token.is_sign(b","):
                is_first = True
                continue
            elif is_first and not token.is_word(*_NO_COLUMNS) and len(names) < _MAX_COLUMNS:
                names.append(token.text.decode(errors="replace").lower())
            is_first = False
        return names

    def _set(self) -> None:
        """Read a ``SET``: its time zone, and whether strings have escape sequences."""
        texts: list[str] = []
        while (token := self._next()) is not None:
            if token.kind is not TokenKind.SIGN and len(texts) < _MAX_COLUMNS:
                texts.append(token.text.decode(errors="replace"))
        for name, value in itertools.pairwise(texts):
            if name.lower() in ("time_zone", "timezone"):
                try:
                    self.zone = parse_zone(value)
                except ValueError:
                    # SYSTEM, or a variable: the time zone of that server.
                    self.zone = None
            elif name.lower() == "standard_conforming_strings":
                self._tokens.has_escapes = value.lower() == "off"

    def _insert(self) -> Iterator[SqlRow]:
        token = self._next()
        while token is not None and not token.is_word(b"INTO"):
            token = self._next()
        if token is None:
            return
        table, token = self._table_name()
        columns = self._columns.get(table, ())
        if token is not None and token.is_sign(b"("):
            columns = self._names()
            token = self._next()
        while token is not None and not token.is_word(b"VALUES"):
            token = self._next()
        token = token and self._next()
        while token is not None and token.is_sign(b"("):
            values = self._values()
            token = self._next()
            if table in self._wanted and (token is not None or not self._is_in_statement):
                yield SqlRow(table, columns, values)
            if token is not None and token.is_sign(b","):
                token = self._next()
        if token is not None:
            # Another part of the statement, e.g. ON DUPLICATE KEY UPDATE.
            self._skip_statement()

    def _values(self) -> list[bytes | None]:
        """Read the values of a row, after its opening parenthesis.

        A value is the first literal in it, even in ``_binary 'x'`` and ``from_unixtime(1)``.
        """
        if (plain := self._tokens.read_plain_values()) is not None:
            return plain
        values: list[bytes | None] = [None]
        depth, has_literal = 1, False
        while depth and (token := self._next()) is not None:
            if token.is_sign(b"("):
                depth += 1
            elif token.is_sign(b")"):
                depth -= 1
            elif depth == 1 and token.is_sign(b","):
                if len(values) < _MAX_COLUMNS:
                    values.append(None)
                    has_literal = False
            elif token.kind in _LITERALS and not has_literal:
                values[-1] = token.text
                has_literal = True
        return values

    def _copy(self) -> Iterator[SqlRow]:
        table, token = self._table_name()
        columns = self._columns.get(table, ())
        if token is not None and token.is_sign(b"("):
            columns = self._names()
            token = self._next()
        is_from_stdin = False
        while token is not None:
            is_from_stdin = is_from_stdin or token.is_word(b"STDIN")
            token = self._next()
        if not is_from_stdin:
            return
        for line in self._tokens.copy_lines():
            if table in self._wanted:
                values = line.split(b"\t", _MAX_COLUMNS)
                yield SqlRow(table, columns, [_copied_value(value) for value in values])


_LITERALS = (TokenKind.STRING, TokenKind.NUMBER, TokenKind.NAME)
"""MySQL's strings may have double quotation marks, which mark names elsewhere."""

_NO_COLUMNS = (
    b"PRIMARY", b"KEY", b"UNIQUE", b"CONSTRAINT", b"INDEX", b"FULLTEXT", b"SPATIAL", b"CHECK",
    b"FOREIGN", b"EXCLUDE", b"LIKE", b"PERIOD",
)  # fmt: skip
"""Words that begin a part of a ``CREATE TABLE`` other than a column."""

_COPY_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_COPY_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)


def _copied_value(text: bytes) -> bytes | None:
    if text == b"\\N":
        return None
    return _COPY_ESCAPE.sub(_unescape_copied, text) if b"\\" in text else text


def _unescape_copied(match: re.Match[bytes]) -> bytes:
    code = match[1]
    if code[:1] == b"x" and len(code) > 1:
        return bytes([int(code[1:], 16)])
    if code.isdigit():
        return bytes([int(code, 8) & 0xFF])
    return _COPY_ESCAPES.get(code, code)
