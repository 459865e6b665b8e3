r"""Parses regular expressions as Perl reads them at run time, without ``/x`` and with ``/i``.

postgrey compiles the text between the slashes in Perl, so this is the meaning of a pattern in a
whitelist. Perl interpolates nothing in it: ``$name`` is the end of the text and a word, and ``\Q``,
``\E``, ``\L`` and ``\U`` are the letters. The rules are those of Perl 5.36 (perlre,
perlrecharclass, perlrebackslash), found by running it; the tests compare both.

The parser refuses what cannot be searched in linear time, or depends on Unicode or a locale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from greyd.whitelist.errors import PatternError
from greyd.whitelist.perl_regex.brackets import BracketReader
from greyd.whitelist.perl_regex.byte_sets import (
    ALL_BYTES,
    ESCAPED_CLASSES,
    NOT_LINE_FEED,
    VERTICAL_SPACES,
    without_case,
)
from greyd.whitelist.perl_regex.escapes import LITERAL_ESCAPES, read_character
from greyd.whitelist.perl_regex.remarks import remark_of_escape, remark_of_upper_limit
from greyd.whitelist.perl_regex.syntax import (
    EMPTY,
    Alternation,
    Anchor,
    ByteSet,
    Node,
    ParsedPattern,
    Repeat,
    Sequence,
    SyntaxRemark,
)

MAX_PATTERN_BYTES = 16 * 1024
"""Maximum length of a pattern."""

MAX_DEPTH = 50
"""Maximum depth of nested groups."""

MAX_REPETITIONS = 1000
"""Maximum count in ``{n,m}``, which is RE2's."""

_FLAGS = re.compile(rb"\?(\^)?([a-z]*)(?:-([a-z]*))?([:)])")
_BACK_REFERENCE = re.compile(rb"[1-9]\d*")
_OCTAL = re.compile(rb"[0-7]{1,3}")
_NAME = re.compile(rb"\?(?:P?<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)')")
_QUANTIFIER = re.compile(rb"\{(?:(\d+)(?:(,)(\d*))?|,(\d+))\}")
_SET_FLAGS = frozenset(b"imsxnp")
_CLEARED_FLAGS = frozenset(b"imsxn")

_LOOK_AROUND = (b"?=", b"?!", b"?<=", b"?<!")
_CLASSES: dict[str, Node] = {letter: ByteSet(mask) for letter, mask in ESCAPED_CLASSES.items()}
_ESCAPES = _CLASSES | {
    "A": Anchor.BEGIN,
    "z": Anchor.END,
    "Z": Anchor.END,
    "b": Anchor.WORD_BOUNDARY,
    "B": Anchor.NO_WORD_BOUNDARY,
    "N": ByteSet(NOT_LINE_FEED),
    # \r\n is one line break in Perl, but texts contain no \n.
    "R": ByteSet(VERTICAL_SPACES),
}
_REFUSED_ESCAPES = {
    "K": r"\K is not supported",
    "G": r"\G is not supported",
    "X": r"\X depends on Unicode",
    "p": r"\p depends on Unicode",
    "P": r"\P depends on Unicode",
    "C": r"\C is no longer part of Perl",
    "g": "back-references need unlimited time",
    "k": "back-references need unlimited time",
}


def parse_pattern(text: bytes) -> ParsedPattern:
    """Parse a pattern, the text between the slashes.

    Raises:
        PatternError: Perl refuses the pattern, or greyd does not support it.
    """
    if len(text) > MAX_PATTERN_BYTES:
        raise PatternError(f"longer than {MAX_PATTERN_BYTES} bytes")
    parser = _Parser(text)
    root = parser.parse_alternation(0)
    if parser.position < len(text):
        raise PatternError("a ) without its (")
    parser.check_back_references()
    return ParsedPattern(root, tuple(parser.remarks))


@dataclass
class _Flags:
    """The flags in force at a position in the pattern."""

    ignore_case: bool = True
    dot_matches_line_feed: bool = False


