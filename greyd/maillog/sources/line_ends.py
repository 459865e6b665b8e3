"""Makes line feeds of the carriage returns that end lines, as in files of old Macs and exports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.maillog.dates import starts_with_date

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LONE_RETURN = re.compile(rb"\r+(?![\r\n])")
_MAX_DATE_BYTES = 100


def with_line_feeds(pieces: Iterable[bytes], head: bytes) -> Iterator[bytes]:
    """Yield pieces of a text whose lines end with line feeds, or with both characters.

    In a file whose ``head`` has no line feed, each carriage return ends a line. In others only one
    that a date follows does: a program may log the carriage return that a client sent.
    """
    ends_every_line = b"\n" not in head
    rest = b""
    for piece in pieces:
        data, rest = rest + piece if rest else piece, b""
        if b"\r" not in data:
            yield data
            continue
        # What follows the last one may be in the next piece.
        if (last := data.rfind(b"\r")) >= len(data) - _MAX_DATE_BYTES:
            start = len(data[:last].rstrip(b"\r"))
            data, rest = data[:start], data[start:]
        yield _converted(data, ends_every_line=ends_every_line)
    if rest:
        yield _converted(rest, ends_every_line=ends_every_line)


def _converted(data: bytes, *, ends_every_line: bool) -> bytes:
    def converted(found: re.Match[bytes]) -> bytes:
        end = found.end()
        if ends_every_line or starts_with_date(data[end : end + _MAX_DATE_BYTES]):
            return b"\n"
        return found[0]

    return _LONE_RETURN.sub(converted, data)
