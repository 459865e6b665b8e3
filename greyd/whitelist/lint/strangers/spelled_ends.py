r"""Finds the right ends of names that the author of a pattern spelled out, letter by letter.

``/\.example\.(com|net)$/`` spells ``.example.com`` and ``.example.net``. ``/\.example\.[a-z]+$/``
and ``/\.example\.com?$/`` spell none, because a class or an optional letter leaves the end open. A
dot without a backslash counts as the dot that its author probably meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from greyd.whitelist.perl_regex.byte_sets import ALL_BYTES, NOT_LINE_FEED, members_of
from greyd.whitelist.perl_regex.syntax import (
    EMPTY,
    Alternation,
    Anchor,
    ByteSet,
    Repeat,
    Sequence,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.whitelist.perl_regex.syntax import Node

MAX_ENDS = 5000
"""Maximum number of ends; further ones are left out."""

BEGIN = b"^"
"""Represents the beginning of the name in an end."""


@dataclass(frozen=True, slots=True)
class _End:
    """A literal text, and whether it may continue to the left."""

    text: bytes
    goes_on: bool = True


_ANY_BYTE = (ALL_BYTES, NOT_LINE_FEED)
_NOTHING = frozenset({_End(b"")})
_UNKNOWN = frozenset({_End(b"", goes_on=False)})


def spelled_ends(root: Node, *, with_optional_parts: bool = False) -> frozenset[bytes]:
    """Return the literal right ends of all names that a pattern spells out, in lower case.

    Args:
        root: the pattern.
        with_optional_parts: leave out the ends of names without one of the optional parts.
    """
    return frozenset(
        end.text for end in _ends(without_options(root) if with_optional_parts else root)
    )


def without_options(node: Node) -> Node:
    """Return a pattern whose optional parts are required."""
    match node:
        case Sequence(items):
            return Sequence(tuple(map(without_options, items)))
        case Alternation(options):
            required = tuple(without_options(each) for each in options if each != EMPTY)
            return Alternation(required) if required else EMPTY
        case Repeat(item, 0, 1):
            return without_options(item)
        case Repeat(item, min_count, max_count):
            return Repeat(without_options(item), min_count, max_count)
    return node


def _ends(node: Node) -> frozenset[_End]:
    match node:
        case Anchor.BEGIN:
            return frozenset({_End(BEGIN, goes_on=False)})
        case Anchor():
            return _NOTHING
        case ByteSet(mask):
            literal = b"." if mask in _ANY_BYTE else _single_character(mask)
            return frozenset({_End(literal)}) if literal else _UNKNOWN
        case Alternation(options):
            return _limited(end for option in options for end in _ends(option))
        case Sequence(items):
            return _ends_of_sequence(items)
        case Repeat():
            return _ends_of_repeat(node)


def _ends_of_sequence(items: tuple[Node, ...]) -> frozenset[_End]:
    ends = _NOTHING
    for item in reversed(items):
        if not any(end.goes_on for end in ends):
            break
        before = _ends(item)
        ends = _limited(
            _End(left.text + end.text, left.goes_on)
            for end in ends
            if end.goes_on
            for left in before
        ) | frozenset(end for end in ends if not end.goes_on)
    return ends


def _ends_of_repeat(node: Repeat) -> frozenset[_End]:
    if node.max_count == node.min_count and node.min_count <= 8:
        return _ends_of_sequence((node.item,) * node.min_count)
    if isinstance(node.item, ByteSet):
        # The dot at the end of an absolute name may be optional.
        is_dot = node.item.mask == 1 << ord(".") and node.max_count == 1
        return _NOTHING | {_End(b".")} if is_dot else _UNKNOWN
    inner = _ends(node.item)
    if node.max_count != 1:
        inner = frozenset(_End(end.text, goes_on=False) for end in inner)
    return inner | _NOTHING if node.min_count == 0 else inner


def _single_character(mask: int) -> bytes:
    """Return the character of a set, in lower case; empty if it has several."""
    members = {bytes((byte,)).lower() for byte in members_of(mask)}
    return members.pop() if len(members) == 1 else b""


def _limited(ends: Iterable[_End]) -> frozenset[_End]:
    return frozenset(islice(ends, MAX_ENDS))
