"""Parsed SPF records: directives, domain-specs and macros (RFC 7208, 4.6 and 7.1)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro such as ``%{l1r-}``, or one of ``%%``, ``%_`` and ``%-``, whose text is fixed."""

    letter: int = 0
    """The code of the letter in lower case; 0 for a fixed text."""
    is_escaped: bool = False
    """Whether to URL-escape the value; the record says so by an upper-case letter."""
    kept_count: int = 0
    """Number of parts to keep, from the right; 0 keeps all."""
    is_reversed: bool = False
    delimiters: bytes = b"."
    text: bytes = b""


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """A domain name that may contain macros; without parts, the domain of the record itself."""

    parts: tuple[bytes | Macro, ...] = ()
    letters: frozenset[int] = frozenset()
    """The codes of the macros' letters, in lower case."""


CURRENT_DOMAIN = DomainSpec()


@dataclass(frozen=True, slots=True)
class PrefixLengths:
    """The prefix lengths of an ``a`` or ``mx``, such as ``/24//64``."""

    ipv4: int = 32
    ipv6: int = 128

    def of(self, bits: int) -> int:
        """Return the prefix length for addresses of 32 or 128 bits."""
        return self.ipv4 if bits == 32 else self.ipv6


HOST_PREFIXES = PrefixLengths()


@dataclass(frozen=True, slots=True)
class NetworkTerm:
    """An ``ip4`` or ``ip6`` directive."""

    text: bytes
    """The first ``MAX_TERM_TEXT_BYTES`` of the directive."""
    result: str
    """The result if the network contains the client's address."""
    number: int
    """The network's address as a number."""
    prefix: int
    bits: int
    """32 or 128."""


@dataclass(frozen=True, slots=True)
class Term:
    """A directive other than ``ip4`` and ``ip6``: a mechanism, and the result if it matches."""

    text: bytes
    """The first ``MAX_TERM_TEXT_BYTES`` of the directive."""
    result: str
    mechanism: bytes
    """In lower case."""
    spec: DomainSpec = CURRENT_DOMAIN
    prefixes: PrefixLengths = HOST_PREFIXES


@dataclass(frozen=True, slots=True)
class SpfRecord:
    """A parsed record."""

    terms: tuple[NetworkTerm | Term, ...]
    redirect: DomainSpec | None
    byte_count: int
    term_count: int
    """Number of directives and modifiers."""
    macro_count: int
    passed_counts: dict[int, int]
    """Number of addresses that its networks let pass, by the bits of an address."""

    @property
    def memory_bytes(self) -> int:
        """The approximate size of the record in memory."""
        return 700 + self.byte_count + 300 * self.term_count + 200 * self.macro_count
