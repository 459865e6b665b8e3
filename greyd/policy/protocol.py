r"""The policy delegation protocol of Postfix: parses requests, renders replies. No I/O.

Source: Postfix's SMTPD_POLICY_README, and what postgrey accepts besides::

    request   = *(attribute LF) LF
    attribute = name "=" value          ; the value may hold "="
    reply     = "action=" text LF LF

CR LF ends a line like LF. Attributes come in any order; of a repeated one, the last counts.

The parser's memory is bounded: of an incomplete request of more than ``MAX_HELD_BYTES`` it keeps
only the values that greyd uses, ``MAX_VALUE_BYTES`` of each, and the beginning of the last line. So
a request may have any length, and a line may have up to ``MAX_LINE_BYTES``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.errors import GreydError
from greyd.rules.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


MAX_VALUE_BYTES = 512
"""Kept of a name or a value; postgrey cuts them at the same length."""

MAX_LINE_BYTES = 1024 * 1024
"""A connection is closed when an incomplete line is longer."""

MAX_HELD_BYTES = 8 * 1024
"""Kept of an incomplete request."""


class ProtocolError(GreydError):
    """The peer does not speak the protocol; its connection has to be closed."""


_NAMES = tuple(name.encode() for name in Request._fields if name != "garbage")
EVIDENCE_ATTRIBUTES = ("helo_name", "reverse_client_name", "policy_context")
"""Attributes that are needed only to collect evidence about a client."""


def _attributes(names: Iterable[bytes]) -> re.Pattern[bytes]:
    # One search for all attributes creates no objects for unused lines. It is fast because the
    # engine first searches for the line feed before a name.
    return re.compile(rb"\n(%b|)=([^\n]{0,%d})" % (b"|".join(names), MAX_VALUE_BYTES))


_ALL = _attributes(_NAMES)
_USUAL = _attributes(name for name in _NAMES if name.decode() not in EVIDENCE_ATTRIBUTES)
_CR = ord("\r")
"""As a number: bytes are searched for a number five times as fast as for a text."""
_ALL_BUT_BORDERS = bytes(byte for byte in range(256) if byte not in b"\n=")


class RequestParser:
    """Turns a connection's bytes into requests, however they are split into packets."""

    def __init__(self, *, of_identity: bool = False) -> None:
        """Parse requests; with ``of_identity`` also the attributes in ``EVIDENCE_ATTRIBUTES``."""
        self._attributes = _ALL if of_identity else _USUAL
        # Begins with a line feed, as every text here: each line has one before it.
        self._rest = b"\n"
        self._dropped = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield each request that ``data`` completes; the caller has to exhaust the iterator.

        Raises:
            ProtocolError: a line is longer than ``MAX_LINE_BYTES``; all requests before it have
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
        """Replace CR LF by LF, also if it is split between two packets."""
        if self._rest.endswith(b"\r"):
            self._rest, data = self._rest[:-1], b"\r" + data
        return data.replace(b"\r\n", b"\n")

    def _condense(self) -> None:
        """Drop the bytes of an incomplete request that cannot matter any more."""
        lines, _, last = self._rest.rpartition(b"\n")
        values = dict(self._attributes.findall(lines))
        garbage = _garbage(lines + b"\n", values)
        values.pop(b"", None)
        kept = [] if garbage is None else [garbage]
        kept += [b"%b=%b" % attribute for attribute in values.items()]
        name, equals, value = last.partition(b"=")
        # One byte more than is used, so that a CR there cannot become part of a line end.
        beginning = name[: MAX_VALUE_BYTES + 1] + equals + value[: MAX_VALUE_BYTES + 1]
        self._dropped += len(last) - len(beginning)
        self._rest = b"\n" + b"\n".join([*kept, beginning])
        if self._dropped > MAX_LINE_BYTES:
            raise ProtocolError(f"a line has no end after {MAX_LINE_BYTES} bytes")


def _read(lines: bytes, attributes: re.Pattern[bytes]) -> Request:
    """Return the request in ``lines``; a line feed is before each line and after the last one."""
    values = dict(attributes.findall(lines))
    return Request._make([*map(values.get, _NAMES), _garbage(lines, values)])


def _garbage(lines: bytes, values: dict[bytes, bytes]) -> bytes | None:
    """Return the first line without a name or without ``=``."""
    # With all other bytes removed, two line feeds in a row show a line without =.
    if b"" not in values and b"\n\n" not in lines.translate(None, _ALL_BUT_BORDERS):
        return None
    each = lines[1:-1].split(b"\n")
    return next(line[:MAX_VALUE_BYTES] for line in each if line.find(b"=") < 1)


def encode_reply(action: bytes) -> bytes:
    """Return the reply with ``action``: an action of access(5) and its text."""
    return b"action=" + action + b"\n\n"
