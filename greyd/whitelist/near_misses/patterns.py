"""Why a pattern nearly matches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import re2

from greyd.whitelist.entries import is_pattern
from greyd.whitelist.near_misses.reasons import PATTERN, WRITTEN, Reason
from greyd.whitelist.patterns import compile_search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.whitelist.patterns import Search


# Patterns -----------------------------------------------------------------------------------------


def compile_or_none(pattern: bytes) -> Search | None:
    """Return the search of a pattern; None where it is invalid."""
    try:
        return compile_search(pattern) if pattern else None
    except re2.error:
        return None


def pattern_reason(text: bytes, name: bytes) -> Reason | None:
    """Return why a pattern is not found in a name in which one like it would be."""
    if not name:
        return None
    for rank, pattern, why in _pattern_variants(text):
        search = compile_or_none(pattern)
        if search is not None and search(name):
            return Reason(rank, why)
    return None


def _pattern_variants(text: bytes) -> Iterator[tuple[int, bytes, str]]:
    """Yield patterns that were perhaps meant, each with what is otherwise with it."""
    if not is_pattern(text):
        body = text[1:]
        if found := re.fullmatch(rb"(.+)/[a-z]+", body):
            flags = "is no pattern: it has to end with a slash, and is case-blind anyway"
            yield WRITTEN, found[1], flags
        else:
            yield WRITTEN, body, "is no pattern: it has no slash at its end (# begins a comment)"
        return
    pattern = text[1:-1]
    if b"\\\\." in pattern:
        yield WRITTEN, pattern.replace(b"\\\\.", b"\\."), r"would match with \. for each \\."
    if b"*" in pattern and b".*" not in pattern:
        glob = re.sub(rb"\\?\*", b".*", pattern)
        yield PATTERN, glob, "would match with .* for *: * repeats what stands before it"
    start, end = pattern.startswith(b"^"), pattern.endswith(b"$")
    bare = pattern.removeprefix(b"^").removesuffix(b"$")
    if start:
        yield PATTERN, pattern[1:], "would match without ^: the name does not begin so"
    if end:
        yield PATTERN, pattern[:-1], "would match without $: the name goes on after it"
    if start and end:
        yield PATTERN, bare, "would match without ^ and $: the name only holds it"
    loose = pattern.replace(rb"\.", b".")
    if loose != pattern:
        yield PATTERN, loose, r"would match if its \. stood for any character"
