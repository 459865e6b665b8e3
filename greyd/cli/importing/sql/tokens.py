"""Splits an SQL dump into tokens, in memory that does not grow with the dump.

Sources: MySQL's reference manual (String Literals, Comments, mysqldump), PostgreSQL's manual
(Lexical Structure, COPY), SQLite's manual (SQL As Understood By SQLite).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_BYTES = 1 << 18
MAX_TOKEN_BYTES = 1 << 20
"""The rest of a longer string or comment is omitted."""


_KEPT_BYTES = 4096
_BODIES = {
    b"'": re.compile(rb"(?:[^']|'')*+"),
    b'"': re.compile(rb'(?:[^"]|"")*+'),
    b"`": re.compile(rb"(?:[^`]|``)*+"),
    b"*": re.compile(rb"(?:[^*]|\*(?=[^/]))*+"),
    b"$": re.compile(rb"[^$]*+"),
}
_BODY_WITH_ESCAPES = re.compile(rb"(?:[^'\\]|\\.|'')*+", re.DOTALL)


def _body(opening: bytes, *, has_escapes: bool) -> re.Pattern[bytes]:
    """Return the pattern of a token's content, from its opening mark to a possible end."""
    if opening[-1:] == b"'" and (has_escapes or len(opening) > 1):
        return _BODY_WITH_ESCAPES
    return _BODIES[opening[-1:]]


class TokenKind(Enum):
    """The kind of a token."""

    STRING = "string"
    NUMBER = "number"
    WORD = "word"
    """A keyword, or an identifier without quotation marks."""
    NAME = "name"
    """An identifier in quotation marks."""
    SIGN = "sign"
    """A single character, such as a comma."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token; ``text`` is without quotation marks and escapes."""

    kind: TokenKind
    text: bytes

    def is_sign(self, sign: bytes) -> bool:
        """Whether the token is this character."""
        return self.kind is TokenKind.SIGN and self.text == sign

    def is_word(self, *words: bytes) -> bool:
        """Whether the token is one of these keywords, in any case."""
        return self.kind is TokenKind.WORD and self.text.upper() in words


_COMMON = rb"""
    (?P<space>\s+ | \xef\xbb\xbf | \*/ | /\*M?!\d*)
  | (?P<comment>--[^\n]*(?:\n|\Z) | \\[^\n]*(?:\n|\Z))
  | (?P<block>/\*.*?\*/)
  | (?P<dollar>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
  | (?P<hex>[xX]'[0-9a-fA-F]*' | 0x[0-9a-fA-F]+)
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*+')
  | (?P<number>[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)
  | (?P<word>(?![eExX]')[A-Za-z_@\x80-\xff][\w$@\x80-\xff]*)
  | (?P<backtick>`(?:[^`]|``)*+`)
  | (?P<quoted>"(?:[^"]|"")*+")
"""
_BEGIN_OF_LONG = re.compile(rb"/\*|\$\w*\$|[eExX]?'|[`\"]")
_BEGIN_OF_TAG = re.compile(rb"\$\w*\Z")
"""Matches what may become the opening of a dollar-quoted string when more has been read."""
"""The start of a token that may continue beyond the buffer."""


def _pattern(string: bytes, comment: bytes = b"") -> re.Pattern[bytes]:
    return re.compile(
        _COMMON + b"| (?P<string>" + string + b")" + comment + rb"| (?P<sign>.)",
        re.VERBOSE | re.DOTALL,
    )


_WITH_ESCAPES = _pattern(rb"'(?:[^'\\]|\\.|'')*+'", rb"| (?P<hash>\#[^\n]*(?:\n|\Z))")
_WITHOUT_ESCAPES = _pattern(rb"'(?:[^']|'')*+'")

_PLAIN = rb"(?:'[^'\\]*+'|[-+]?[0-9]++(?:\.[0-9]*+)?|NULL)"
_PLAIN_VALUE = re.compile(_PLAIN, re.IGNORECASE)
_PLAIN_VALUES = re.compile(
    rb"\s*+" + _PLAIN + rb"(?:\s*+,\s*+" + _PLAIN + rb"){0,99}\s*+\)", re.IGNORECASE
)

_COMPLETE = re.compile(rb"\bdump complete", re.IGNORECASE)
"""The last comment of mysqldump, mariadb-dump and pg_dump."""


