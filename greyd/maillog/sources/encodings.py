"""Converts logs in UTF-16, as programs on Windows write them, to UTF-8."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SAMPLE_BYTES = 512
_MIN_ZERO_SHARE = 0.7
"""In a log, this share of the high bytes of UTF-16 is zero, as most text is ASCII."""


def utf16_form(head: bytes) -> str | None:
    """Return the codec of a UTF-16 text, with or without a byte order mark; otherwise None."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16-le" if head.startswith(codecs.BOM_UTF16_LE) else "utf-16-be"
    sample = head[: min(_SAMPLE_BYTES, len(head) & ~1)]
    if len(sample) < 4:
        return None
    zero_at_even, zero_at_odd = (sample[first::2].count(0) / (len(sample) // 2) for first in (0, 1))
    if zero_at_odd >= _MIN_ZERO_SHARE and not zero_at_even:
        return "utf-16-le"
    if zero_at_even >= _MIN_ZERO_SHARE and not zero_at_odd:
        return "utf-16-be"
    return None


def as_utf8(pieces: Iterable[bytes], codec: str) -> Iterator[bytes]:
    """Convert pieces of a text; invalid characters become U+FFFD."""
    decoder = codecs.getincrementaldecoder(codec)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode()
    if rest := decoder.decode(b"", final=True):
        yield rest.encode()
