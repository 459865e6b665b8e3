"""Macro expansion in SPF records (RFC 7208, 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.dns.spf.record import Macro

MAX_NAME_BYTES = 253
_MAX_VALUE_BYTES = MAX_NAME_BYTES + 2
"""Of a macro's value: what decides whether a name is too long, and a dot at its end."""
_URL_ESCAPED = tuple(
    bytes([byte]) if re.match(rb"[A-Za-z0-9._~-]", bytes([byte])) else b"%%%02X" % byte
    for byte in range(256)
)
"""Each byte as it stands in a URL (RFC 7208, 7.3)."""


def macro_value(macro: Macro, values: dict[int, bytes]) -> bytes:
    """Return a macro's value, of which the end can stay."""
    if not macro.letter:
        return macro.text
    value, delimiter = values[macro.letter], macro.delimiters[:1]
    if len(macro.delimiters) > 1:
        value = value.translate(
            bytes.maketrans(macro.delimiters, delimiter * len(macro.delimiters))
        )
    parts = value.split(delimiter)
    if macro.is_reversed:
        parts.reverse()
    text = b".".join(parts[-macro.kept :])[-_MAX_VALUE_BYTES:]
    return b"".join(map(_URL_ESCAPED.__getitem__, text)) if macro.is_escaped else text


def shorten_to_name(name: bytes) -> bytes:
    """Drop labels from the left until a name fits into the DNS."""
    if len(name) <= MAX_NAME_BYTES:
        return name
    return name[-MAX_NAME_BYTES - 1 :].partition(b".")[2]
