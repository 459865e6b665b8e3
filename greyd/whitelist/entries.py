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

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""The byte order mark in UTF-8."""

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
    """Whether the line works, and probably does what its author meant."""

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
    """Return a text, cut off after ``MAX_SHOWN_BYTES``, with escapes such as ``<U+200B>``."""
    shown = text[:MAX_SHOWN_BYTES].replace(b"\t", b" ").decode(errors="backslashreplace")
    return excerpt(
        "".join(each if each.isprintable() else f"<U+{ord(each):04X}>" for each in shown)
    )


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
    diagnostics += _encoding_problems(source)
    for entry in _lines(source):
        if _has_spaces(entry.text):
            problem = "skipped, because it contains spaces"
            diagnostics.append(diagnostic_of(entry, problem, "write one entry per line"))
        else:
            yield entry


def spaced_lines(source: WhitelistFile) -> Iterator[WhitelistEntry]:
    """Yield the lines with several words, which are not entries."""
    return (entry for entry in _lines(source) if _has_spaces(entry.text))


def _lines(source: WhitelistFile) -> Iterator[WhitelistEntry]:
    """Yield the lines that are not blank, without comments."""
    for number, line in enumerate(source.content.split(b"\n"), 1):
        if text := line.partition(b"#")[0].strip(b" \t\r\v\f"):
            yield WhitelistEntry(source.file, number, text)


def _has_spaces(text: bytes) -> bool:
    return len(text.split()) > 1


def is_utf16(source: WhitelistFile) -> bool:
    """Whether a file starts with the byte order mark of UTF-16."""
    return source.content.startswith((b"\xff\xfe", b"\xfe\xff"))


def _encoding_problems(source: WhitelistFile) -> Iterator[Diagnostic]:
    if is_utf16(source):
        problem = "the file is in UTF-16, so every line is misread"
        yield Diagnostic(source.file, 1, "", problem, "save it as UTF-8 or ASCII")
    if source.content.lstrip(b" \t\r\v\f").startswith(BYTE_ORDER_MARK):
        problem = (
            "the file starts with a byte order mark (U+FEFF, bytes ef bb bf), so its first line"
            " never matches"
        )
        yield Diagnostic(source.file, 1, "", problem, "remove it")


def is_pattern(text: bytes) -> bool:
    """Whether an entry is a pattern: ``/regex/``."""
    return len(text) > 1 and text.startswith(b"/") and text.endswith(b"/")


def network_of_entry(text: bytes) -> Network | None:
    """Return the network that a client entry denotes; None for any other entry.

    ``192.0.2`` is 192.0.2.0/24 and ``192.0`` is 192.0.0.0/24 (postgrey's behaviour).
    """
    if PARTIAL_IPV4.fullmatch(text):
        return parse_network(text + (b".0" if text.count(b".") == 2 else b".0.0") + b"/24")
    return parse_network(text)
