"""Whitelist files: reading them, and the entries on their lines.

``#`` starts a comment anywhere on a line; surrounding spaces and blank lines are ignored.
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
"""The size of a whitelist file; a larger one is not read."""

MAX_SHOWN_BYTES = 80
"""The part of an entry that messages show."""

PARTIAL_IPV4 = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){1,2}")
"""Two or three numbers: postgrey's short form of a network /24."""


@dataclass(frozen=True, slots=True)
class WhitelistFile:
    """The name and content of a whitelist file."""

    file: str
    content: bytes


@dataclass(frozen=True, slots=True)
class WhitelistEntry:
    """An entry, and where it is."""

    file: str
    line: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A problem of a line, and its remedy."""

    file: str
    line: int
    entry: str
    """The entry's text, fit for a terminal; empty if the problem is the file's."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        entry = f'"{self.entry}" – ' if self.entry else ""
        return f"{self.file}:{self.line}: {entry}{self.problem}; {self.remedy}"


def diagnostic_of(entry: WhitelistEntry, problem: str, remedy: str) -> Diagnostic:
    """Return the diagnostic of an entry."""
    return Diagnostic(entry.file, entry.line, display_text(entry.text), problem, remedy)


def display_text(text: bytes) -> str:
    """Return a text shortened and fit for a terminal."""
    return excerpt(text[:MAX_SHOWN_BYTES].decode(errors="backslashreplace"))


def read_whitelist_file(file: str) -> WhitelistFile:
    """Read a file.

    Raises:
        WhitelistError: it is missing, not a regular file, unreadable, or too large.
    """
    try:
        return WhitelistFile(file, read_regular_file(file, MAX_FILE_BYTES))
    except FileError as error:
        raise WhitelistError(f"{redacted_path(file)}: {error}") from error


def parse_entries(source: WhitelistFile, diagnostics: list[Diagnostic]) -> Iterator[WhitelistEntry]:
    """Yield the entries of a file; for each line that is skipped, append to ``diagnostics``."""
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
    """Return the network of a client entry; None if it is not a network.

    ``192.0.2`` is 192.0.2.0/24 and ``192.0`` is 192.0.0.0/24, as in postgrey.
    """
    if PARTIAL_IPV4.fullmatch(text):
        return parse_network(text + (b".0" if text.count(b".") == 2 else b".0.0") + b"/24")
    return parse_network(text)
