"""The reasons why a pattern nearly matches."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.whitelist.entries import is_pattern
from greyd.whitelist.errors import PatternError
from greyd.whitelist.near_misses.reasons import Likelihood, MismatchReason
from greyd.whitelist.patterns import compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.whitelist.patterns import Search


# Patterns -----------------------------------------------------------------------------------------


def compile_or_none(pattern: bytes) -> Search | None:
    """Return a function that searches for a pattern; None if the pattern is empty or invalid."""
    try:
        return compile_pattern(pattern).search
    except PatternError:
        return None


def pattern_reason(text: bytes, name: bytes) -> MismatchReason | None:
    """Return the difference to a similar pattern that matches the name; None without one."""
    if not name:
        return None
    for likelihood, pattern, difference in _pattern_variants(text):
        search = compile_or_none(pattern)
        if search is not None and search(name):
            return MismatchReason(likelihood, difference)
    return None


def _pattern_variants(text: bytes) -> Iterator[tuple[Likelihood, bytes, str]]:
    """Yield similar patterns, each with its likelihood and a text about the difference."""
    if not is_pattern(text):
        body = text[1:]
        if found := re.fullmatch(rb"(.+)/[a-z]+", body):
            flags = "is not a pattern: it must end with a slash; patterns ignore case anyway"
            yield Likelihood.NOTATION, found[1], flags
        else:
            yield (
                Likelihood.NOTATION,
                body,
                "is not a pattern: the closing slash is missing (# starts a comment)",
            )
        return
    pattern = text[1:-1]
    if b"\\\\." in pattern:
        yield (
            Likelihood.NOTATION,
            pattern.replace(b"\\\\.", b"\\."),
            r"would match with \. for each \\.",
        )
    if b"*" in pattern and b".*" not in pattern:
        glob = re.sub(rb"\\?\*", b".*", pattern)
        yield (
            Likelihood.SIMILAR_PATTERN,
            glob,
            "would match with .* for *, which repeats the preceding character",
        )
    start, end = pattern.startswith(b"^"), pattern.endswith(b"$")
    bare = pattern.removeprefix(b"^").removesuffix(b"$")
    if start:
        yield (
            Likelihood.SIMILAR_PATTERN,
            pattern[1:],
            "would match without ^: the name starts differently",
        )
    if end:
        yield Likelihood.SIMILAR_PATTERN, pattern[:-1], "would match without $: the name continues"
    if start and end:
        yield Likelihood.SIMILAR_PATTERN, bare, "would match without ^ and $: the name contains it"
    loose = pattern.replace(rb"\.", b".")
    if loose != pattern:
        yield Likelihood.SIMILAR_PATTERN, loose, r"would match if its \. stood for any character"
