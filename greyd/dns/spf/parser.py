"""Parser of SPF records (RFC 7208, 4.6 and 7.1).

The modifier ``exp``, the explanation of a fail, is validated but never looked up.
"""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_pton  # arithmetic on addresses, no I/O

from greyd.dns.spf.errors import SpfPermanentError
from greyd.dns.spf.limits import MAX_MACROS, MAX_RECORD_BYTES, MAX_TERMS
from greyd.dns.spf.record import (
    CURRENT_DOMAIN,
    DomainSpec,
    Macro,
    NetworkTerm,
    PrefixLengths,
    SpfRecord,
    Term,
)

MAX_TERM_TEXT_BYTES = 255
"""Maximum length of a directive's text that is kept for display."""

RESULTS = {b"+": "pass", b"-": "fail", b"~": "softfail", b"?": "neutral"}
"""The result of a directive by its qualifier."""

_MACRO = re.compile(rb"%(?:\{([slodiphcrtv])([0-9]*)(r?)([.\-+,/_=]*)\}|([%_-]))", re.IGNORECASE)
_LITERALS = re.compile(rb"[\x21-\x24\x26-\x7e]+")
_TOP_LABEL = re.compile(rb"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE)
_MODIFIER = re.compile(rb"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE | re.DOTALL)
_DIRECTIVE = re.compile(rb"([-+?~]?)([a-z][a-z0-9_.-]*)(.*)", re.IGNORECASE | re.DOTALL)
_CIDR = re.compile(rb"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_IP4 = re.compile(rb"([-+?~]?)ip4:([0-9.]{7,15})(?:/([0-9]{1,3}))?", re.IGNORECASE)
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,2}")
_ESCAPES = {b"%": b"%", b"_": b" ", b"-": b"%20"}

_EXPLANATION_LETTERS = frozenset(b"crt")


class RecordParser:
    """Parses one record."""

    def __init__(self) -> None:
        self._terms: list[NetworkTerm | Term] = []
        self._modifiers: dict[bytes, DomainSpec] = {}
        self._macro_count = 0

    def parse(self, text: bytes) -> SpfRecord:
        """Parse a record, which begins with ``v=spf1``.

        Raises:
            SpfPermanentError: the record is invalid, or exceeds a limit.
        """
        # A macro has at most two percent signs, so this check bounds the work before parsing.
        if not text.isascii() or len(text) > MAX_RECORD_BYTES or text.count(b"%") > 2 * MAX_MACROS:
            raise SpfPermanentError
        words = [word for word in text[6:].split(b" ") if word]
        if len(words) > MAX_TERMS:
            raise SpfPermanentError
        for word in words:
            self._read_word(word)
        if self._macro_count > MAX_MACROS:
            raise SpfPermanentError
        passed_counts = {32: 0, 128: 0}
        for term in self._terms:
            if isinstance(term, NetworkTerm) and term.result == "pass":
                passed_counts[term.bits] += 1 << (term.bits - term.prefix)
        return SpfRecord(
            tuple(self._terms),
            self._modifiers.get(b"redirect"),
            byte_count=len(text),
            term_count=len(words),
            macro_count=self._macro_count,
            passed_counts=passed_counts,
        )

    def _read_word(self, word: bytes) -> None:
        if ip4 := _IP4.fullmatch(word):
            # Most terms of most records are ip4, so they have a short cut.
            self._terms.append(_ip4_term(ip4))
        elif modifier := _MODIFIER.fullmatch(word):
            name, value = modifier[1].lower(), modifier[2]
            if name not in {b"redirect", b"exp"}:
                self._read_macros(value)
            elif name in self._modifiers:
                raise SpfPermanentError
            else:
                self._modifiers[name] = self._read_spec(value)
        else:
            self._terms.append(self._read_directive(word))

    def _read_directive(self, word: bytes) -> NetworkTerm | Term:
        directive = _DIRECTIVE.fullmatch(word)
        if directive is None:
            raise SpfPermanentError
        qualifier, name, rest = directive.groups()
        text, name, result = word[:MAX_TERM_TEXT_BYTES], name.lower(), RESULTS[qualifier or b"+"]
        if name == b"all" and not rest:
            return Term(text, result, name)
        if name in {b"ip4", b"ip6"} and rest.startswith(b":"):
            bits = 32 if name == b"ip4" else 128
            number, prefix = _read_network(rest[1:], bits)
            return NetworkTerm(text, result, number, prefix, bits)
        if name in {b"include", b"exists"} and rest.startswith(b":"):
            return Term(text, result, name, self._read_spec(rest[1:]))
        if name == b"ptr" and rest[:1] in {b"", b":"}:
            return Term(text, result, name, self._read_spec(rest[1:]) if rest else CURRENT_DOMAIN)
        if name in {b"a", b"mx"}:
            rest, prefixes = _read_prefixes(rest)
            if rest[:1] in {b"", b":"}:
                spec = self._read_spec(rest[1:]) if rest else CURRENT_DOMAIN
                return Term(text, result, name, spec, prefixes)
        raise SpfPermanentError

    def _read_spec(self, text: bytes) -> DomainSpec:
        """Read a domain-spec: a macro-string that ends with a macro or a top-level label."""
        parts = self._read_macros(text)
        if not parts or (isinstance(parts[-1], bytes) and not _ends_with_top_label(parts[-1])):
            raise SpfPermanentError
        macros = [part for part in parts if isinstance(part, Macro)]
        return DomainSpec(tuple(parts), frozenset(each.letter for each in macros if each.letter))

    def _read_macros(self, text: bytes) -> list[bytes | Macro]:
        """Read a macro-string: literals and macros."""
        parts: list[bytes | Macro] = []
        at = 0
        while at < len(text):
            if literals := _LITERALS.match(text, at):
                parts.append(literals[0])
                at = literals.end()
            elif macro := _MACRO.match(text, at):
                parts.append(_macro(macro))
                self._macro_count += 1
                at = macro.end()
            else:
                raise SpfPermanentError
        return parts


def _ip4_term(ip4: re.Match[bytes]) -> NetworkTerm:
    qualifier, host, length = ip4.groups()
    number, prefix = _read_network(host + b"/" + length if length else host, 32)
    return NetworkTerm(ip4[0], RESULTS[qualifier or b"+"], number, prefix, 32)


def _read_network(text: bytes, bits: int) -> tuple[int, int]:
    host, slash, length = text.partition(b"/")
    try:
        packed = inet_pton(AF_INET if bits == 32 else AF_INET6, host.decode("ascii"))
    except (OSError, ValueError):
        raise SpfPermanentError from None
    if slash and not _LENGTH.fullmatch(length):
        raise SpfPermanentError
    prefix = int(length) if slash else bits
    if prefix > bits:
        raise SpfPermanentError
    return int.from_bytes(packed, "big"), prefix


def _read_prefixes(text: bytes) -> tuple[bytes, PrefixLengths]:
    """Split prefix lengths such as ``/24//64`` off a mechanism; return the rest and the lengths."""
    cidr = _CIDR.search(text)
    if cidr is None:
        raise SpfPermanentError
    ip4, ip6 = (int(cidr[group]) if cidr[group] else None for group in (1, 2))
    if (ip4 or 0) > 32 or (ip6 or 0) > 128:
        raise SpfPermanentError
    prefixes = PrefixLengths(32 if ip4 is None else ip4, 128 if ip6 is None else ip6)
    return text[: cidr.start()], prefixes


def _ends_with_top_label(text: bytes) -> bool:
    """Whether a literal ends with a dot and a top-level label, which is not numeric."""
    _, dot, label = text.removesuffix(b".").rpartition(b".")
    return bool(dot and _TOP_LABEL.fullmatch(label)) and not label.isdigit()


def _macro(macro: re.Match[bytes]) -> Macro:
    letter, digits, reverse, delimiters, escape = macro.groups()
    if escape:
        return Macro(text=_ESCAPES[escape])
    lower = letter.lower()[0]
    count = digits.lstrip(b"0")
    if lower in _EXPLANATION_LETTERS or (digits and not count):
        raise SpfPermanentError
    # No value has a thousand parts, so a number of four or more digits keeps all parts.
    kept_count = int(count) if 0 < len(count) <= 3 else 0
    delimiters = bytes(sorted(set(delimiters))) or b"."
    return Macro(lower, letter.isupper(), kept_count, bool(reverse), delimiters)
