"""Parsed SPF records (RFC 7208, 4.6 and 7.1)."""

from __future__ import annotations

from typing import NamedTuple


class Macro(NamedTuple):
    """``%{l1r-}``; or ``%%``, ``%_``, ``%-``, which stand for a text."""

    letter: int = 0
    """In lower case; 0 for a text."""
    is_escaped: bool = False
    """Written in upper case: its value is URL-escaped."""
    kept: int = 0
    """How many parts from the right stay; 0 for all."""
    is_reversed: bool = False
    delimiters: bytes = b"."
    text: bytes = b""


class DomainSpec(NamedTuple):
    """A name with macros in it; without parts for the domain whose record it is."""

    parts: tuple[bytes | Macro, ...] = ()
    letters: frozenset[int] = frozenset()
    """The macros' letters, in lower case."""


class Term(NamedTuple):
    """A directive: a mechanism, and what is the result where it matches."""

    text: bytes
    """Its first 255 bytes."""
    result: str
    name: bytes
    spec: DomainSpec = DomainSpec()
    network: int = 0
    """An address in that of ``ip4`` and ``ip6``."""
    bits: int = 0
    """Of such an address."""
    prefixes: tuple[int, int] = (32, 128)
    """Of IPv4 and IPv6."""


class SpfRecord(NamedTuple):
    """A parsed record."""

    terms: tuple[Term, ...]
    redirect: DomainSpec | None
    bytes_count: int
    terms_count: int
    """Modifiers too."""
    macros_count: int
    named: dict[int, int]
    """Addresses that its networks let pass, by their bits."""

    @property
    def memory_bytes(self) -> int:
        """What it takes, about."""
        return 700 + self.bytes_count + 300 * self.terms_count + 200 * self.macros_count
