"""Makes strings of the byte arrays in the journal's JSON.

journalctl writes a message that is not valid UTF-8, or has control characters, as an array of its
bytes (``man journalctl``, ``--output=json``). A search for text would not find it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_KEY = b'"MESSAGE"'
_ARRAY = re.compile(rb'("MESSAGE"\s{0,9}:\s{0,9})\[([0-9,\s]{1,100000})\]')
_MAX_ARRAY_BYTES = 100_000
"""Longer arrays are not converted; a line of 16 KiB takes up to 80 KiB as an array."""


def with_strings(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces of a text in which messages are strings."""
    rest = b""
    for piece in pieces:
        data, rest = rest + piece if rest else piece, b""
        # The last array may end in the next piece.
        last = data.rfind(_KEY, max(len(data) - _MAX_ARRAY_BYTES, 0))
        if last >= 0 and b"]" not in data[last:]:
            data, rest = data[:last], data[last:]
        yield _ARRAY.sub(_string, data) if _KEY in data else data
    if rest:
        yield _ARRAY.sub(_string, rest)


def _string(found: re.Match[bytes]) -> bytes:
    numbers = found[2].split(b",")
    if not all(each.strip().isdigit() and int(each) < 256 for each in numbers):
        return found[0]
    text = bytes(map(int, numbers)).decode(errors="surrogateescape")
    return found[1] + json.dumps(text).encode()
