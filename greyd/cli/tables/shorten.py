"""Measures, shortens and wraps text by the terminal cells that it takes."""

from __future__ import annotations

import re
from itertools import accumulate

from rich.cells import cell_len

ELLIPSIS = "…"

_WORDS = re.compile("( *)([^ ]+)")


def cell_width(text: str) -> int:
    """Return the number of terminal cells of a text: two for a wide character, 0 for an accent."""
    return len(text) if text.isascii() else cell_len(text)


def shorten_middle(text: str, width: int) -> str:
    """Return a text of at most ``width`` cells: its beginning, an ellipsis and its end."""
    if cell_width(text) <= width:
        return text
    if width < 1:
        return ""
    end = (width - 1) // 2
    return f"{_first_cells(text, width - 1 - end)}{ELLIPSIS}{_last_cells(text, end)}"


def shorten_path(text: str, width: int) -> str:
    """Return a path of at most ``width`` cells: whole names from its end, and a line's number."""
    if cell_width(text) <= width:
        return text
    if not text.startswith(("/", "sqlite:/")):
        return shorten_middle(text, width)
    names = text.split("/")
    for number in range(1, len(names)):
        shown = f"{ELLIPSIS}/{'/'.join(names[number:])}"
        if cell_width(shown) <= width:
            return shown
    return f"{ELLIPSIS}{_last_cells(names[-1], width - 1)}" if width > 0 else ""


def shorten_address(text: str, width: int) -> str:
    """Return a mail address of at most ``width`` cells: its beginning and its domain.

    If the domain does not fit either, its end is kept, which names the organisation.
    """
    if cell_width(text) <= width:
        return text
    local, at, domain = text.rpartition("@")
    if not (at and local):
        return shorten_middle(text, width)
    room = width - cell_width(domain) - 2
    if room >= 1:
        return f"{_first_cells(local, room)}{ELLIPSIS}@{domain}"
    kept = local if cell_width(local) == 1 else f"{_first_cells(local, 1)}{ELLIPSIS}"
    room = width - cell_width(kept) - 2
    if room < 1:
        return shorten_middle(text, width)
    return f"{kept}@{ELLIPSIS}{_last_cells(domain, room)}"


def wrap_words(text: str, width: int, *, shorten: bool = True) -> list[str]:
    """Return the lines of a text, wrapped between words, without trailing blanks.

    Args:
        text: the text; a line's indentation is kept in the lines that continue it.
        width: the maximum width in cells.
        shorten: whether to shorten a longer word; otherwise it stays whole, e.g. in a command.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        indent = " " * min(len(paragraph) - len(paragraph.lstrip(" ")), max(width - 10, 0))
        line = ""
        for blanks, word in _WORDS.findall(paragraph.strip(" ")):
            shown = shorten_middle(word, width - len(indent)) if shorten else word
            if line and cell_width(line) + len(blanks) + cell_width(shown) > width:
                lines.append(line)
                line = ""
            line = f"{line}{blanks}{shown}" if line else f"{indent}{shown}"
        lines.append(line)
    return lines


def _first_cells(text: str, width: int) -> str:
    """Return the longest beginning of at most ``width`` cells."""
    if text.isascii():
        return text[:width]
    ends = accumulate(map(cell_len, text))
    return text[: sum(1 for end in ends if end <= width)]


def _last_cells(text: str, width: int) -> str:
    """Return the longest end of at most ``width`` cells, which begins with no accent."""
    if text.isascii():
        return text[len(text) - width :] if width else ""
    starts = accumulate(map(cell_len, reversed(text)))
    end = text[len(text) - sum(1 for start in starts if start <= width) :]
    while end and not cell_len(end[0]):
        end = end[1:]
    return end
