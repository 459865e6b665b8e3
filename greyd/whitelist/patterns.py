"""Regular expressions in whitelists: Perl's syntax, as far as RE2 supports it.

The searched names come from clients, so the time of a search must be linear in the length of the
name. RE2 guarantees this, but does not support look-around, back-references, and possessive or
atomic groups. A pattern with one of these is skipped, and causes a diagnostic.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import re2

from greyd.whitelist.entries import Diagnostic, WhitelistEntry, diagnostic_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Search = Callable[[bytes], Any]


if not hasattr(re2, "Options"):
    raise ImportError(f"{re2.__file__} is another package of that name", name="re2")


def _options(max_memory_bytes: int) -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.log_errors = False
    options.max_mem = max_memory_bytes
    return options


_SINGLE_OPTIONS = _options(2**20)
_GROUP_OPTIONS = _options(2**23)
# Names contain no line feed, so Perl's \Z and \z match at the same place. RE2 has only \z.
_PERL_ONLY = re.compile(rb"\\.|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_IN_CLASS = re.compile(rb"\\h|\\.", re.DOTALL)


def _to_re2(pattern: bytes) -> bytes:
    r"""Replace Perl's escapes that RE2 does not have: ``\Z`` and ``\h``."""

    def spell(found: re.Match[bytes]) -> bytes:
        if found[0].startswith(b"["):
            return _IN_CLASS.sub(lambda one: b" \\t" if one[0] == b"\\h" else one[0], found[0])
        return {b"\\Z": b"\\z", b"\\h": b"[ \\t]"}.get(found[0], found[0])

    return _PERL_ONLY.sub(spell, pattern)


_GROUP_SIZE = 200


class PatternList:
    """Searches for patterns in groups of ``_GROUP_SIZE``, because most names match no pattern."""

    def __init__(self) -> None:
        self._entries: list[tuple[Search, WhitelistEntry]] = []
        self._groups: list[tuple[Search, list[tuple[Search, WhitelistEntry]]]] = []
        self.are_ascii = True
        """False if a pattern has other characters, and may be meant for a domain in UTF-8."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: WhitelistEntry, diagnostics: list[Diagnostic]) -> None:
        """Add the pattern of an entry; if RE2 does not support it, append a diagnostic instead."""
        pattern = entry.text[1:-1]
        try:
            if not pattern:
                raise re2.error("empty pattern")
            self._entries.append((compile_search(pattern), entry))
            self.are_ascii = self.are_ascii and pattern.isascii()
        except re2.error as error:
            reason = str(error).removeprefix("b'").removesuffix("'")
            remedy = "rewrite the pattern without it"
            diagnostics.append(diagnostic_of(entry, f"skipped: {reason}", remedy))

    def first(self, text: bytes) -> WhitelistEntry | None:
        """Return the first entry whose pattern matches anywhere in ``text``; None without one."""
        for search, group in self._groups:
            if search(text):
                return next((entry for each, entry in group if each(text)), None)
        return None

    def combine(self) -> None:
        """Compile the groups. Call this once, after the last ``add`` and before ``first``."""
        for start in range(0, len(self._entries), _GROUP_SIZE):
            group = self._entries[start : start + _GROUP_SIZE]
            try:
                # A quotation without an end (\Q) would include the patterns after its own.
                if any(b"\\Q" in entry.text for _, entry in group):
                    raise re2.error("quoted")
                any_of = b"|".join(b"(?:%b)" % entry.text[1:-1] for _, entry in group)
                self._groups.append((_compile(any_of, _GROUP_OPTIONS), group))
            except re2.error:
                self._groups += [(each, [(each, entry)]) for each, entry in group]


def compile_search(pattern: bytes) -> Search:
    """Return a function that searches a text for a pattern, ignoring case.

    Raises:
        re2.error: RE2 does not support the pattern.
    """
    return _compile(pattern, _SINGLE_OPTIONS)


def _compile(pattern: bytes, options: re2.Options) -> Search:
    search: Search = re2.compile(_to_re2(pattern), options).search
    return search
