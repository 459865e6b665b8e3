"""Clients whose listings do not count: a file in the style of Postfix's ``check_client_access``.

Each line holds a pattern and an action, as in access(5)::

    example.com      OK      the host, and every host below it
    .example.com     OK      the same
    192.0.2.7        OK      an address; 192.0.2, 192.0 and 192 are networks
    192.0.2.0/24     OK
    2001:db8::/32    OK

What follows the action, and a line that begins with ``#``, is a comment. ``OK``, ``PERMIT`` and a
number mean that listings do not count, ``DUNNO`` that they do; nothing else is taken.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.whitelist.entries import Diagnostic, WhitelistFile
from greyd.whitelist.matcher import ClientWhitelist

if TYPE_CHECKING:
    from collections.abc import Iterable


_PARTIAL_ADDRESS = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){0,2}")
_PERMITTING_ACTION = re.compile(rb"(?i:ok|permit|[0-9]+)")


def read_override(sources: Iterable[WhitelistFile]) -> ClientWhitelist:
    """Return the clients of some files; what can't be used is among the remarks."""
    diagnostics: list[Diagnostic] = []
    plain = [
        WhitelistFile(file, b"\n".join(_entry(file, number, line, diagnostics)
                                for number, line in enumerate(content.split(b"\n"), 1)))
        for file, content in sources
    ]  # fmt: skip
    clients = ClientWhitelist(plain)
    clients.diagnostics[:0] = diagnostics
    return clients


def _entry(file: str, number: int, line: bytes, diagnostics: list[Diagnostic]) -> bytes:
    """Return a line as it stands in a whitelist; empty where it lets nobody off."""
    pattern, action, *_ = [*line.split(), b"", b""]
    if not pattern or pattern.startswith(b"#") or action.upper() == b"DUNNO":
        return b""
    if not _PERMITTING_ACTION.fullmatch(action):
        shown = line[:80].decode(errors="backslashreplace")
        diagnostics.append(
            Diagnostic(file, number, f'"{shown}" – skipped; write a domain or an address, then OK')
        )
        return b""
    if _PARTIAL_ADDRESS.fullmatch(pattern):
        missing = 3 - pattern.count(b".")
        return pattern + b".0" * missing + b"/%d" % (32 - 8 * missing)
    return pattern.removeprefix(b".")
