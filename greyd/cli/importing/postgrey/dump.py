"""Parses the output of Berkeley DB's ``db_dump``, with or without ``-p``, ``-r`` and ``-R``.

::

    VERSION=3
    format=print                            printable; "bytevalue" is hexadecimal
    HEADER=END
     192.0.2.0/alice@example.com/bob@example.org      a key, after a space
     1700000000,1700000400                            its value
    DATA=END

``db_dump -r`` writes no header if the first page of the file is damaged.
"""

from __future__ import annotations

import itertools
import re
from binascii import unhexlify
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.cli.importing.items import MAX_EXCERPT_BYTES, UnreadableItem
from greyd.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_LINE_BYTES = 16 * 1024
"""Longer lines are unreadable; postgrey's are shorter: it cuts names to 512 bytes, of which the
dump writes each as at most three characters."""

_MAX_HEADER_LINES = 100

_END = b"DATA=END"
_TRUNCATED = b"the dump ends without DATA=END"
_HEADLESS = re.compile(rb" \S[^\n]*\n ([0-9]+,[0-9]+|[0-9a-fA-F]+)\r?\n")
_HEXADECIMAL = re.compile(rb" ([0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key and its value."""

    key: bytes
    value: bytes


def is_dump(begin: bytes) -> bool:
    """Whether a text that begins with ``begin`` is a dump."""
    return begin.startswith(b"VERSION=") or _HEADLESS.match(begin) is not None


def is_salvaged(begin: bytes) -> bool:
    """Whether a dump that begins with ``begin`` is the output of ``db_dump -r`` or ``-R``.

    Only these omit the file's parameters, such as the page size.
    """
    header, end, _ = begin.partition(b"HEADER=END")
    return not end or b"db_pagesize=" not in header


def read_dump(
    stream: IO[bytes], *, may_be_empty: bool = False
) -> Iterator[KeyValue | UnreadableItem]:
    """Parse the dump of one database, or the dumps of several one after another.

    No more than two lines are held in memory.

    Raises:
        CommandError: the stream does not begin with a dump.
    """
    lines = _read_lines(stream)
    first = next(lines, b"")
    if first == _END or (not first and may_be_empty):
        return
    if first.startswith(b" "):
        yield from _read_headless(first, lines)
    elif first.startswith(b"VERSION="):
        yield from _read_database(lines)
    else:
        raise CommandError(
            f'not the output of db_dump: it begins with "{printable(first[:60])}", not with'
            " VERSION="
        )
    for line in lines:
        if line.startswith(b"VERSION="):
            yield from _read_database(lines)
        elif line.startswith(b" "):
            yield from _read_headless(line, lines)
        elif line:
            yield UnreadableItem(line[:MAX_EXCERPT_BYTES])


_TOO_LONG = b"\0"
"""Marks the excerpt of a line that is too long; no line of a dump begins with this byte."""


def _read_lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE_BYTES):
        if line.endswith(b"\n"):
            # A copy made via Windows ends lines with CR LF; db_dump itself escapes a CR.
            yield line.removesuffix(b"\n").removesuffix(b"\r")
            continue
        is_too_long = False
        while rest := stream.readline(MAX_LINE_BYTES):
            is_too_long = True
            if rest.endswith(b"\n"):
                break
        yield _TOO_LONG + line[:MAX_EXCERPT_BYTES] if is_too_long else line


def _read_database(lines: Iterator[bytes]) -> Iterator[KeyValue | UnreadableItem]:
    decode: Callable[[bytes], bytes] = _decode_printable
    for _, line in zip(range(_MAX_HEADER_LINES), lines, strict=False):
        if line == b"HEADER=END":
            break
        if line == b"format=bytevalue":
            decode = unhexlify
    yield from _read_pairs(lines, decode)


def _read_headless(first_key: bytes, lines: Iterator[bytes]) -> Iterator[KeyValue | UnreadableItem]:
    """Read pairs without a header; the first value shows their format.

    Postgrey's values contain a comma, which no hexadecimal number does.
    """
    first_value = next(lines, _END)
    decode = unhexlify if _HEXADECIMAL.fullmatch(first_value) else _decode_printable
    yield from _read_pairs(itertools.chain((first_key, first_value), lines), decode)


def _read_pairs(
    lines: Iterator[bytes], decode: Callable[[bytes], bytes]
) -> Iterator[KeyValue | UnreadableItem]:
    for line in lines:
        if line == _END:
            return
        value = next(lines, _END)
        if value == _END:
            # The dump ends after a key, without its value.
            yield UnreadableItem(line[:MAX_EXCERPT_BYTES])
            return
        try:
            if line[:1] != b" " or value[:1] != b" ":
                raise ValueError
            yield KeyValue(decode(line[1:]), decode(value[1:]))
        except ValueError:
            yield UnreadableItem(b" ".join((line[:MAX_EXCERPT_BYTES], value[:MAX_EXCERPT_BYTES])))
    yield UnreadableItem(_TRUNCATED)


_ESCAPE = re.compile(rb"\\(\\|[0-9a-fA-F]{2}|)")


def _decode_printable(text: bytes) -> bytes:
    return _ESCAPE.sub(_unescape, text) if b"\\" in text else text


def _unescape(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    if not code:
        raise ValueError
    return code if code == b"\\" else unhexlify(code)
