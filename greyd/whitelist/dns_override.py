"""Clients that greyd does not look up on blocklists (``--list-override``).

The files have the format of a table for Postfix's ``check_client_access``: each line has a pattern
and an action, as in access(5)::

    example.com      OK      the host, and all hosts below it
    .example.com     OK      the same
    192.0.2.7        OK      an address; 192.0.2, 192.0 and 192 are networks
    192.0.2.0/24     OK
    2001:db8::/32    OK

Text after the action and lines that start with ``#`` are comments. The actions ``OK``, ``PERMIT``
and a number exempt a client from the lists, ``DUNNO`` does not. A line with another action is
skipped and reported.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.whitelist.entries import Diagnostic, WhitelistFile, display_text
from greyd.whitelist.matcher import ClientWhitelist

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARTIAL_ADDRESS = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){0,2}")
_PERMITTING_ACTION = re.compile(rb"(?i:ok|permit|[0-9]+)")


def read_override(sources: Iterable[WhitelistFile]) -> ClientWhitelist:
    """Return the exempt clients of the files, and the diagnostics of all skipped lines."""
    diagnostics: list[Diagnostic] = []
    translated = []
    for source in sources:
        lines = enumerate(source.content.split(b"\n"), 1)
        entries = [
            translated_line(source.file, number, line, diagnostics) for number, line in lines
        ]
        translated.append(WhitelistFile(source.file, b"\n".join(entries)))
    clients = ClientWhitelist(translated)
    clients.diagnostics[:0] = diagnostics
    return clients


def translated_line(file: str, number: int, line: bytes, diagnostics: list[Diagnostic]) -> bytes:
    """Return the whitelist entry that a line corresponds to; empty if it exempts no client."""
    pattern, action, *_ = [*line.split(), b"", b""]
    if not pattern or pattern.startswith(b"#") or action.upper() == b"DUNNO":
        return b""
    if not _PERMITTING_ACTION.fullmatch(action):
        problem = "skipped: the action is not OK, PERMIT, DUNNO or a number"
        remedy = "write a domain or an address, then OK"
        diagnostics.append(Diagnostic(file, number, display_text(line), problem, remedy))
        return b""
    if _PARTIAL_ADDRESS.fullmatch(pattern):
        missing = 3 - pattern.count(b".")
        return pattern + b".0" * missing + b"/%d" % (32 - 8 * missing)
    return pattern.removeprefix(b".")
