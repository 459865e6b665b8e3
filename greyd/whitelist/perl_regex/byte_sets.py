r"""Sets of bytes, as masks: bit ``n`` stands for byte ``n``.

Perl's classes are those for byte strings without a locale (perlrecharclass): ``\w``, ``\d``, ``\s``
and the POSIX classes contain only ASCII, ``\h`` and ``\v`` also bytes of Latin-1.
"""

from __future__ import annotations

import string

ALL_BYTES = (1 << 256) - 1


def mask_of(members: bytes) -> int:
    """Return the mask of some bytes."""
    mask = 0
    for byte in members:
        mask |= 1 << byte
    return mask


def mask_of_range(first: int, last: int) -> int:
    """Return the mask of all bytes from ``first`` to ``last``."""
    return (1 << last + 1) - (1 << first)


def members_of(mask: int) -> bytes:
    """Return the bytes of a mask, in order."""
    return bytes(byte for byte in range(256) if mask >> byte & 1)


def ranges_of(mask: int) -> list[tuple[int, int]]:
    """Return the ranges of consecutive bytes of a mask, as first and last byte."""
    ranges: list[tuple[int, int]] = []
    for byte in members_of(mask):
        if ranges and ranges[-1][1] == byte - 1:
            ranges[-1] = (ranges[-1][0], byte)
        else:
            ranges.append((byte, byte))
    return ranges


def without_case(mask: int) -> int:
    """Return a mask with both cases of each ASCII letter. Other bytes have no case."""
    upper = mask & UPPER
    lower = mask & LOWER
    return mask | upper << 32 | lower >> 32


UPPER = mask_of(string.ascii_uppercase.encode())
LOWER = mask_of(string.ascii_lowercase.encode())
DIGITS = mask_of(string.digits.encode())
SPACES = mask_of(string.whitespace.encode())
WORD = UPPER | LOWER | DIGITS | mask_of(b"_")
HORIZONTAL_SPACES = mask_of(b"\t \xa0")
VERTICAL_SPACES = mask_of(b"\n\x0b\x0c\r\x85")
NOT_LINE_FEED = ALL_BYTES & ~mask_of(b"\n")

ESCAPED_CLASSES = {
    "d": DIGITS,
    "w": WORD,
    "s": SPACES,
    "h": HORIZONTAL_SPACES,
    "v": VERTICAL_SPACES,
} | {
    name: ALL_BYTES & ~mask
    for name, mask in {
        "D": DIGITS,
        "W": WORD,
        "S": SPACES,
        "H": HORIZONTAL_SPACES,
        "V": VERTICAL_SPACES,
    }.items()
}
"""The classes of Perl that are written with a backslash and a letter."""

POSIX_CLASSES = {
    "alpha": UPPER | LOWER,
    "digit": DIGITS,
    "alnum": UPPER | LOWER | DIGITS,
    "upper": UPPER,
    "lower": LOWER,
    "space": SPACES,
    "blank": mask_of(b" \t"),
    "punct": mask_of(string.punctuation.encode()),
    "print": mask_of_range(0x20, 0x7E),
    "graph": mask_of_range(0x21, 0x7E),
    "cntrl": mask_of_range(0, 0x1F) | mask_of(b"\x7f"),
    "xdigit": mask_of(string.hexdigits.encode()),
    "ascii": mask_of_range(0, 0x7F),
    "word": WORD,
}
"""The names in ``[[:name:]]``."""
