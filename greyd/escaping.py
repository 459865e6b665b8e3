"""Escapes untrusted bytes and text for logs, terminals and shells."""

from __future__ import annotations

import re
import shlex

_ODD = re.compile(rb"[^\x20-\x7e]")
_NOT_IN_NAMES = re.compile(rb"[^0-9A-Za-z._:\[\]-]")
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")


def percent_encode(text: bytes) -> bytes:
    """Encode every byte except printable ASCII as ``%XX``, as postgrey does.

    The result is one line and cannot control a terminal.
    """
    return _ODD.sub(lambda odd: b"%%%02X" % odd[0][0], text) if _ODD.search(text) else text


def encode_name(name: bytes) -> bytes:
    """Encode every byte that no host name and no address literal has as ``%XX``, also ``%`` itself.

    The result contains no comma, space or ``=``, so it cannot look like another field of a log
    line. ``decode_name`` returns the name.
    """
    if not _NOT_IN_NAMES.search(name):
        return name
    return _NOT_IN_NAMES.sub(lambda odd: b"%%%02X" % odd[0][0], name)


def decode_name(text: bytes) -> bytes:
    """Return the name that ``encode_name`` encoded."""
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text) if b"%" in text else text


def printable(data: bytes) -> str:
    """Return untrusted bytes as text that is safe to print."""
    return percent_encode(data).decode()


def printable_text(text: str) -> str:
    """Return untrusted text, which may contain any surrogates, as text that is safe to print.

    Surrogate escapes come from bytes that are not UTF-8, others from JSON that escapes them.
    """
    return printable(_encoded(text))


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def shell_word(word: bytes | str) -> str:
    """Return untrusted text as one word of a shell's command line, which is safe to print.

    Characters other than printable ASCII become octal escapes in ``$'…'`` (POSIX.1-2024; bash, zsh,
    ksh and busybox have long had it).
    """
    data = word if isinstance(word, bytes) else _encoded(word)
    if not _ODD.search(data):
        return shlex.quote(data.decode())
    escaped = re.sub(rb"['\\]|[^\x20-\x7e]", lambda odd: b"\\%03o" % odd[0][0], data)
    return f"$'{escaped.decode()}'"
