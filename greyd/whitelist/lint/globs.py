"""Converts entries with shell wildcards to equivalent entries."""

from __future__ import annotations

import itertools
import re

MAX_NAMES = 16
"""Maximum number of names that are written out."""

_GLOB = re.compile(rb"[a-z0-9._@*?{},\[\]-]*[*?\[{][a-z0-9._@*?{},\[\]-]*", re.IGNORECASE)
_CHOICE = re.compile(r"\{([^{}]*)\}|\[([a-z0-9-]+)\]", re.IGNORECASE)


def is_glob(text: bytes) -> bool:
    """Whether an entry has wildcards: ``*``, ``?``, ``[…]`` or ``{…}``."""
    return _GLOB.fullmatch(text) is not None


def names_meant(text: bytes) -> list[bytes]:
    """Return the names that a glob without ``*`` and ``?`` lists; empty if there are too many."""
    if b"*" in text or b"?" in text:
        return []
    parts: list[list[str]] = []
    position = 0
    glob = text.decode()
    for found in _CHOICE.finditer(glob):
        parts += [[glob[position : found.start()]], _choices(found[1], found[2])]
        position = found.end()
    parts.append([glob[position:]])
    names = ["".join(each) for each in itertools.islice(itertools.product(*parts), MAX_NAMES + 1)]
    if len(names) > MAX_NAMES or any(re.search(r"[\[\]{},]", name) for name in names):
        return []
    return [name.encode() for name in names]


def _choices(words: str | None, characters: str | None) -> list[str]:
    if words is not None:
        bounds = re.fullmatch(r"(\d{1,3})\.\.(\d{1,3})", words)
        if bounds:
            return [str(number) for number in range(int(bounds[1]), int(bounds[2]) + 1)]
        return words.split(",")
    bounds = re.fullmatch(r"(\d{1,3})-(\d{1,3})", characters or "")
    if bounds and len(characters or "") > 3:
        # In a shell, [1-30] is 0, 1, 2 or 3; its author means the numbers 1 to 30.
        return [str(number) for number in range(int(bounds[1]), int(bounds[2]) + 1)]
    found: list[str] = []
    for first, last in re.findall(r"(.)(?:-(.))?", characters or ""):
        found += map(chr, range(ord(first), ord(last or first) + 1))
    return found


def wildcards_in(text: bytes) -> str:
    """Return the wildcards of a glob, for a message."""
    found = [mark for mark in ("*", "?") if mark.encode() in text]
    return " and ".join(found or ["[ ] and { }"]) + (" is" if len(found) == 1 else " are")


def pattern_meant(text: bytes) -> bytes:
    """Return a pattern, with its slashes, that is equivalent to a glob.

    ``*`` stands for the rest of a label, so that the pattern matches in no other domain.
    """
    wildcards = {b"*": b"[^.]*", b"?": b"[^.]"}
    parts = re.split(rb"([*?]|\[[a-z0-9-]+\]|\{[^{}]*\})", text.lower())
    return b"/^%b$/" % b"".join(
        wildcards.get(part) or (_group(part) if part[:1] in b"[{" and part else re.escape(part))
        for part in parts
    )


def _group(part: bytes) -> bytes:
    if part.startswith(b"["):
        numbers = re.fullmatch(rb"\[\d+-\d+\]", part) is not None and len(part) > 5
        return b"[0-9]+" if numbers else part
    return b"(%b)" % b"|".join(map(re.escape, part[1:-1].split(b",")))
