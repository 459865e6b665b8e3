"""Lints patterns."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from greyd.whitelist.entries import display_text, is_pattern
from greyd.whitelist.errors import PatternError
from greyd.whitelist.lint.findings import ERROR, EVERYTHING, NOTE, Problem
from greyd.whitelist.lint.strangers.name_forms import ADDRESSES, FULL_HOST_NAMES, HOST_NAMES
from greyd.whitelist.lint.strangers.problems import stranger_problem, with_escaped_dots
from greyd.whitelist.lint.strangers.reverse_matcher import TooLargeError
from greyd.whitelist.lint.strangers.search import matches_no_name
from greyd.whitelist.list_names import CLIENTS, LISTS_OF_CLIENTS, RECIPIENTS
from greyd.whitelist.patterns import compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.whitelist.patterns import Search
    from greyd.whitelist.perl_regex.syntax import Node


def comment_problem(text: bytes, line: bytes) -> Problem | None:
    """Return the problem if a pattern contains ``#``, which starts a comment, else None."""
    whole = line.strip()
    if not text.startswith(b"/") or is_pattern(text) or b"/" not in whole[len(text) :]:
        return None
    return Problem("never matches: # starts a comment even inside a pattern", r"write \x23 instead")


_CLIENT_PROBES = (
    b"unknown", b"localhost", b"mail.quux.example", b"host-198-51-100-7.dyn.isp.test",
    b"mx1.zyxw.invalid", b"out7-12.smtp.qvc.zone", b"a.vk",
)  # fmt: skip
_ADDRESS_PROBES = (
    b"jqx@zyxw.invalid", b"info@quux.example", b"k.v@mail.fhw.test", b"postmaster@gd.zone",
    b"sales-7@b.vk",
)  # fmt: skip
"""Unrelated names and addresses: a pattern that matches two or more matches too much."""

