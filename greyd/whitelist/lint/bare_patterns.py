"""Regular expressions that do not stand between slashes, and so are read as names."""

from __future__ import annotations

import re

from greyd.whitelist.entries import display_text
from greyd.whitelist.errors import PatternError
from greyd.whitelist.lint.findings import ERROR, Problem
from greyd.whitelist.lint.patterns import pattern_problems
from greyd.whitelist.lint.strangers.problems import names_a_domain

_SIGNS = re.compile(rb"\A\^|\$\Z|\\[.dwbs-]|\A\.\*|\.\+|\)\?|\([^()]*\|[^()]*\)")
"""What regular expressions have, and neither names nor globs."""


def bare_pattern_problem(text: bytes, which: str) -> Problem | None:
    """Return the problem of a regular expression without slashes, and the pattern to write."""
    if not _SIGNS.search(text):
        return None
    problem = "never matches: a pattern is written between slashes"
    for pattern in _candidates(text.strip(b"/")):
        entry = b"/%b/" % pattern
        if display_text(entry).encode() == entry and _is_safe(pattern, which):
            return Problem(problem, f"write {entry.decode()}")
    return Problem(problem, "write the names or networks you mean, or a pattern as /…/")


def _candidates(pattern: bytes) -> list[bytes]:
    bare = pattern.removeprefix(b"^").removesuffix(b"$")
    is_suffix = bare.startswith((rb"\.", b"@")) and not pattern.startswith(b"^")
    return [*([b"%b$" % bare] if is_suffix else []), b"^%b$" % bare, pattern]


def _is_safe(pattern: bytes, which: str) -> bool:
    try:
        if not names_a_domain(pattern):
            return False
    except PatternError:
        return False
    return not any(each.severity == ERROR for each in pattern_problems(b"/%b/" % pattern, which))
