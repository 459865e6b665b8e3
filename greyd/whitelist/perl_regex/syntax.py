"""The syntax tree of a regular expression over bytes.

Captures, laziness and flags have no effect on whether a text matches, so the tree has none: case
is resolved into sets of bytes, and a group is the node inside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Anchor(Enum):
    """A position in the text. Texts contain no line feed, so ``$`` is their end."""

    BEGIN = "begin"
    END = "end"
    WORD_BOUNDARY = "word boundary"
    NO_WORD_BOUNDARY = "no word boundary"


@dataclass(frozen=True, slots=True)
class ByteSet:
    """One byte of a set."""

    mask: int
    """Bit ``n`` is set if byte ``n`` belongs to the set."""
    literal: int | None = None
    """The byte as written, if the author wrote a single character; else None."""
    escaped: bool = False
    """Whether a literal was written with a backslash."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """Several nodes, one after another."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternation:
    """One of several nodes."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A node, repeated."""

    item: Node
    min_count: int
    max_count: int | None
    """None for no limit."""


Node = Anchor | ByteSet | Sequence | Alternation | Repeat

EMPTY = Sequence(())


@dataclass(frozen=True, slots=True)
class SyntaxRemark:
    """A part of a pattern that Perl reads differently from what its author may expect."""

    problem: str
    remedy: str
    is_note: bool
    """Whether the pattern probably works nevertheless."""


@dataclass(frozen=True, slots=True)
class ParsedPattern:
    """A parsed pattern."""

    root: Node
    remarks: tuple[SyntaxRemark, ...]
