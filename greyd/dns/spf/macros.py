"""Macro expansion in SPF records (RFC 7208, 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.dns.spf.record import Macro
from greyd.rules.hostnames import MAX_NAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.dns.spf.record import DomainSpec

_MAX_VALUE_BYTES = MAX_NAME_BYTES + 2
"""Only this many bytes at the end of a macro's value can affect the name: beyond the longest name,
one byte for a dot at the end, and one that shows that the name is too long.
"""

_URL_ESCAPED = tuple(
    bytes([byte]) if re.match(rb"[A-Za-z0-9._~-]", bytes([byte])) else b"%%%02X" % byte
    for byte in range(256)
)
"""The URL-escaped form of each byte (RFC 7208, 7.3)."""


def expand(spec: DomainSpec, values: Mapping[int, bytes]) -> bytes:
    """Return the domain name of a domain-spec; ``values`` has the value of each macro letter.

    If the name is too long, labels are dropped from the left (RFC 7208, 7.3). The expansion starts
    at the end of the name and stops when the name is too long.
    """
    name = b""
    for part in reversed(spec.parts):
        name = (_value(part, values) if isinstance(part, Macro) else part) + name
        if len(name) > MAX_NAME_BYTES + 1:
            break
    return _shortened(name.removesuffix(b".")).lower()


def _value(macro: Macro, values: Mapping[int, bytes]) -> bytes:
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
    text = b".".join(parts[-macro.kept_count :])[-_MAX_VALUE_BYTES:]
    return b"".join(map(_URL_ESCAPED.__getitem__, text)) if macro.is_escaped else text


def _shortened(name: bytes) -> bytes:
    if len(name) <= MAX_NAME_BYTES:
        return name
    return name[-MAX_NAME_BYTES - 1 :].partition(b".")[2]