class _Parser:
    """A recursive descent over one pattern."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.position = 0
        self.remarks: list[SyntaxRemark] = []
        self._flags = _Flags()
        self._group_count = 0
        self._highest_reference = 0

    # Structure ------------------------------------------------------------------------------------

    def parse_alternation(self, depth: int) -> Node:
        """Parse up to the ``)`` that ends the group, or up to the end."""
        if depth > MAX_DEPTH:
            raise PatternError(f"groups are nested more than {MAX_DEPTH} deep")
        options = [self._parse_sequence(depth)]
        while self._accept(b"|"):
            options.append(self._parse_sequence(depth))
        return options[0] if len(options) == 1 else Alternation(tuple(options))

    def _parse_sequence(self, depth: int) -> Node:
        items: list[Node] = []
        while self.position < len(self.text) and self._next() not in b"|)":
            start = self.position
            item = self._parse_atom(depth)
            if item is not None:
                items.append(self._parse_quantifier(item, start))
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _parse_quantifier(self, item: Node, start: int) -> Node:
        counts = self._accept_quantifier(start)
        if counts is None:
            return item
        if self._accept(b"+"):
            raise PatternError("possessive quantifiers are not supported")
        self._accept(b"?")
        after = self.position
        if self._accept_quantifier(after) is not None:
            raise PatternError("a quantifier follows another one")
        return Repeat(item, *counts)

    def _accept_quantifier(self, start: int) -> tuple[int, int | None] | None:
        """Return the counts of the quantifier at the current position; None if there is none."""
        following = self._next()
        if following in (b"*", b"+", b"?"):
            self.position += 1
            return (following == b"+"), (1 if following == b"?" else None)
        found = _QUANTIFIER.match(self.text, self.position)
        if found is None:
            self._check_brace(start)
            return None
        self.position = found.end()
        least, comma, most, only_most = (each or b"" for each in found.groups())
        for number in (least, most, only_most):
            if len(number) > 1 and number.startswith(b"0"):
                raise PatternError("a number in {} starts with 0")
            if int(number[:9] or b"0") > MAX_REPETITIONS:
                raise PatternError(f"more than {MAX_REPETITIONS} repetitions")
        if only_most:
            self.remarks.append(remark_of_upper_limit(only_most.decode()))
        min_count = int(least or b"0")
        max_count = int(most or only_most) if most or only_most else (None if comma else min_count)
        if max_count is not None and max_count < min_count:
            raise PatternError("{n,m} with n greater than m")
        return min_count, max_count

    def _check_brace(self, start: int) -> None:
        is_escape = (
            self.text[start : start + 1] == b"\\" and self.text[start + 1 : start + 2].isalpha()
        )
        if self._next() == b"{" and is_escape:
            raise PatternError("an unescaped { after an escape")

    # Atoms ----------------------------------------------------------------------------------------

    def _parse_atom(self, depth: int) -> Node | None:
        """Parse one atom; return None for text that has no node, such as ``(?i)``."""
        character = self._next()
        self.position += 1
        match character:
            case b"(":
                return self._parse_group(depth + 1)
            case b"[":
                reader = BracketReader(self.text, self.position, self._flags.ignore_case)
                mask, self.position = reader.read()
                self.remarks += reader.remarks
                return ByteSet(mask)
            case b".":
                return ByteSet(ALL_BYTES if self._flags.dot_matches_line_feed else NOT_LINE_FEED)
            case b"^":
                return Anchor.BEGIN
            case b"$":
                return Anchor.END
            case b"\\":
                return self._parse_escape()
            case b"*" | b"+" | b"?":
                raise PatternError(f"nothing precedes the {character.decode()}")
        return self._literal(character[0])

    def _literal(self, byte: int, *, escaped: bool = False) -> ByteSet:
        mask = 1 << byte
        if self._flags.ignore_case:
            mask = without_case(mask)
        return ByteSet(mask, byte, escaped)

    def _parse_escape(self) -> Node:
        letter = self._next().decode("latin-1")
        self._check_escape(letter)
        if letter in "123456789" and (byte := self._octal_of_back_reference()) is not None:
            return self._literal(byte, escaped=True)
        if node := _ESCAPES.get(letter):
            self.position += 1
            return node
        byte, self.position = read_character(self.text, self.position)
        if letter.isascii() and letter.isalpha() and letter not in LITERAL_ESCAPES:
            remark = remark_of_escape(letter)
            if remark not in self.remarks:
                self.remarks.append(remark)
        return self._literal(byte, escaped=True)

    def _check_escape(self, letter: str) -> None:
        if not letter:
            raise PatternError("nothing follows the \\")
        if letter in _REFUSED_ESCAPES:
            raise PatternError(_REFUSED_ESCAPES[letter])
        has_braces = self.text[self.position + 1 : self.position + 2] == b"{"
        is_repeated = _QUANTIFIER.match(self.text, self.position + 1)
        if has_braces and (letter in "bB" or (letter == "N" and not is_repeated)):
            raise PatternError(rf"\{letter}{{…}} depends on Unicode")

    def _octal_of_back_reference(self) -> int | None:
        r"""Read ``\1`` to ``\9…``; return the byte if it can only be octal.

        ``\10`` is a back-reference if there are ten groups. That is known at the end, so the
        highest such number is kept for ``check_back_references``.
        """
        found = _BACK_REFERENCE.match(self.text, self.position)
        digits = found[0] if found else b""
        if len(digits) == 1 or digits[:1] in b"89":
            raise PatternError("back-references need unlimited time")
        self._highest_reference = max(self._highest_reference, int(digits[:9]))
        octal = _OCTAL.match(digits)
        byte = int(octal[0], 8) if octal else 0
        if byte > 0xFF:
            raise PatternError("a character beyond one byte")
        self.position += len(octal[0]) if octal else 0
        return byte

    def check_back_references(self) -> None:
        r"""Refuse the pattern if a ``\10`` was a back-reference."""
        if 10 <= self._highest_reference <= self._group_count:
            raise PatternError("back-references need unlimited time")

    # Groups ---------------------------------------------------------------------------------------

    def _parse_group(self, depth: int) -> Node | None:
        outer = self._flags
        self._flags = _Flags(outer.ignore_case, outer.dot_matches_line_feed)
        rest = self.text[self.position :]
        if rest.startswith(b"*"):
            raise PatternError("(*…) is not supported")
        if not rest.startswith(b"?"):
            self._group_count += 1
        elif found := _FLAGS.match(rest):
            self._set_flags(found)
            self.position += found.end()
            if found[4] == b")":
                # The flags apply up to the end of the enclosing group.
                if self._next() in (b"*", b"+", b"?"):
                    raise PatternError("a quantifier follows nothing")
                return None
        else:
            self.position += self._length_of_group_start(rest)
        node = self.parse_alternation(depth)
        if not self._accept(b")"):
            raise PatternError("a ( without its )")
        self._flags = outer
        return EMPTY if node == EMPTY else node

    def _set_flags(self, found: re.Match[bytes]) -> None:
        reset, setting, clearing = bool(found[1]), found[2], found[3] or b""
        allowed = _SET_FLAGS | set(b"d") if not reset else _SET_FLAGS
        if not (set(setting) <= allowed and set(clearing) <= _CLEARED_FLAGS):
            raise PatternError(f"the flags (?{(setting + clearing).decode()}) are not supported")
        if reset and found[3] is not None:
            raise PatternError("(?^…-…) is not a group")
        if b"x" in setting and not self.text.isascii():
            raise PatternError("the flag x with bytes beyond ASCII is not supported")
        if reset:
            self._flags = _Flags(ignore_case=False)
        if b"i" in setting:
            self._flags.ignore_case = True
        if b"s" in setting:
            self._flags.dot_matches_line_feed = True
        if b"i" in clearing:
            self._flags.ignore_case = False
        if b"s" in clearing:
            self._flags.dot_matches_line_feed = False

    def _length_of_group_start(self, rest: bytes) -> int:
        """Return the length of the text between ``(`` and the group's content."""
        if rest.startswith(b"?|"):
            return 2
        if rest.startswith(_LOOK_AROUND):
            raise PatternError("look-around is not supported")
        if rest.startswith(b"?>"):
            raise PatternError("atomic groups are not supported")
        if found := _NAME.match(rest):
            self._group_count += 1
            return found.end()
        raise PatternError(f"({rest[:2].decode(errors='backslashreplace')}…) is not supported")

    # Text -----------------------------------------------------------------------------------------

    def _next(self) -> bytes:
        return self.text[self.position : self.position + 1]

    def _accept(self, wanted: bytes) -> bool:
        if self._next() != wanted:
            return False
        self.position += 1
        return True
