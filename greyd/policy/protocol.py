r"""The policy delegation protocol of Postfix: bytes to requests, an action to bytes. No I/O.

Source: Postfix's SMTPD_POLICY_README, and what postgrey accepts besides::

    request   = *(attribute LF) LF
    attribute = name "=" value          ; the value may hold "="
    reply     = "action=" text LF LF

CR LF is taken for LF. The order of attributes is free, and the last of a repeated one counts.

What a peer can make the parser hold is bounded: where a request has not ended after ``MAX_HELD``
octets, all is dropped but the values that greyd uses, ``MAX_VALUE`` octets of each, and the
beginning of the last line. So a request may be of any length, and so may a line up to ``MAX_LINE``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.rules.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


MAX_VALUE = 512
"""Octets kept of a name or a value; postgrey cuts them there too."""

MAX_LINE = 1024 * 1024
"""Octets of a line without an end after which the connection is given up."""

MAX_HELD = 8 * 1024
"""Octets kept of a request that has not ended."""


class ProtocolError(Exception):
    """The peer does not speak the protocol, and its connection is to be closed."""


_NAMES = tuple(name.encode() for name in Request._fields[:-1])
OF_IDENTITY = ("helo_name", "reverse_client_name", "policy_context")
"""Attributes that only the evidence about a client needs."""


def _attributes(names: Iterable[bytes]) -> re.Pattern[bytes]:
    # One search for all attributes makes no objects of the lines that nobody uses. The line feed
    # before a name, which the engine looks for first, is what makes it quick.
    return re.compile(rb"\n(%b|)=([^\n]{0,%d})" % (b"|".join(names), MAX_VALUE))


_ALL = _attributes(_NAMES)
_USUAL = _attributes(name for name in _NAMES if name.decode() not in OF_IDENTITY)
_CR = ord("\r")
"""An octet is found in octets five times as quickly by its number as by its text."""
_ALL_BUT_BORDERS = bytes(byte for byte in range(256) if byte not in b"\n=")


class RequestParser:
    """Turns a connection's octets into requests, wherever the packets' borders are."""

    def __init__(self, *, of_identity: bool = False) -> None:
        """Read requests, and ``OF_IDENTITY`` in them only where that is wanted."""
        self._attributes = _ALL if of_identity else _USUAL
        # Begins with a line feed, and so do all texts here: each line has one before it.
        self._rest = b"\n"
        self._dropped = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield each request that ``data`` completes; to be read to its end.

        Raises:
            ProtocolError: a line is longer than ``MAX_LINE``; what was complete before it has
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
        if len(self._rest) > MAX_HELD:
            self._condense()

    def _with_plain_ends(self, data: bytes) -> bytes:
        """Write CR LF as LF, also where it falls between two packets."""
        if self._rest.endswith(b"\r"):
            self._rest, data = self._rest[:-1], b"\r" + data
        return data.replace(b"\r\n", b"\n")

    def _condense(self) -> None:
        """Drop what can't count of a request that goes on: names and values are cut anyway."""
        lines, _, last = self._rest.rpartition(b"\n")
        values = dict(self._attributes.findall(lines))
        garbage = _garbage(lines + b"\n", values)
        values.pop(b"", None)
        kept = [] if garbage is None else [garbage]
        kept += [b"%b=%b" % attribute for attribute in values.items()]
        name, equals, value = last.partition(b"=")
        # One octet more than counts: a CR there can be no part of a line end any more.
        beginning = name[: MAX_VALUE + 1] + equals + value[: MAX_VALUE + 1]
        self._dropped += len(last) - len(beginning)
        self._rest = b"\n" + b"\n".join([*kept, beginning])
        if self._dropped > MAX_LINE:
            raise ProtocolError(f"a line has no end after {MAX_LINE} octets")


def _read(lines: bytes, attributes: re.Pattern[bytes]) -> Request:
    """Return the request in ``lines``, each with a line feed before it, the last with one after."""
    values = dict(attributes.findall(lines))
    return Request._make([*map(values.get, _NAMES), _garbage(lines, values)])


def _garbage(lines: bytes, values: dict[bytes, bytes]) -> bytes | None:
    """Return the first line without a name or without ``=``."""
    # Without all else, two line feeds in a row are a line without =.
    if b"" not in values and b"\n\n" not in lines.translate(None, _ALL_BUT_BORDERS):
        return None
    each = lines[1:-1].split(b"\n")
    return next(line[:MAX_VALUE] for line in each if line.find(b"=") < 1)


def encode_reply(action: bytes) -> bytes:
    """Return the reply that tells Postfix to take ``action``, an access(5) action and its text."""
    return b"action=" + action + b"\n\n"