class SqlTokens:
    """The tokens of a dump, and the lines of PostgreSQL's ``COPY`` between them."""

    def __init__(self, stream: IO[bytes], *, has_escapes: bool) -> None:
        """Read ``stream``; ``has_escapes``: a backslash in a string begins an escape sequence."""
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self._is_at_end = False
        self.has_escapes = has_escapes
        self.is_complete = False
        """Whether the comment at the end of a complete dump was read."""
        self.is_cut = False
        """Whether the dump ends within a string, a comment or the lines of a ``COPY``."""

    def read_token(self) -> Token | None:
        """Return the next token; None at the end."""
        while (match := self._match()) is not None:
            kind, text = match.lastgroup, match[0]
            # The group of a dollar-quoted string's tag is within its group.
            if kind in ("space", "block", "dollar", "tag", "hash"):
                continue
            if kind == "comment":
                self.is_complete = self.is_complete or _COMPLETE.search(text) is not None
                continue
            return _token(kind or "", text, has_escapes=self.has_escapes)
        return None

    def read_plain_values(self) -> list[bytes | None] | None:
        """Return the values up to a closing parenthesis, if all are plain literals in the buffer.

        Otherwise nothing is read, and the result is None. Most rows of a dump need no tokens then.
        """
        match = _PLAIN_VALUES.match(self._buffer, self._at)
        if match is None:
            return None
        self._at = match.end()
        return [
            value[1:-1] if value.startswith(b"'") else None if value.upper() == b"NULL" else value
            for value in _PLAIN_VALUE.findall(match[0])
        ]

    def _match(self) -> re.Match[bytes] | None:
        """Return the match of the next token, and advance past it; None at the end."""
        while True:
            pattern = _WITH_ESCAPES if self.has_escapes else _WITHOUT_ESCAPES
            match = pattern.match(self._buffer, self._at)
            is_open = match is None or (
                match.lastgroup == "sign" and _BEGIN_OF_LONG.match(self._buffer, self._at)
            )
            may_continue = (
                match is None
                or is_open
                or match.end() == len(self._buffer)
                or (match[0] == b"$" and _BEGIN_OF_TAG.match(self._buffer, self._at))
            )
            if may_continue and not self._is_at_end:
                if len(self._buffer) - self._at > MAX_TOKEN_BYTES:
                    self._cut_long_token()
                self._read()
                continue
            if match is None:
                return None
            if is_open:
                self.is_cut = True
                self._at = len(self._buffer)
                return None
            self._at = match.end()
            return match

    def _read(self) -> None:
        data = self._stream.read(max(_READ_BYTES, len(self._buffer) - self._at))
        self._is_at_end = not data
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def _cut_long_token(self) -> None:
        """Replace the read part of an overlong token with an ellipsis."""
        opening = _BEGIN_OF_LONG.match(self._buffer, self._at)
        if opening is None:
            self._buffer = self._buffer[self._at : self._at + _KEPT_BYTES]
        else:
            body = _body(opening[0], has_escapes=self.has_escapes)
            end = body.match(self._buffer, opening.end())
            rest = self._buffer[end.end() :] if end else self._buffer[-_KEPT_BYTES:]
            self._buffer = opening[0] + b"..." + rest
        self._at = 0

    def copy_lines(self) -> Iterator[bytes]:
        r"""Yield the lines after ``COPY … FROM stdin;``, up to the line ``\\.``."""
        is_first = True
        while True:
            end = self._buffer.find(b"\n", self._at)
            if end < 0 and not self._is_at_end:
                if len(self._buffer) - self._at > MAX_TOKEN_BYTES:
                    self._buffer = self._buffer[self._at : self._at + _KEPT_BYTES]
                    self._at = 0
                self._read()
                continue
            if end < 0:
                self.is_cut = True
                return
            line = self._buffer[self._at : end].removesuffix(b"\r")
            self._at = end + 1
            if line == b"\\.":
                return
            # The rest of the statement's own line is empty.
            if line or not is_first:
                yield line
            is_first = False


_ESCAPES = {b"0": b"\0", b"b": b"\b", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"Z": b"\x1a"}
_QUOTE_OR_ESCAPE = re.compile(rb"''|\\(.)", re.DOTALL)


def _token(kind: str, text: bytes, *, has_escapes: bool) -> Token:
    match kind:
        case "string":
            return Token(TokenKind.STRING, _unquote(text[1:-1], has_escapes=has_escapes))
        case "escaped":
            return Token(TokenKind.STRING, _unquote(text[2:-1], has_escapes=True))
        case "hex":
            digits = text[2:].rstrip(b"'")
            return Token(TokenKind.STRING, bytes.fromhex("0" * (len(digits) % 2) + digits.decode()))
        case "backtick":
            return Token(TokenKind.NAME, text[1:-1].replace(b"``", b"`"))
        case "quoted":
            return Token(TokenKind.NAME, text[1:-1].replace(b'""', b'"'))
        case "number":
            return Token(TokenKind.NUMBER, text)
        case "word":
            return Token(TokenKind.WORD, text)
        case _:
            return Token(TokenKind.SIGN, text)


def _unquote(text: bytes, *, has_escapes: bool) -> bytes:
    if not has_escapes:
        return text.replace(b"''", b"'")
    if b"\\" not in text and b"'" not in text:
        return text
    return _QUOTE_OR_ESCAPE.sub(
        lambda match: b"'" if match[1] is None else _ESCAPES.get(match[1], match[1]), text
    )
