"""Writes a syntax tree as an equivalent pattern for RE2.

RE2 has to be configured for Latin-1, case-sensitive matching and no captures.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from greyd.whitelist.perl_regex.byte_sets import ALL_BYTES, members_of, ranges_of
from greyd.whitelist.perl_regex.syntax import Alternation, Anchor, ByteSet, Repeat, Sequence

if TYPE_CHECKING:
    from greyd.whitelist.perl_regex.syntax import Node

_ANCHORS = {
    Anchor.BEGIN: rb"\A",
    Anchor.END: rb"\z",
    Anchor.WORD_BOUNDARY: rb"\b",
    Anchor.NO_WORD_BOUNDARY: rb"\B",
}
_NO_BYTE = rb"[^\x00-\xff]"


def re2_text(node: Node) -> bytes:
    """Return the pattern for RE2."""
    match node:
        case Anchor():
            return _ANCHORS[node]
        case ByteSet():
            return _byte_set_text(node.mask)
        case Sequence(items):
            return b"".join(
                b"(?:%b)" % re2_text(each) if isinstance(each, Alternation) else re2_text(each)
                for each in items
            )
        case Alternation(options):
            return b"|".join(map(re2_text, options))
        case Repeat():
            return _repeat_text(node)


def _repeat_text(node: Repeat) -> bytes:
    text = re2_text(node.item)
    if not isinstance(node.item, ByteSet):
        text = b"(?:%b)" % text
    match node.min_count, node.max_count:
        case 0, None:
            return text + b"*"
        case 1, None:
            return text + b"+"
        case 0, 1:
            return text + b"?"
        case least, None:
            return b"%b{%d,}" % (text, least)
        case least, most:
            return b"%b{%d,%d}" % (text, least, most)
    raise AssertionError(node)


@lru_cache(1000)
def _byte_set_text(mask: int) -> bytes:
    if mask == ALL_BYTES:
        return rb"(?s:.)"
    if not mask:
        return _NO_BYTE
    members = members_of(mask)
    if len(members) == 1:
        return _byte_text(members[0])
    ranges = ranges_of(mask)
    return b"[%b]" % b"".join(
        _byte_text(first) if first == last else b"%b-%b" % (_byte_text(first), _byte_text(last))
        for first, last in ranges
    )


def _byte_text(byte: int) -> bytes:
    character = bytes((byte,))
    return character if character.isalnum() else b"\\x%02x" % byte
