r"""The policy delegation protocol of Postfix: bytes to requests, an action to bytes. No I/O.

Source: Postfix's SMTPD_POLICY_README, and what postgrey accepts besides::

    request   = *(attribute LF) LF
    attribute = name "=" value          ; the value may hold "="
    reply     = "action=" text LF LF

CR LF is taken for LF. The order of attributes is free, and the last of a repeated one counts.

What a peer can make the parser hold is bounded: one value of ``MAX_VALUE`` octets for each
attribute that greyd uses, and the beginning of one line. Attributes that nothing uses are dropped
as they come, so a request may be of any length, and so may a line up to ``MAX_LINE``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_VALUE = 512
"""Octets kept of a name or a value; postgrey cuts them there too."""

MAX_LINE = 1024 * 1024
"""Octets of a line without an end after which the connection is given up."""

_MOST_OF_A_LINE = 2 * MAX_VALUE + 2

_SLICE = 16 * 1024


class ProtocolError(Exception):
    """The peer does not speak the protocol, and its connection is to be closed."""


class Request(NamedTuple):
    """One policy request: the attributes that greyd uses, as the octets that came.

    ``None`` says that an attribute was absent, which is not the same as empty.
    """

    request: bytes | None = None
    client_address: bytes | None = None
    client_name: bytes | None = None
    sender: bytes | None = None
    recipient: bytes | None = None
    instance: bytes | None = None
    queue_id: bytes | None = None
    sasl_username: bytes | None = None
    etrn_domain: bytes | None = None
    policy_test_time: bytes | None = None
    garbage: bytes | None = None
    """The first line without ``=`` in this request; such lines count for nothing."""


_NONE: tuple[None, ...] = (None,) * len(Request._fields)
_GARBAGE = Request._fields.index("garbage")
_PLACES = {name.encode(): place for place, name in enumerate(Request._fields[:_GARBAGE])}


class RequestParser:
    """Turns a connection's octets into requests, wherever the packets' borders are."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropped = 0
        self._fields: list[bytes | None] = list(_NONE)

    def feed(self, data: bytes) -> Iterator[Request]:
        """Yield each request that ``data`` completes; to be read to its end.

        Raises:
            ProtocolError: a line is longer than ``MAX_LINE``; what was complete before it has
                been yielded.
        """
        # Slices bound what one large read can cost while it is split into lines.
        for start in range(0, len(data), _SLICE):
            text = self._rest + data[start : start + _SLICE]
            if b"\r" in text:
                text = text.replace(b"\r\n", b"\n")
            *lines, self._rest = text.split(b"\n")
            for line in lines:
                if line:
                    name, equals, value = line.partition(b"=")
                    place = _PLACES.get(name)
                    if place is not None and equals:
                        self._fields[place] = value[:MAX_VALUE]
                    elif not name or not equals:
                        self._fields[_GARBAGE] = self._fields[_GARBAGE] or line[:MAX_VALUE]
                else:
                    yield Request._make(self._fields)
                    self._fields = list(_NONE)
            if len(self._rest) > _MOST_OF_A_LINE:
                self._shorten(ended=bool(lines))
            elif lines:
                self._dropped = 0

    def _shorten(self, *, ended: bool) -> None:
        """Drop what can't count of a line that goes on: a name and a value are cut anyway."""
        name, equals, value = self._rest.partition(b"=")
        kept = name[: MAX_VALUE + 1] + equals + value[:MAX_VALUE]
        dropped = len(self._rest) - len(kept)
        self._dropped = dropped if ended else self._dropped + dropped
        self._rest = kept
        if self._dropped > MAX_LINE:
            raise ProtocolError(f"a line has no end after {MAX_LINE} octets")


def encode(action: bytes) -> bytes:
    """Return the reply that tells Postfix to take ``action``, an access(5) action and its text."""
    return b"action=" + action + b"\n\n"
