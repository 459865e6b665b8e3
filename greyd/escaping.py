"""Bytes and text from strangers, made harmless for logs and terminals."""

from __future__ import annotations

import re

_ODD = re.compile(rb"[^\x20-\x7e]")


def percent_encode(text: bytes) -> bytes:
    """Return octets from the network as one harmless line: all but printable ASCII as ``%XX``.

    That is what postgrey does; nothing can start a line of its own or steer a terminal.
    """
    return _ODD.sub(lambda odd: b"%%%02X" % odd[0][0], text) if _ODD.search(text) else text


def printable(data: bytes) -> str:
    """Return octets of a stranger as they can stand on a terminal."""
    return percent_encode(data).decode()


def printable_text(text: str) -> str:
    """Return a text of a stranger as it can stand on a terminal; any octets may be in it."""
    return printable(text.encode(errors="surrogateescape"))
