"""Lints patterns."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

import re2

from greyd.whitelist.entries import is_pattern
from greyd.whitelist.hits import CLIENTS, RECIPIENTS
from greyd.whitelist.lint.findings import NOTE, Problem, display_text
from greyd.whitelist.lint.names import is_public_suffix
from greyd.whitelist.patterns import compile_search

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.whitelist.patterns import Search


def comment_problem(text: bytes, line: bytes) -> Problem | None:
    """Return that a pattern's ``#`` has begun a comment."""
    whole = line.strip()
    if not text.startswith(b"/") or is_pattern(text) or b"/" not in whole[len(text) :]:
        return None
    return Problem("never matches: # begins a comment, also inside a pattern", r"write \x23 for it")


def flags_problem(text: bytes) -> Problem | None:
    """Return that a pattern has Perl's flags behind it."""
    found = re.fullmatch(rb"(/.+/)[a-z]+", text)
    if found is None:
        return None
    return Problem(
        "never matches: what follows the last slash makes it no pattern",
        f"write {display_text(found[1])}, which is case-blind anyway",
    )


# Patterns -----------------------------------------------------------------------------------------

_PROBES = {
    CLIENTS: (
        b"unknown", b"localhost", b"mail.quux.example", b"host-198-51-100-7.dyn.isp.test",
        b"mx1.zyxw.invalid", b"out7-12.smtp.qvc.zone", b"a.vk",
    ),
    RECIPIENTS: (
        b"jqx@zyxw.invalid", b"info@quux.example", b"k.v@mail.fhw.test", b"postmaster@gd.zone",
        b"sales-7@b.vk",
    ),
}  # fmt: skip
"""Names and addresses that have nothing in common but what all have."""

_PIECE = re.compile(
    rb"(?P<quoted>\\Q.*?(?:\\E|\Z))|(?P<escaped>\\(?:x[0-9a-fA-F]{2}|.))|(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])"
    rb"|(?P<repeat>[*+?]|\{[0-9]+(?:,[0-9]*)?\})|(?P<dot>\.)|(?P<literal>[A-Za-z0-9_@-])|(?P<other>.)",
    re.DOTALL,
)


def pattern_problems(text: bytes, which: str) -> Iterator[Problem]:
    """Yield what a pattern does that it should hardly do."""
    pattern = text[1:-1]
    if not pattern:
        return
    try:
        search = compile_search(pattern)
    except re2.error:
        if pattern.startswith(b"*"):
            yield Problem("skipped: * repeats what stands before it", r"write .* for any text")
        return
    too_much = _matches_too_much(pattern, search, which)
    if too_much is not None:
        yield too_much
        return
    if impossible := _matches_nothing(pattern, which):
        yield impossible
        return
    pieces = [(found.lastgroup or "", found[0]) for found in _PIECE.finditer(pattern)]
    if dot := _unescaped_dot(pieces):
        yield Problem("a dot means any character", rf"write {display_text(dot)}", NOTE)
    if star := _repeated_character(pieces):
        yield Problem(
            f"{display_text(star)} repeats {display_text(star[:-1])}, and stands for no other text",
            "write .* for any text",
            NOTE,
        )
    yield from _anchor_problems(pattern, pieces, which)


def _matches_too_much(pattern: bytes, search: Search, which: str) -> Problem | None:
    everything = "every client" if which == CLIENTS else "every recipient"
    if search(b""):
        empty = "an alternative is empty, so it" if re.search(rb"\|\||^\||\|$", pattern) else "it"
        return Problem(f"{empty} lets {everything} pass", "take it out, or write what is meant")
    if suffix := re.fullmatch(rb"\^?(?:\.[*+])?\\?\.((?:[a-z0-9-]|\\\.)+)\$", pattern):
        name = suffix[1].replace(b"\\", b"").decode()
        if is_public_suffix(name):
            return Problem(f"everybody below .{name} passes", "write the names that are meant")
    matched = [each for each in _PROBES[which] if search(each)]
    if len(matched) == len(_PROBES[which]):
        return Problem(f"lets {everything} pass", "take it out, or write what is meant")
    if which == CLIENTS and b"unknown" in matched:
        return Problem(
            "lets every client pass that has no confirmed name, which is called unknown",
            "write a domain into it",
        )
    if len(matched) > 1:
        like = " and ".join(each.decode() for each in matched[:2])
        return Problem(f"matches names such as {like}", "write a domain into it")
    return None


def _matches_nothing(pattern: bytes, which: str) -> Problem | None:
    if which == RECIPIENTS:
        return None
    if re.fullmatch(
        rb"\^?[0-9]{1,3}(\\?\.([0-9]{1,3}|[0-9]*\[[0-9-]+\]\+?|\\d\+|\*)){1,3}(\\?\.)?\$?", pattern
    ):
        return Problem(
            "searched in the client's name only, never in its address",
            "write a network, such as 192.0.2.0/24",
        )
    if b"@" in pattern and b"\\@" not in pattern.replace(b"\\@", b"@@"):
        return Problem("never matches: no client's name holds @", "if it is meant for recipients,"
                      " move it to their list")  # fmt: skip
    if re.search(rb"[a-z0-9]\\\.\$$", pattern, re.IGNORECASE):
        return Problem(r"never matches: a name ends without a dot", r"take the \. at the end out")
    return None


def _unescaped_dot(pieces: Sequence[tuple[str, bytes]]) -> bytes | None:
    """Return how a dot between two words should be written; None where there is none."""
    for place in range(1, len(pieces) - 1):
        before, here, after = pieces[place - 1 : place + 2]
        if here[0] == "dot" and before[0] in ("literal", "class") and after[0] == "literal":
            start, end = place, place + 1
            while start and pieces[start - 1][0] == "literal":
                start -= 1
            while end < len(pieces) and pieces[end][0] in ("literal", "dot"):
                end += 1
            if end < len(pieces) and pieces[end][0] == "repeat":
                end -= 1
            words = [piece for _, piece in pieces[start:end]]
            return b"".join(rb"\." if word == b"." else word for word in words)
    return None


def _repeated_character(pieces: Sequence[tuple[str, bytes]]) -> bytes | None:
    """Return a letter or dot that ``*`` repeats, which is hardly meant."""
    for before, here in pairwise(pieces):
        if here == ("repeat", b"*") and (before[0] == "literal" or before[1] == rb"\."):
            return before[1] + here[1]
    return None


def _anchor_problems(
    pattern: bytes, pieces: Sequence[tuple[str, bytes]], which: str
) -> Iterator[Problem]:
    """Yield that a pattern's ends are open, where it says so little that this matters."""
    words = [piece for kind, piece in pieces if kind in ("literal", "quoted")]
    if not any(re.search(rb"[a-z]", word.lower().lstrip(b"\\q")) for word in words):
        yield Problem("no letter stands in it, so it matches in any domain",
                     "write a domain into it", NOTE)  # fmt: skip
    elif which == CLIENTS and not pattern.endswith((b"$", rb"\z", rb"\Z")):
        if re.search(rb"\\?\.[a-z]{2,}/?$", pattern, re.IGNORECASE):
            yield Problem("matches names too that go on after it, in domains of others",
                         "end it with $", NOTE)  # fmt: skip
        elif sum(map(len, words)) < 6 and not pattern.startswith(b"^"):
            yield Problem("matches wherever these letters stand in a name",
                         "write a domain into it, or ^ and $", NOTE)  # fmt: skip
    elif which == RECIPIENTS and sum(map(len, words)) < 4 and not pattern.startswith(b"^"):
        yield Problem("matches wherever these letters stand in an address", "write ^, @ or $", NOTE)
