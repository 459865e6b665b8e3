"""Escapes untrusted bytes and text for logs and terminals."""

from __future__ import annotations

import re

_ODD = re.compile(rb"[^\x20-\x7e]")


def percent_encode(text: bytes) -> bytes:
    """Encode every byte except printable ASCII as ``%XX``, as postgrey does.

    The result is one line and cannot control a terminal.
    """
    return _ODD.sub(lambda odd: b"%%%02X" % odd[0][0], text) if _ODD.search(text) else text


def printable(data: bytes) -> str:
    """Return untrusted bytes as text that is safe to print."""
    return percent_encode(data).decode()


def printable_text(text: str) -> str:
    """Return untrusted text, which may contain surrogate escapes, as text that is safe to print."""
    return printable(text.encode(errors="surrogateescape"))
