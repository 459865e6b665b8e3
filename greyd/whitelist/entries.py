"""Whitelist files: their lines, and the notation of entries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from greyd.config.regular_files import FileError, read_regular_file
from greyd.redaction import excerpt, redacted_path
from greyd.rules.networks import Network, parse_network
from greyd.whitelist.errors import WhitelistError

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_FILE_BYTES = 32 * 1024 * 1024
"""Octets of a whitelist file; a larger one is not read."""


class WhitelistEntry(NamedTuple):
    """Where an entry stands."""

    file: str
    line: int
    text: bytes


class Diagnostic(NamedTuple):
    """Something about a line that its author should know."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class WhitelistFile(NamedTuple):
    """A file's name and content."""

    file: str
    content: bytes


def read_whitelist_file(file: str) -> WhitelistFile:
    """Read a file.

    Raises:
        WhitelistError: it is missing, no regular file, not readable, or too large; the text says
            which.
    """
    try:
        return WhitelistFile(file, read_regular_file(file, MAX_FILE_BYTES))
    except FileError as error:
        raise WhitelistError(f"{redacted_path(file)}: {error}") from error


def parse_entries(
    source: WhitelistFile, diagnostics: list[Diagnostic], what: str
) -> Iterator[WhitelistEntry]:
    """Yield the entries of a file, each ``what``; a line that can't be one becomes a remark."""
    for number, line in enumerate(source.content.split(b"\n"), 1):
        text = line.partition(b"#")[0].strip(b" \t\r\v\f")
        if text.startswith(b"\xef\xbb\xbf") and number == 1:
            diagnostics.append(
                Diagnostic(source.file, 1, "starts with a byte order mark; take it out")
            )
        if len(text.split()) > 1:
            diagnostics.append(
                Diagnostic(source.file, number, f"{quoted(text)} – not {what}; one entry a line")
            )
        elif text:
            yield WhitelistEntry(source.file, number, text)


def quoted(text: bytes) -> str:
    """Return a text in quotes, shortened and fit for a terminal."""
    return '"' + excerpt(text[:80].decode(errors="backslashreplace")) + '"'


def is_pattern(text: bytes) -> bool:
    """Whether an entry is a pattern."""
    return len(text) > 1 and text.startswith(b"/") and text.endswith(b"/")


# Networks ---------------------------------------------------------------------------------------

PARTIAL_IPV4 = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){1,2}")


def network_of_entry(text: bytes) -> Network | None:
    """Return the network that an entry of a clients' list stands for; None where it is none."""
    if PARTIAL_IPV4.fullmatch(text):
        return parse_network(text + (b".0" if text.count(b".") == 2 else b".0.0") + b"/24")
    return parse_network(text)
