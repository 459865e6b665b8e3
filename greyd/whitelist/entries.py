"""Reads whitelist files and parses their entries, one on a line.

``#`` starts a comment anywhere on a line. Surrounding spaces and blank lines are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.config.regular_files import FileError, read_regular_file
from greyd.redaction import excerpt, redacted_path
from greyd.rules.networks import Network, parse_network
from greyd.whitelist.errors import WhitelistError

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_FILE_BYTES = 32 * 1024 * 1024
"""Maximum size of a whitelist file; a larger one is an error."""

MAX_SHOWN_BYTES = 80
"""Maximum length of an entry in a message; the rest is cut off."""

_BRACKETED_IPV6 = re.compile(rb"\[(?:ipv6:)?([0-9a-f:.]+)\](/[0-9]{1,3})?", re.IGNORECASE)
_IPV6_TAG = re.compile(rb"ipv6:(?=[0-9a-f:.]*:)", re.IGNORECASE)
"""Forms of IPv6 addresses and networks in Postfix's files: ``[2001:db8::]/48``, ``IPv6:2001:…``."""

PARTIAL_IPV4 = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){1,2}")
"""Two or three numbers: postgrey's short form of a network /24."""


@dataclass(frozen=True, slots=True)
class WhitelistFile:
    """The name and content of a whitelist file."""

    file: str
    content: bytes


@dataclass(frozen=True, slots=True)
class WhitelistEntry:
    """A whitelist entry, with its file and line number."""

    file: str
    line: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A problem with a line of a whitelist file, and its remedy."""

    file: str
    line: int
    entry: str
    """The entry as ``display_text``; empty if the problem concerns the whole file."""
    problem: str
    remedy: str
    is_note: bool = False
    """Whether the line works, and probably does what was meant."""

    def __str__(self) -> str:
        entry = f'"{self.entry}" – ' if self.entry else ""
        return f"{self.file}:{self.line}: {entry}{self.problem}; {self.remedy}"


def diagnostic_of(
    entry: WhitelistEntry, problem: str, remedy: str, *, is_note: bool = False
) -> Diagnostic:
    """Return a diagnostic that names an entry, its file and its line."""
    text = display_text(entry.text)
    return Diagnostic(entry.file, entry.line, text, problem, remedy, is_note)


def display_text(text: bytes) -> str:
    """Return a text without control characters, cut off after ``MAX_SHOWN_BYTES``."""
    return excerpt(text[:MAX_SHOWN_BYTES].decode(errors="backslashreplace"))


def read_whitelist_file(file: str) -> WhitelistFile:
    """Read a whitelist file.

    Raises:
        WhitelistError: the file is missing, not a regular file, unreadable, or too large.
    """
    try:
        return WhitelistFile(file, read_regular_file(file, MAX_FILE_BYTES))
    except FileError as error:
        raise WhitelistError(f"{redacted_path(file)}: {error}") from error


def parse_entries(source: WhitelistFile, diagnostics: list[Diagnostic]) -> Iterator[WhitelistEntry]:
    """Yield the entries of a file, and append a diagnostic for each problem with a line."""
    for number, line in enumerate(source.content.split(b"\n"), 1):
        text = line.partition(b"#")[0].strip(b" \t\r\v\f")
        entry = WhitelistEntry(source.file, number, text)
        if number == 1 and text.startswith(b"\xef\xbb\xbf"):
            problem = "the file starts with a byte order mark"
            diagnostics.append(Diagnostic(source.file, 1, "", problem, "remove it"))
        if len(text.split()) > 1:
            problem = "skipped, because it contains spaces"
            diagnostics.append(diagnostic_of(entry, problem, "write one entry per line"))
        elif text:
            yield entry


def is_pattern(text: bytes) -> bool:
    """Whether an entry is a pattern: ``/regex/``."""
    return len(text) > 1 and text.startswith(b"/") and text.endswith(b"/")


def network_of_entry(text: bytes) -> Network | None:
    """Return the network that a client entry denotes; None for any other entry.

    ``192.0.2`` is 192.0.2.0/24 and ``192.0`` is 192.0.0.0/24 (postgrey's behaviour). Unlike
    postgrey, greyd also reads Postfix's forms of IPv6: ``[2001:db8::]/48``, ``IPv6:2001:db8::1``.
    """
    if PARTIAL_IPV4.fullmatch(text):
        return parse_network(text + (b".0" if text.count(b".") == 2 else b".0.0") + b"/24")
    if b":" in text:
        text = _IPV6_TAG.sub(b"", _BRACKETED_IPV6.sub(rb"\1\2", text), count=1)
    return parse_network(text)