_PIECE = re.compile(
    rb"(?P<escaped>\\(?:x[0-9a-fA-F]{2}|.))|(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])"
    rb"|(?P<repeat>[*+?]|\{[0-9]+(?:,[0-9]*)?\})|(?P<dot>\.)|(?P<literal>[A-Za-z0-9_@-])|(?P<other>.)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A syntactic element of a pattern; ``kind`` is the name of a group of ``_PIECE``."""

    kind: str
    text: bytes


def pattern_problems(text: bytes, which: str) -> Iterator[Problem]:
    """Yield the problems of an entry that is a pattern.

    Args:
        text: the entry, with its slashes.
        which: the list's name.
    """
    pattern = text[1:-1]
    if not pattern:
        return
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        if pattern.startswith(b"*"):
            yield _leading_star_problem(pattern, which)
        return
    if quoting := _quoting_problem(pattern, which):
        yield quoting
        return
    if too_much := _matches_too_much(pattern, compiled.search, which):
        yield too_much
        return
    if impossible := _matches_nothing(pattern, compiled.parsed.root, which):
        yield impossible
        return
    strangers = stranger_problem(pattern, which)
    if strangers is not None:
        yield strangers
        if strangers.severity == ERROR:
            return
    yield from _notes(pattern, which, has_stranger=strangers is not None)


def _leading_star_problem(pattern: bytes, which: str) -> Problem:
    """Return the problem of a glob between slashes, such as ``/*.example.com/``."""
    remedy = "put a dot before the *"
    if re.fullmatch(rb"\*(?:\\?\.[a-z0-9-]+){2,}\$?", pattern, re.IGNORECASE):
        name = re.escape(pattern.strip(b"*$").replace(b"\\", b""))
        if stranger_problem(name + b"$", which) is None:
            remedy = f"write /{name.decode()}$/"
    return Problem("skipped: nothing precedes the *", remedy)


_QUOTING = re.compile(rb"\\Q(.*?)(?:\\E|\Z)", re.DOTALL)


def _quoting_problem(pattern: bytes, which: str) -> Problem | None:
    r"""Return the problem of ``\Q…\E``, which quotes only in the text of a Perl program."""
    if not _QUOTING.search(pattern):
        return None
    quoted = _QUOTING.sub(lambda found: re.escape(found[1]), pattern)
    closed = b"^%b$" % quoted.removeprefix(b"^").removesuffix(b"$")
    remedy = "put a backslash before each dot instead"
    for each in (quoted, closed):
        problems = pattern_problems(b"/%b/" % each, which)
        if not any(problems):
            remedy = f"write /{display_text(each)}/"
            break
    return Problem(r"\Q…\E quotes nothing in a file: these are the letters Q and E in Perl", remedy)


def _notes(pattern: bytes, which: str, *, has_stranger: bool) -> Iterator[Problem]:
    """Yield the notes on a pattern without errors."""
    pieces = [_Piece(found.lastgroup or "", found[0]) for found in _PIECE.finditer(pattern)]
    if not has_stranger and (escaped := _escaped_dots(pieces)):
        entry = b"/%b/" % with_escaped_dots(pattern)
        is_shown_whole = display_text(entry).encode() == entry and entry[1:-1] != pattern
        remedy = (
            f"write {display_text(entry)}"
            if is_shown_whole
            else (f"put a backslash before it: {display_text(escaped)}")
        )
        yield Problem("an unescaped dot matches any character", remedy, NOTE)
    if repeated := _repeated_character(pieces):
        character = display_text(repeated)
        yield Problem(
            f"{character}* repeats {character} and matches no other text",
            "write [^.]* for the rest of a label",
            NOTE,
        )
    if which == RECIPIENTS:
        yield from _fragment_problems(pattern, pieces)


def _matches_too_much(pattern: bytes, search: Search, which: str) -> Problem | None:
    everything = EVERYTHING[which]
    remedy = "remove it, or write the names you mean"
    probes = _CLIENT_PROBES if which in LISTS_OF_CLIENTS else _ADDRESS_PROBES
    matched = [each for each in probes if search(each)]
    if len(matched) == len(probes):
        if search(b""):
            has_empty = re.search(rb"\|\||^\||\|$", pattern)
            reason = "an alternative is empty" if has_empty else "it matches any text"
            return Problem(f"{everything}: {reason}", remedy)
        return Problem(everything, remedy)
    if which == CLIENTS and b"unknown" in matched:
        return Problem(
            "matches unknown, the name of every client without a confirmed one",
            "write the names or networks you mean, without unknown",
        )
    if which == RECIPIENTS and len(matched) > 1:
        names = " and ".join(each.decode() for each in matched[:2])
        return Problem(f"matches unrelated addresses, such as {names}", "add ^, @ or $")
    return None


def _matches_nothing(pattern: bytes, root: Node, which: str) -> Problem | None:
    if which not in LISTS_OF_CLIENTS:
        return _matches_no_address(pattern, root)
    if re.fullmatch(
        rb"\^?[0-9]{1,3}(\\?\.([0-9]{1,3}|[0-9]*\[[0-9-]+\]\+?|\\d\+|\*)){1,3}(\\?\.)?\$?", pattern
    ):
        return Problem(
            "is searched in the client's name, not in its address",
            "write a network, such as 192.0.2.0/24",
        )
    if b"@" in pattern and b"\\@" not in pattern.replace(b"\\@", b"@@"):
        return Problem(
            "never matches: host names contain no @",
            "if you mean recipients or senders, move it to their list",
        )
    if re.search(rb"[a-z0-9]\\\.\$$", pattern, re.IGNORECASE):
        return Problem("never matches: host names do not end with a dot", r"remove \. from the end")
    try:
        if pattern.isascii() and matches_no_name(root, FULL_HOST_NAMES):
            return _matches_no_domain(pattern, root)
    except TooLargeError:
        # The search for strangers reports it.
        return None
    return None


_CLIENT_ADDRESSES = (b"192.0.2.1", b"10.11.12.13", b"203.0.113.254", b"2001:db8::1", b"fe80::a:b:c")


def _matches_no_domain(pattern: bytes, root: Node) -> Problem | None:
    """Return the problem of a pattern that matches no name with a domain."""
    search = compile_pattern(pattern).search
    if search(b"localhost"):
        return None
    if any(search(each) for each in _CLIENT_ADDRESSES):
        return Problem(
            "never matches: it is searched in the client's name, not in its address",
            "write a network, such as 192.0.2.0/24",
        )
    if matches_no_name(root, HOST_NAMES):
        return Problem("never matches: no host name has this form", "correct it, or remove it")
    problem = "matches only names without a dot, unlike nearly all host names"
    return Problem(problem, "write the full name", NOTE)


def _matches_no_address(pattern: bytes, root: Node) -> Problem | None:
    """Return the problem of a pattern that matches no mail address and no local part alone."""
    try:
        if not pattern.isascii() or not matches_no_name(root, _ANY_ADDRESSES):
            return None
        if not matches_no_name(root, HOST_NAMES):
            return None
    except TooLargeError:
        return None
    return Problem("never matches: no mail address has this form", "correct it, or remove it")


_ANY_ADDRESSES = replace(ADDRESSES, characters=ADDRESSES.characters + "äл".encode())
"""The forms of addresses, with characters that only internationalised ones have (RFC 6532)."""


def _escaped_dots(pieces: Sequence[_Piece]) -> bytes | None:
    """Return the literal text around an unescaped dot, with its dots escaped.

    None if the pattern has no unescaped dot between literals.
    """
    for place in range(1, len(pieces) - 1):
        before, here, after = (pieces[place + offset] for offset in (-1, 0, 1))
        if here.kind == "dot" and before.kind in ("literal", "class") and after.kind == "literal":
            start, end = place, place + 1
            while start and pieces[start - 1].kind == "literal":
                start -= 1
            while end < len(pieces) and pieces[end].kind in ("literal", "dot"):
                end += 1
            if end < len(pieces) and pieces[end].kind == "repeat":
                end -= 1
            texts = [piece.text for piece in pieces[start:end]]
            return b"".join(rb"\." if text == b"." else text for text in texts)
    return None


def _repeated_character(pieces: Sequence[_Piece]) -> bytes | None:
    """Return the letter or escaped dot before a ``*``, whose author probably meant a wildcard."""
    for before, here in pairwise(pieces):
        is_star = here.kind == "repeat" and here.text == b"*"
        if is_star and (before.kind == "literal" or before.text == rb"\."):
            return before.text
    return None


def _fragment_problems(pattern: bytes, pieces: Sequence[_Piece]) -> Iterator[Problem]:
    """Yield the problem if a pattern for addresses has too little text to mean one of them."""
    words = [piece.text for piece in pieces if piece.kind == "literal"]
    if not pattern.isascii():
        return
    if not any(re.search(rb"[a-z]", word.lower()) for word in words):
        yield Problem(
            "contains no letter, so it matches in any domain", "add a domain to the pattern", NOTE
        )
    elif sum(map(len, words)) < 4 and not pattern.startswith(b"^"):
        yield Problem("matches every address that contains these letters", "add ^, @ or $", NOTE)
