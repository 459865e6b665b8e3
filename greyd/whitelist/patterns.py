"""Patterns in whitelists: regular expressions with Perl's meaning, searched by RE2.

The searched names come from clients, so the time of a search must be linear in the length of the
name. RE2 guarantees this, but interprets many expressions differently from Perl, and does not
support look-around, back-references, and possessive or atomic groups. So RE2 never gets a pattern
straight from the file: ``perl_regex`` parses it by Perl's rules, and writes an equivalent one for
RE2. A pattern that it refuses is skipped, and causes a diagnostic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import re2

from greyd.whitelist.entries import Diagnostic, WhitelistEntry, diagnostic_of
from greyd.whitelist.errors import PatternError
from greyd.whitelist.perl_regex.parser import parse_pattern
from greyd.whitelist.perl_regex.re2_text import re2_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.whitelist.perl_regex.syntax import ParsedPattern

    Search = Callable[[bytes], Any]


if not hasattr(re2, "Options"):
    raise ImportError(f"{re2.__file__} is another package of that name", name="re2")


def _options(max_memory_bytes: int) -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.log_errors = False
    options.max_mem = max_memory_bytes
    return options


_SINGLE_OPTIONS = _options(2**20)
_GROUP_OPTIONS = _options(2**23)
_GROUP_SIZE = 200


@dataclass(frozen=True, slots=True)
class CompiledPattern:
    """A pattern that can be searched for."""

    parsed: ParsedPattern
    re2_text: bytes
    search: Search


class PatternList:
    """Searches for patterns in groups of ``_GROUP_SIZE``, because most names match no pattern."""

    def __init__(self) -> None:
        self._entries: list[tuple[CompiledPattern, WhitelistEntry]] = []
        self._groups: list[tuple[Search, list[tuple[Search, WhitelistEntry]]]] = []
        self.are_ascii = True
        """False if a pattern has other characters, and may be meant for a domain in UTF-8."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: WhitelistEntry, diagnostics: list[Diagnostic]) -> None:
        """Add the pattern of an entry, and append a diagnostic for each problem with it."""
        text = entry.text[1:-1]
        try:
            pattern = compile_pattern(text)
        except PatternError as error:
            remedy = "rewrite the pattern without it"
            diagnostics.append(diagnostic_of(entry, f"skipped: {error}", remedy))
            return
        diagnostics += (
            diagnostic_of(entry, each.problem, each.remedy, is_note=each.is_note)
            for each in pattern.parsed.remarks
        )
        self._entries.append((pattern, entry))
        self.are_ascii = self.are_ascii and text.isascii()

    def first(self, text: bytes) -> WhitelistEntry | None:
        """Return the first entry whose pattern matches anywhere in ``text``; None without one."""
        for search, group in self._groups:
            if search(text):
                return next((entry for each, entry in group if each(text)), None)
        return None

    def combine(self) -> None:
        """Compile the groups. Call this once, after the last ``add`` and before ``first``."""
        for start in range(0, len(self._entries), _GROUP_SIZE):
            patterns = self._entries[start : start + _GROUP_SIZE]
            group = [(pattern.search, entry) for pattern, entry in patterns]
            try:
                any_of = b"|".join(b"(?:%b)" % pattern.re2_text for pattern, _ in patterns)
                self._groups.append((_compile(any_of, _GROUP_OPTIONS), group))
            except re2.error:
                self._groups += [(each, [(each, entry)]) for each, entry in group]


def compile_pattern(pattern: bytes) -> CompiledPattern:
    """Compile a pattern, the text between the slashes.

    Raises:
        PatternError: the pattern is empty, Perl refuses it, or RE2 cannot search for it.
    """
    if not pattern:
        raise PatternError("empty pattern")
    parsed = parse_pattern(pattern)
    text = re2_text(parsed.root)
    try:
        return CompiledPattern(parsed, text, _compile(text, _SINGLE_OPTIONS))
    except re2.error as error:
        raise PatternError(_reason(error)) from error


def _reason(error: re2.error) -> str:
    reason = str(error).removeprefix("b'").removesuffix("'")
    return "it needs too much memory" if "too large" in reason else reason


def _compile(pattern: bytes, options: re2.Options) -> Search:
    search: Search = re2.compile(pattern, options).search
    return search
