"""Lints an entry of any list: first the rules that all lists share, then those of its own list."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from greyd.whitelist.entries import display_text, is_pattern
from greyd.whitelist.lint.address_ranges import networks_meant
from greyd.whitelist.lint.bare_patterns import bare_pattern_problem
from greyd.whitelist.lint.clients import client_problems
from greyd.whitelist.lint.findings import ERROR, Problem
from greyd.whitelist.lint.invisible import invisible_problem
from greyd.whitelist.lint.mail_addresses import address_problems
from greyd.whitelist.lint.patterns import comment_problem, pattern_problems
from greyd.whitelist.lint.postfix_forms import line_problem, postfix_problem
from greyd.whitelist.list_names import LISTS_OF_CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterator


_LIKE_AN_ENTRY = re.compile(rb"[.@:/]")


def entry_problems(text: bytes, line: bytes, which: str) -> Iterator[Problem]:
    """Yield the problems of an entry.

    Args:
        text: the entry.
        line: the whole line with its comment.
        which: the list's name.
    """
    if problem := invisible_problem(text, partial(is_clean, which=which)):
        yield problem
        if problem.severity == ERROR:
            return
    if is_pattern(text):
        yield from pattern_problems(text, which)
    elif problem := (
        comment_problem(text, line) or postfix_problem(text, partial(entry_instead, which=which))
    ):
        yield problem
    elif text.startswith(b"/"):
        meant = bare_pattern_problem(text[1:], which)
        remedy = meant.remedy if meant else "write a pattern as /…/"
        yield Problem("never matches: the closing slash is missing", remedy)
    elif which in LISTS_OF_CLIENTS:
        yield from client_problems(text, which)
    else:
        yield from address_problems(text, which)


def spaced_line_problem(text: bytes, which: str) -> Problem:
    """Return the problem of a line with several words, which is skipped.

    Args:
        text: the line without its comment.
        which: the list's name.
    """
    joined = b"".join(text.split())
    if invisible := invisible_problem(joined, lambda _: False):
        return invisible
    if problem := line_problem(text, partial(entry_instead, which=which)):
        return problem
    if is_pattern(text):
        return _spaced_pattern_problem(text, which)
    address = re.fullmatch(rb"[^<>]*<([^<>\s]+@[^<>\s]+)>[,;]?", text)
    if address is not None and which not in LISTS_OF_CLIENTS:
        entry = entry_instead(address[1], which)
        return Problem(
            "skipped, because it contains spaces: an address with a name",
            f"write {entry}" if entry else "write the address you mean",
        )
    words = text.split()
    if which in LISTS_OF_CLIENTS:
        for joint in (b"", b"/"):
            if networks := networks_meant(joint.join(words)):
                return Problem(
                    "skipped, because it contains spaces", f"write {', '.join(networks)}"
                )
    is_key_and_value = [bool(_LIKE_AN_ENTRY.search(word)) for word in words] == [True, False]
    if is_key_and_value and (key := entry_instead(words[0], which)):
        return Problem("skipped, because it contains spaces: a key and a value", f"write {key}")
    entries = [entry_instead(word.strip(b",;"), which) for word in words]
    listed = f": {', '.join(entries)}" if all(entries) and len(entries) <= 16 else ""
    return Problem("skipped, because it contains spaces", f"write one entry per line{listed}")


def _spaced_pattern_problem(text: bytes, which: str) -> Problem:
    """Return the problem of a pattern with spaces, and the pattern that means the same."""
    meant = re.sub(rb"\[\^\s+\]", rb"\\S", text)
    entry = meant if not _has_space(meant) else b"".join(meant.split())
    is_shown = is_clean(entry, which) and display_text(entry).encode() == entry
    return Problem(
        "skipped: a pattern can't contain spaces, and no name or address does",
        f"write {entry.decode()}" if is_shown else r"write \S for [^ ], and leave out other spaces",
    )


def _has_space(text: bytes) -> bool:
    return len(text.split()) > 1


def entry_instead(key: bytes, which: str) -> str:
    """Return the entry equivalent to a key of a Postfix table; empty if there is none."""
    networks = networks_meant(key) if which in LISTS_OF_CLIENTS else []
    candidates = [each.encode() for each in networks] if len(networks) == 1 else []
    for each in (*candidates, key, key.lstrip(b".@"), key.strip(b"[]")):
        if each and display_text(each).encode() == each and is_clean(each, which):
            return each.decode()
    return ""


def is_clean(entry: bytes, which: str) -> bool:
    """Whether the linter finds no error in an entry."""
    return not any(each.severity == ERROR for each in entry_problems(entry, entry, which))
