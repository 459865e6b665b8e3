"""Finds characters in an entry that are invisible, or look like others."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from greyd.whitelist.lint.findings import ERROR, NOTE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLANK_LETTERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters and marks that are invisible."""

_WITH_LATIN = ("LATIN", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK", "HANGUL", "BOPOMOFO")
"""Scripts that ordinary domain names combine with Latin letters."""

_LOOK_ALIKES = frozenset("аеорсухіјѕһԁԛԝӏвкмнтοανκρτυχ")
"""Cyrillic and Greek letters that look like Latin ones."""

_SPECIAL_BYTES = {0x00: "NUL", 0x1A: "control-Z", 0x1B: "escape", 0x7F: "delete"}
_LATIN_1 = {0x85: "a next line", 0xA0: "a no-break space", 0xAD: "a soft hyphen"}


def invisible_problem(text: bytes, is_clean: Callable[[bytes], bool]) -> Problem | None:
    """Return the problem if an entry has invisible or misleading characters, with their bytes.

    Args:
        text: the entry.
        is_clean: whether an entry may be proposed instead.
    """
    if text.isascii() and text.decode().isprintable():
        return None
    try:
        characters = text.decode()
    except UnicodeDecodeError as error:
        return _invalid_byte_problem(text[error.start])
    for character in dict.fromkeys(characters):
        if _is_invisible(character):
            return _problem_with(character, "which is invisible", characters, is_clean)
        if not character.isascii() and unicodedata.normalize("NFKC", character).isascii():
            seen = unicodedata.normalize("NFKC", character)
            return _problem_with(character, f'which looks like "{seen}"', characters, is_clean)
    return _script_problem(characters)


def _is_invisible(character: str) -> bool:
    if character.isascii():
        return not character.isprintable()
    category = unicodedata.category(character)
    return (
        category in ("Cc", "Cf", "Zs", "Zl", "Zp", "Co", "Cs")
        or character in _BLANK_LETTERS
        or "VARIATION SELECTOR" in unicodedata.name(character, "")
    )


def _problem_with(
    character: str, what: str, text: str, is_clean: Callable[[bytes], bool]
) -> Problem:
    cleaned = _cleaned(text)
    if _separates(text.strip()) and set(text[1::2]) != {"\0"}:
        cleaned = ""
    remedy = f"write {cleaned}" if cleaned and is_clean(cleaned.encode()) else "retype the line"
    return Problem(f"contains {_named(character)}, {what}", remedy)


def _separates(text: str) -> bool:
    """Whether a control character or a space separates two parts, of which each may be an entry."""
    return any(
        _is_invisible(each) and unicodedata.category(each) in ("Cc", "Zs", "Zl", "Zp")
        for each in text.strip("\0")
    )


def _named(character: str) -> str:
    name = unicodedata.name(character, "") or _SPECIAL_BYTES.get(
        ord(character), "control character"
    )
    return f"U+{ord(character):04X} {name} (bytes {character.encode().hex(' ')})"


def _cleaned(text: str) -> str:
    """Remove invisible characters, and replace look-alikes; empty if the result is not ASCII."""
    seen = "".join(
        unicodedata.normalize("NFKC", each) for each in text if not _is_invisible(each)
    ).strip()
    return seen if seen.isascii() and re.fullmatch(r"[\w.@+:\[\]/-]+", seen) else ""


def _invalid_byte_problem(byte: int) -> Problem:
    what = f", in Latin-1 {_LATIN_1[byte]}" if byte in _LATIN_1 else ""
    problem = f"contains the byte {byte:02x}{what}, and is neither ASCII nor UTF-8"
    return Problem(problem, "retype the line")


def _script_problem(text: str) -> Problem | None:
    """Return the problem if a label mixes alphabets, or consists of letters that look Latin."""
    for label in re.split(r"[.@\u3002]", text):
        letters = [each for each in label if each.isalpha()]
        foreign = [each for each in letters if _script_of(each) not in _WITH_LATIN]
        if not foreign:
            continue
        if len(foreign) < len(letters) and any(_script_of(each) == "LATIN" for each in letters):
            problem = f"mixes alphabets in one label: {', '.join(_names_of(foreign))}"
            return Problem(problem, "retype the name in one alphabet", ERROR)
        if _LOOK_ALIKES.issuperset(label.lower()):
            problem = (
                f"consists of letters that look like Latin ones: {', '.join(_names_of(foreign))}"
            )
            return Problem(problem, "retype the name if you mean Latin letters", NOTE)
    return None


def _names_of(characters: list[str]) -> Iterator[str]:
    return (_named(each) for each in list(dict.fromkeys(characters))[:3])


def _script_of(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]
