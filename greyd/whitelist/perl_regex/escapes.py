r"""Reads single characters written with a backslash, such as ``\n``, ``\x41`` and ``\101``."""

from __future__ import annotations

import re

from greyd.whitelist.errors import PatternError

_CONTROL_LETTERS = {"a": 7, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9}

LITERAL_ESCAPES = frozenset(_CONTROL_LETTERS) | {"x", "o", "c"}
"""The letters after a backslash that stand for one character."""

_HEX_IN_BRACES = re.compile(rb"x\{([0-9a-fA-F]+)\}")
_HEX = re.compile(rb"x([0-9a-fA-F]{0,2})")
_OCTAL_IN_BRACES = re.compile(rb"o\{([0-7]+)\}")
_OCTAL = re.compile(rb"0[0-7]{0,2}")


def read_character(text: bytes, position: int) -> tuple[int, int]:
    """Read the character that is written after a backslash.

    Args:
        text: the pattern.
        position: the position after the backslash.

    Returns:
        The byte, and the position after it. A letter without a meaning stands for itself.

    Raises:
        PatternError: the character is incomplete, or not a byte.
    """
    letter = text[position : position + 1]
    if not letter:
        raise PatternError("nothing follows the \\")
    if letter.decode("latin-1") in _CONTROL_LETTERS:
        return _CONTROL_LETTERS[letter.decode()], position + 1
    if letter == b"x":
        return _read_number(text, position, (_HEX_IN_BRACES, _HEX), 16)
    if letter == b"o":
        return _read_number(text, position, (_OCTAL_IN_BRACES,), 8)
    if letter == b"0":
        found = _OCTAL.match(text, position)
        return (int(found[0], 8), found.end()) if found else (0, position + 1)
    if letter == b"c":
        follows = text[position + 1 : position + 2].upper()
        if not (follows.isascii() and follows.decode().isprintable() and follows not in b"{\\"):
            raise PatternError(r"\c without its character")
        return follows[0] ^ 64, position + 2
    return letter[0], position + 1


def _read_number(
    text: bytes, position: int, forms: tuple[re.Pattern[bytes], ...], base: int
) -> tuple[int, int]:
    for form in forms:
        if found := form.match(text, position):
            if text[found.end() : found.end() + 1] == b"{" and not found[1]:
                break
            number = int(found[1] or b"0", base)
            if number > 0xFF:
                raise PatternError("a character beyond one byte")
            return number, found.end()
    letter = text[position : position + 1].decode()
    raise PatternError(rf"\{letter} without its number")
