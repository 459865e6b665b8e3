"""Escape bytes and text from strangers for logs and terminals."""

from __future__ import annotations

import re

_ODD = re.compile(rb"[^\x20-\x7e]")


def percent_encode(text: bytes) -> bytes:
    """Return bytes from the network as one line, with all except printable ASCII as ``%XX``.

    postgrey does the same. The result can neither start a new line nor control a terminal.
    """
    return _ODD.sub(lambda odd: b"%%%02X" % odd[0][0], text) if _ODD.search(text) else text


def printable(data: bytes) -> str:
    """Escape bytes from a stranger for a terminal."""
    return percent_encode(data).decode()


def printable_text(text: str) -> str:
    """Escape a text from a stranger for a terminal; it may contain surrogate escapes."""
    return printable(text.encode(errors="surrogateescape"))
