"""Parses the output of Berkeley DB's ``db_dump -p``.

::

    VERSION=3
    format=print                            printable; "bytevalue" is hexadecimal
    HEADER=END
     192.0.2.0/alice@example.com/bob@example.org      a key, after a space
     1700000000,1700000400                            its value
    DATA=END
"""

from __future__ import annotations

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

_TRUNCATED = b"the dump ends without DATA=END"


@dataclass(frozen=True, slots=True)
class KeyValue:
    """A key and its value."""

    key: bytes
    value: bytes


def read_dump(stream: IO[bytes]) -> Iterator[KeyValue | UnreadableItem]:
    """Parse the dump of one database, or the dumps of several one after another.

    No more than one line is held in memory.

    Raises:
        CommandError: the stream does not begin with a dump's header.
    """
    lines = _read_lines(stream)
    first = next(lines, b"")
    if not first.startswith(b"VERSION="):
        raise CommandError(
            f'not the output of db_dump: it begins with "{printable(first[:60])}", not with'
            " VERSION="
        )
    yield from _read_database(lines)
    for line in lines:
        if line.startswith(b"VERSION="):
            yield from _read_database(lines)
        elif line:
            yield UnreadableItem(line[:MAX_EXCERPT_BYTES])


_TOO_LONG = b"\0"
"""Marks the excerpt of a line that is too long; no line of a dump begins with this byte."""


def _read_lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(MAX_LINE_BYTES):
        if line.endswith(b"\n"):
            yield line[:-1]
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
    for line in lines:
        if line == b"DATA=END":
            return
        value = next(lines, b"DATA=END")
        if value == b"DATA=END":
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
