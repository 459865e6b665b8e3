"""Formats counts with their nouns: ``1 error``, ``2 errors``."""

from __future__ import annotations


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun; ``plural`` only if it is not ``singular`` with an s.

    >>> counted(1, "error"), counted(1200, "error"), counted(0, "entry", "entries")
    ('1 error', '1,200 errors', '0 entries')
    """
    return f"{number:,} {noun(number, singular, plural)}"


def noun(number: int, singular: str, plural: str = "") -> str:
    """Return the form of a noun, or of a verb, that belongs to a number."""
    return singular if number == 1 else plural or f"{singular}s"
