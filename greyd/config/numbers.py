"""Parses whole numbers, other positive numbers, and sizes in bytes.

Each parser returns the number, or raises ValueError; its message describes the expected value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTEGER = re.compile(r"[-+]?[0-9][0-9_]{0,20}")
MAX_NUMBER = 10**12
MAX_INT = 2**31 - 1  # the largest C int, the type that listen(2) takes
_MAX_OTHER_NUMBER = 86_400
_MIN_STORE_BYTES, _MAX_STORE_BYTES = 2**20, 2**47  # the latter is half of SQLite's own limit

OFF_WORDS = frozenset(("0", "off", "no", "none", "false"))
"""The words, in lower case, that disable an option which has no truth value."""


def parse_integer(text: str) -> int:
    """Return a whole number of at most twelve digits."""
    if not INTEGER.fullmatch(text) or abs(number := int(text.replace("_", ""))) > MAX_NUMBER:
        raise ValueError("a whole number")
    return number


def integer_between(least: int, most: int, what: str) -> Callable[[str], int]:
    """Return a parser of whole numbers within limits; ``what`` describes them in the error."""

    def read(text: str) -> int:
        number = parse_integer(text)
        if not least <= number <= most:
            raise ValueError(f"{what} from {least} to {most}")
        return number

    return read


def parse_count(text: str) -> int:
    """Return a whole number, 0 or more; ``off`` is 0."""
    if text.lower() in OFF_WORDS:
        return 0
    return require_not_negative(parse_integer(text))


def require_not_negative(number: int) -> int:
    """Return ``number``; raise ValueError if it is negative."""
    if number < 0:
        raise ValueError("a whole number, 0 or more")
    return number


def parse_weight(text: str) -> float:
    """Return a positive number."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number <= _MAX_OTHER_NUMBER:
        raise ValueError("a weight, more than 0")
    return number


def parse_bytes(text: str) -> int:
    """Return the bytes of a size such as ``4G`` or ``512M``; a bare number is in bytes."""
    found = re.fullmatch(r"([0-9]{1,15}) ?([kmgt]?)(?:i?b)?", text.lower())
    number = int(found[1]) << 10 * " kmgt".index(found[2] or " ") if found else 0
    if not _MIN_STORE_BYTES <= number <= _MAX_STORE_BYTES:
        raise ValueError("a size from 1M to 128T, in bytes or with K, M, G or T (4G)")
    return number
