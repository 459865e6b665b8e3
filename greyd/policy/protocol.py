r"""Parser and encoder of Postfix's policy delegation protocol, without I/O.

Source: Postfix's SMTPD_POLICY_README, and postgrey's behaviour::

    request   = *(attribute LF) LF
    attribute = name "=" value          ; the value may hold "="
    reply     = "action=" text LF LF

A line may also end with CR LF. Attributes may have any order; if one is repeated, the last value
counts.

A request may have any length, and a line up to ``MAX_LINE_BYTES``, but the parser's memory is
bounded: if an incomplete request exceeds ``MAX_HELD_BYTES``, the parser keeps only the attributes
that greyd uses, up to ``MAX_VALUE_BYTES`` of each, and the beginning of the last line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.errors import GreydError
from greyd.rules.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


MAX_VALUE_BYTES = 512
"""Maximum length of a name or a value; the rest is cut off (postgrey's limit)."""

MAX_LINE_BYTES = 1024 * 1024
"""Maximum length of a line; a longer one is a ``ProtocolError``."""

MAX_HELD_BYTES = 8 * 1024
"""Size of an incomplete request beyond which the parser drops unused attributes."""


class ProtocolError(GreydError):
    """The peer violates the protocol; the caller has to close the connection."""


_NAMES = tuple(name.encode() for name in Request._fields if name != "garbage")
EVIDENCE_ATTRIBUTES = ("helo_name", "reverse_client_name", "policy_context", "protocol_name")
"""Attributes that only the collection of evidence uses."""


def _attributes(names: Iterable[bytes]) -> re.Pattern[bytes]:
    # One search for all attributes creates no objects for unused lines. It is fast because the
    # regex engine first searches for the line feed that precedes each name.
    return re.compile(rb"\n(%b|)=([^\n]{0,%d})" % (b"|".join(names), MAX_VALUE_BYTES))


_ALL = _attributes(_NAMES)
_USUAL = _attributes(name for name in _NAMES if name.decode() not in EVIDENCE_ATTRIBUTES)
_CR = ord("\r")
"""A number instead of bytes, because ``in`` finds a number in bytes faster."""
_ALL_BUT_BORDERS = bytes(byte for byte in range(256) if byte not in b"\n=")


class RequestParser:
    """Parses a connection's bytes into requests, at whatever points the bytes are split."""

    def __init__(self, *, of_identity: bool = False) -> None:
        """Create a parser; ``of_identity`` makes it also parse ``EVIDENCE_ATTRIBUTES``."""
        self._attributes = _ALL if of_identity else _USUAL
        # Begins with a line feed, because ``_attributes`` expects one before each line.
        self._rest = b"\n"
        self._dropped = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield each request that ``data`` completes; the caller has to exhaust the iterator.

        Raises:
            ProtocolError: a line is longer than ``MAX_LINE_BYTES``. All requests before it have
                been yielded.
        """
        if _CR in data or self._rest[-1] == _CR:
            data = self._with_plain_ends(data)
        text = self._rest + data
        begin = 0
        while end := text.find(b"\n\n", begin) + 1:
            yield _read(text[begin:end], self._attributes)
            begin = end
        self._rest = text[begin:]
        if self._dropped and b"\n" in data:
            self._dropped = 0
        if len(self._rest) > MAX_HELD_BYTES:
            self._condense()

    def _with_plain_ends(self, data: bytes) -> bytes:
        """Replace CR LF by LF, even if the CR ended the previous data."""
        if self._rest.endswith(b"\r"):
            self._rest, data = self._rest[:-1], b"\r" + data
        return data.replace(b"\r\n", b"\n")

    def _condense(self) -> None:
        """Drop the bytes of an incomplete request that cannot affect its values."""
        lines, _, last = self._rest.rpartition(b"\n")
        values = dict(self._attributes.findall(lines))
        garbage = _garbage(lines + b"\n", values)
        values.pop(b"", None)
        kept = [] if garbage is None else [garbage]
        kept += [b"%b=%b" % attribute for attribute in values.items()]
        name, equals, value = last.partition(b"=")
        # Keep one byte more than is used, so that a CR within the line does not look like its end.
        beginning = name[: MAX_VALUE_BYTES + 1] + equals + value[: MAX_VALUE_BYTES + 1]
        self._dropped += len(last) - len(beginning)
        self._rest = b"\n" + b"\n".join([*kept, beginning])
        if self._dropped > MAX_LINE_BYTES:
            raise ProtocolError(f"a line has no end after {MAX_LINE_BYTES} bytes")


def _read(lines: bytes, attributes: re.Pattern[bytes]) -> Request:
    """Parse ``lines``, which have a line feed before each line and after the last one."""
    values = dict(attributes.findall(lines))
    return Request._make([*map(values.get, _NAMES), _garbage(lines, values)])


def _garbage(lines: bytes, values: dict[bytes, bytes]) -> bytes | None:
    """Return the first line without a name or without ``=``; None if all lines are valid."""
    # Without all other bytes, two line feeds in a row are a line without =.
    if b"" not in values and b"\n\n" not in lines.translate(None, _ALL_BUT_BORDERS):
        return None
    each = lines[1:-1].split(b"\n")
    return next(line[:MAX_VALUE_BYTES] for line in each if line.find(b"=") < 1)


def encode_reply(action: bytes) -> bytes:
    """Return the bytes of a reply; ``action`` is an action of access(5) with its text."""
    return b"action=" + action + b"\n\n"
