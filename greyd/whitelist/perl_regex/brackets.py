"""Reads a class in brackets, as in ``[a-z0-9[:alpha:]_-]``."""

from __future__ import annotations

import re

from greyd.whitelist.errors import PatternError
from greyd.whitelist.perl_regex.byte_sets import (
    ALL_BYTES,
    ESCAPED_CLASSES,
    POSIX_CLASSES,
    mask_of_range,
    without_case,
)
from greyd.whitelist.perl_regex.escapes import LITERAL_ESCAPES, read_character
from greyd.whitelist.perl_regex.syntax import SyntaxRemark

_POSIX = re.compile(rb"\[:(\^?)(\w*):\]")
_RESERVED = re.compile(rb"\[([.=]).*?\1\]", re.DOTALL)
_OCTAL = re.compile(rb"[0-7]{1,3}")
_REFUSED = {"N": r"\N", "p": r"\p", "P": r"\P"}


class BracketReader:
    """Reads one class in brackets."""

    def __init__(self, text: bytes, position: int, ignore_case: bool) -> None:
        """Read ``text`` from ``position``, which is after the opening bracket."""
        self._text = text
        self._position = position
        self._ignore_case = ignore_case
        self.remarks: list[SyntaxRemark] = []

    def read(self) -> tuple[int, int]:
        """Return the mask of the class, and the position after its closing bracket.

        Raises:
            PatternError: Perl refuses the class, or it depends on Unicode.
        """
        is_negated = self._accept(b"^")
        mask = 0
        first = True
        while first or not self._accept(b"]"):
            first = False
            mask |= self._read_item()
        if is_negated:
            mask = ALL_BYTES & ~mask
        return mask, self._position

    def _read_item(self) -> int:
        """Read a single character, a range, or a named class; return its mask."""
        one, is_character = self._read_element()
        text, position = self._text, self._position
        if text[position : position + 1] != b"-" or text[position + 1 : position + 2] in (
            b"]",
            b"",
        ):
            return self._with_case(1 << one) if is_character else one
        if not is_character:
            # Perl: a false range; the hyphen is a character.
            return one
        self._position += 1
        other, is_character = self._read_element()
        if not is_character:
            return self._with_case(1 << one | 1 << ord("-")) | other
        if other < one:
            raise PatternError("a range that ends before it begins")
        return self._with_case(mask_of_range(one, other))

    def _with_case(self, mask: int) -> int:
        return without_case(mask) if self._ignore_case else mask

    def _read_element(self) -> tuple[int, bool]:
        """Return a byte and True, or the mask of a class and False."""
        text, position = self._text, self._position
        if position >= len(text):
            raise PatternError("a [ without its ]")
        if text[position : position + 1] == b"[":
            if found := _POSIX.match(text, position):
                return self._posix_class(found), False
            if _RESERVED.match(text, position):
                raise PatternError("[[.….]] and [[=…=]] are not supported")
        if text[position : position + 1] != b"\\":
            self._position += 1
            return text[position], True
        return self._read_escape(position + 1)

    def _posix_class(self, found: re.Match[bytes]) -> int:
        name = found[2].decode(errors="backslashreplace")
        if name not in POSIX_CLASSES:
            raise PatternError(f"there is no class [:{name}:]")
        self._position = found.end()
        mask = self._with_case(POSIX_CLASSES[name])
        return ALL_BYTES & ~mask if found[1] else mask

    def _read_escape(self, position: int) -> tuple[int, bool]:
        letter = self._text[position : position + 1].decode("latin-1")
        if letter in _REFUSED:
            raise PatternError(f"{_REFUSED[letter]} depends on Unicode")
        if letter in ESCAPED_CLASSES and letter:
            self._position = position + 1
            return ESCAPED_CLASSES[letter], False
        if letter == "b":
            self._position = position + 1
            return 8, True
        if found := _OCTAL.match(self._text, position):
            byte, self._position = int(found[0], 8), found.end()
            if byte > 0xFF:
                raise PatternError("a character beyond one byte")
            return byte, True
        byte, self._position = read_character(self._text, position)
        if letter.isascii() and letter.isalpha() and letter not in LITERAL_ESCAPES:
            problem = rf"\{letter} has no meaning in brackets: it is the letter {letter} in Perl"
            self.remarks.append(SyntaxRemark(problem, f"write {letter}", is_note=False))
        return byte, True

    def _accept(self, wanted: bytes) -> bool:
        if self._text[self._position : self._position + 1] != wanted:
            return False
        self._position += 1
        return True
