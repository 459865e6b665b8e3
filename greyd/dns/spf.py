"""SPF (RFC 7208): whether the owner of a domain says that an address may send its mail.

An evaluation of our own: pyspf, the reference, waits for each answer of the DNS, has had no release
since 2020, needs a second DNS library, and does not say which term of an included record matched.
That matters here: greyd takes a pass for a proof of who sends, and a domain proves nothing by
passing everybody. So a pass proves nothing

- by ``all``, ``exists`` or ``ptr``: what they pass can't be counted;
- by a network wider than ``WIDEST``, also one around the address of an ``a`` or ``mx``;
- where the records read until then, and the hosts that they name, make more than
  ``MOST_ADDRESSES`` in all: many networks are as good as a wide one;
- where a name on the way is made of what differs from request to request (the macros ``s``, ``l``,
  ``i``, ``p``, ``h``): the owner's name server sees who asks, and can pass each of them.

The explanation of a fail (``exp``) is read for its grammar, and never looked up.

An evaluation is bounded, whatever a stranger's record says. It asks at most ``MOST_QUESTIONS``
times: for the record, and for each of 10 terms once and for 10 hosts (RFC 7208, 4.6.4). It reads 11
records of ``MOST_OCTETS``, and makes of a name only the octets that can stay. How long the answers
may take is for the caller to say.
"""

from __future__ import annotations

import re
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, NamedTuple

from greyd.dns import DnsError, Kind
from greyd.dns.lists import pointer_name
from greyd.dns.names import dotted
from greyd.greylist import is_or_is_below

if TYPE_CHECKING:
    from greyd.dns import Answer, Lookup
    from greyd.greylist import Address

MOST_TERMS = 10
"""Terms that ask the DNS."""
MOST_VOID = 2
"""Terms that may find nothing, be it with one of their questions. Questions are not counted: the
hosts of an ``mx`` often have no address of IPv6, all of them.
"""
MOST_NAMES = 10
"""Mail exchangers, and names of an address, that are looked up for one term."""
MOST_QUESTIONS = 1 + MOST_TERMS * (1 + MOST_NAMES)
MOST_OCTETS = 8192
"""Of a record; a longer one is an error."""
MOST_OCTETS_OF_REQUEST = 512
"""Of the sender and the HELO in a macro; Postfix's values are cut there too."""

WIDEST = {32: 8, 128: 16}
"""The shortest prefix of a network, by an address's bits, that says something of an address."""
MOST_ADDRESSES = {32: 1 << 25, 128: 1 << 112}
"""Addresses that all records of a domain may name: two /8, one /16 of IPv6."""

RESULTS = {b"+": "pass", b"-": "fail", b"~": "softfail", b"?": "neutral"}


class SpfResult(NamedTuple):
    """What SPF says of an address."""

    result: str
    """``pass``, ``fail``, ``softfail``, ``neutral``, ``none``, ``temperror`` or ``permerror``."""
    domain: bytes
    """Whose record it was."""
    proves: bool = False
    """A pass that says something of just this address."""
    term: bytes = b""
    """The innermost term that matched, its first 255 octets."""


async def check_host(lookup: Lookup, address: Address, sender: bytes, helo: bytes) -> SpfResult:
    """Ask whether ``address`` may send mail of ``sender``; of the HELO's name where that is empty.

    A sender without a domain has no record. Whatever the DNS answers is a result, never an error.
    """
    local, at, domain = sender.rpartition(b"@")
    if not at:
        domain = b"" if sender else helo
    domain = domain.lower().removesuffix(b".")
    check = _Check(lookup, address, local or b"postmaster", domain, helo)
    try:
        verdict = await check.evaluate(domain, fixed=True)
    except _PermanentError:
        verdict = _Verdict("permerror")
    except DnsError:
        verdict = _Verdict("temperror")
    wide = check.named[address.bits] > MOST_ADDRESSES[address.bits]
    proves = verdict.result == "pass" and verdict.narrow and not wide
    return SpfResult(verdict.result, domain, proves, verdict.term[:255])


class _PermanentError(Exception):
    """The records can't be understood, or ask too much (RFC 7208, 2.6.7)."""


class _Verdict(NamedTuple):
    result: str
    narrow: bool = False
    """The term that matched says something of just this address."""
    term: bytes = b""


# The grammar of records (RFC 7208, 4.6 and 7.1) ---------------------------------------------------

_MACRO = re.compile(rb"%(?:\{([slodiphcrtv])([0-9]*)(r?)([.\-+,/_=]*)\}|([%_-]))", re.IGNORECASE)
_LITERALS = re.compile(rb"[\x21-\x24\x26-\x7e]*")
_TOP_LABEL = re.compile(rb"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE)
_MODIFIER = re.compile(rb"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE | re.DOTALL)
_DIRECTIVE = re.compile(rb"([-+?~]?)([a-z][a-z0-9_.-]*)(.*)", re.IGNORECASE | re.DOTALL)
_CIDR = re.compile(rb"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)

_MOST_OCTETS_OF_NAME = 253

_ONLY_EXPLAINING = frozenset(b"crt")
_OF_REQUEST = frozenset(b"sliph")
_ASKING = frozenset([b"a", b"mx", b"ptr", b"exists", b"include"])


class _Spec(NamedTuple):
    """A name with macros in it; empty for the domain whose record it is."""

    text: bytes
    letters: frozenset[int]
    """The macros' letters, in lower case."""


class _Term(NamedTuple):
    """A directive: a mechanism, and what is the result where it matches."""

    text: bytes
    result: str
    name: bytes
    spec: _Spec
    network: int = 0
    prefixes: tuple[int, int] = (32, 128)
    """Of IPv4 and IPv6."""


class _Record(NamedTuple):
    terms: list[_Term]
    redirect: _Spec | None


def _read_record(text: bytes) -> _Record:
    if not text.isascii() or len(text) > MOST_OCTETS:
        raise _PermanentError
    terms = []
    modifiers: dict[bytes, _Spec] = {}
    for word in text[6:].split(b" "):
        if not word:
            continue
        if modifier := _MODIFIER.fullmatch(word):
            name, value = modifier[1].lower(), modifier[2]
            if name in {b"redirect", b"exp"}:
                if name in modifiers:
                    raise _PermanentError
                modifiers[name] = _read_spec(value)
            else:
                _letters(value)
        else:
            terms.append(_read_term(word))
    return _Record(terms, modifiers.get(b"redirect"))


def _read_term(word: bytes) -> _Term:
    directive = _DIRECTIVE.fullmatch(word)
    if directive is None:
        raise _PermanentError
    qualifier, name, rest = directive.groups()
    name, result = name.lower(), RESULTS[qualifier or b"+"]
    here = _Spec(b"", frozenset())
    if name == b"all" and not rest:
        return _Term(word, result, name, here)
    if name in {b"ip4", b"ip6"} and rest.startswith(b":"):
        network, prefix = _read_network(rest[1:], 32 if name == b"ip4" else 128)
        return _Term(word, result, name, here, network, (prefix, prefix))
    if name in {b"include", b"exists"} and rest.startswith(b":"):
        return _Term(word, result, name, _read_spec(rest[1:]))
    if name == b"ptr" and rest[:1] in {b"", b":"}:
        return _Term(word, result, name, _read_spec(rest[1:]) if rest else here)
    if name in {b"a", b"mx"}:
        rest, prefixes = _read_prefixes(rest)
        if rest[:1] in {b"", b":"}:
            spec = _read_spec(rest[1:]) if rest else here
            return _Term(word, result, name, spec, prefixes=prefixes)
    raise _PermanentError


def _read_network(text: bytes, bits: int) -> tuple[int, int]:
    host, slash, length = text.partition(b"/")
    try:
        packed = inet_pton(AF_INET if bits == 32 else AF_INET6, host.decode("ascii"))
    except (OSError, ValueError):
        raise _PermanentError from None
    if slash and not re.fullmatch(rb"0|[1-9][0-9]{0,2}", length):
        raise _PermanentError
    prefix = int(length) if slash else bits
    if prefix > bits:
        raise _PermanentError
    return int.from_bytes(packed, "big"), prefix


def _read_prefixes(text: bytes) -> tuple[bytes, tuple[int, int]]:
    """Take ``/24//64`` from the end of a mechanism's rest."""
    cidr = _CIDR.search(text)
    if cidr is None:
        raise _PermanentError
    ip4, ip6 = (int(cidr[group]) if cidr[group] else None for group in (1, 2))
    if (ip4 or 0) > 32 or (ip6 or 0) > 128:
        raise _PermanentError
    return text[: cidr.start()], (32 if ip4 is None else ip4, 128 if ip6 is None else ip6)


def _read_spec(text: bytes) -> _Spec:
    """Read a domain-spec: macros and letters, and at the end a macro or a top label."""
    letters = _letters(text)
    macros = list(_MACRO.finditer(text))
    end = macros[-1].end() if macros else 0
    if not text or (end < len(text) and not _ends_a_name(text[end:])):
        raise _PermanentError
    return _Spec(text, letters)


def _ends_a_name(text: bytes) -> bool:
    """Whether what follows the last macro ends with a top label: of host names, not all digits."""
    _, dot, label = text.removesuffix(b".").rpartition(b".")
    return bool(dot and _TOP_LABEL.fullmatch(label)) and not label.isdigit()


def _letters(text: bytes) -> frozenset[int]:
    """Return the macros of a macro-string, and see that it is one."""
    letters = set()
    at = 0
    while at < len(text):
        literals = _LITERALS.match(text, at)
        at = literals.end() if literals else at
        if at == len(text):
            break
        macro = _MACRO.match(text, at)
        if macro is None or (macro[2] and not macro[2].strip(b"0")):
            raise _PermanentError
        if macro[1]:
            letters.add(macro[1].lower()[0])
        at = macro.end()
    if letters & _ONLY_EXPLAINING:
        raise _PermanentError
    return frozenset(letters)


# The evaluation -----------------------------------------------------------------------------------


class _Check:
    """One evaluation, with what it has asked so far."""

    def __init__(
        self, lookup: Lookup, address: Address, local: bytes, domain: bytes, helo: bytes
    ) -> None:
        self._lookup = lookup
        self._address = address
        self._local = local[:MOST_OCTETS_OF_REQUEST]
        self._sender_domain = domain
        self._helo = helo[:MOST_OCTETS_OF_REQUEST]
        self._terms = 0
        self._void: set[int] = set()
        """The asking terms, by their numbers, that something was asked for in vain."""
        self._validated: list[bytes] | None = None
        self.named = {32: 0, 128: 0}
        """Addresses that the records seen so far name, by their bits."""

    async def evaluate(self, domain: bytes, *, fixed: bool) -> _Verdict:
        """Evaluate a domain's record; ``fixed`` says that its name is the same for all who ask."""
        if not _is_domain(domain):
            return _Verdict("none")
        texts = (await self._lookup.query(domain, Kind.TXT)).values
        records = [text for text in texts if _VERSION.match(text)]
        if not records:
            return _Verdict("none")
        if len(records) > 1:
            raise _PermanentError
        record = _read_record(records[0])
        self._count_addresses(record)
        for term in record.terms:
            if verdict := await self._try(term, domain, fixed=fixed):
                return verdict
        if record.redirect is None:
            return _Verdict("neutral")
        self._count_term()
        target = await self._expand(record.redirect, domain)
        fixed = fixed and not record.redirect.letters & _OF_REQUEST
        verdict = await self.evaluate(target, fixed=fixed)
        if verdict.result == "none":
            raise _PermanentError
        return verdict

    def _count_addresses(self, record: _Record) -> None:
        for term in record.terms:
            if term.name in {b"ip4", b"ip6"} and term.result == "pass":
                bits = 32 if term.name == b"ip4" else 128
                self.named[bits] += 1 << (bits - term.prefixes[0])

    async def _try(self, term: _Term, domain: bytes, *, fixed: bool) -> _Verdict | None:
        """Return the verdict where a term matches."""
        if term.name in _ASKING:
            self._count_term()
        fixed = fixed and not term.spec.letters & _OF_REQUEST
        matches, narrow = False, False
        if term.name == b"all":
            matches = True
        elif term.name in {b"ip4", b"ip6"}:
            bits = 32 if term.name == b"ip4" else 128
            prefix = term.prefixes[0]
            matches = bits == self._address.bits and self._is_near(term.network, prefix)
            narrow = fixed and prefix >= WIDEST[bits]
        else:
            target = await self._expand(term.spec, domain) if term.spec.text else domain
            if term.name == b"include":
                return await self._include(term, target, fixed=fixed)
            prefix = term.prefixes[self._address.bits == 128]
            matches = await self._asks(term.name, target, prefix)
            narrow = fixed and term.name in {b"a", b"mx"} and prefix >= WIDEST[self._address.bits]
        return _Verdict(term.result, narrow, term.text) if matches else None

    async def _include(self, term: _Term, target: bytes, *, fixed: bool) -> _Verdict | None:
        verdict = await self.evaluate(target, fixed=fixed)
        if verdict.result == "none":
            raise _PermanentError
        if verdict.result != "pass":
            return None
        return _Verdict(term.result, verdict.narrow, verdict.term)

    async def _asks(self, name: bytes, target: bytes, prefix: int) -> bool:
        """Whether a mechanism that asks for addresses matches."""
        if name == b"exists":
            return bool((await self._query(target, Kind.A)).values)
        if name == b"a":
            return await self._has_near(target, prefix)
        if name == b"ptr":
            names = await self._validated_names()
            return any(is_or_is_below(each, target) for each in names)
        exchangers = (await self._query(target, Kind.MX)).values
        if len(exchangers) > MOST_NAMES:
            raise _PermanentError
        for exchanger in exchangers:
            if exchanger and await self._has_near(exchanger, prefix):
                return True
        return False

    async def _has_near(self, name: bytes, prefix: int) -> bool:
        values = (await self._query(name, self._kind)).values
        self.named[self._address.bits] += len(values) << (self._address.bits - prefix)
        if prefix == self._address.bits:
            return self._address.packed in values
        return any(self._is_near(int.from_bytes(value, "big"), prefix) for value in values)

    @property
    def _kind(self) -> Kind:
        return Kind.A if self._address.bits == 32 else Kind.AAAA

    def _is_near(self, number: int, prefix: int) -> bool:
        free = self._address.bits - prefix
        return number >> free == self._address.number >> free

    async def _query(self, name: bytes, kind: Kind) -> Answer:
        answer = await self._lookup.query(name, kind)
        if not answer.values:
            self._void.add(self._terms)
            if len(self._void) > MOST_VOID:
                raise _PermanentError
        return answer

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MOST_TERMS:
            raise _PermanentError

    async def _validated_names(self) -> list[bytes]:
        """Return the address's names that lead back to it (RFC 7208, 5.5); errors lead nowhere."""
        if self._validated is None:
            self._validated = []
            try:
                answer = await self._query(pointer_name(self._address), Kind.PTR)
            except DnsError:
                return []
            for name in answer.values[:MOST_NAMES]:
                if await self._leads_back(name):
                    self._validated.append(name)
        return self._validated

    async def _leads_back(self, name: bytes) -> bool:
        try:
            return self._address.packed in (await self._query(name, self._kind)).values
        except DnsError:
            return False

    # Macros -------------------------------------------------------------------------------------

    async def _expand(self, spec: _Spec, domain: bytes) -> bytes:
        """Return a name with its macros replaced, without its first labels where it is too long.

        It is made from its end on, and only as much of it as can stay: a record has room for
        thousands of macros (RFC 7208, 7.3).
        """
        values = {
            ord("s"): self._local + b"@" + self._sender_domain,
            ord("l"): self._local,
            ord("o"): self._sender_domain,
            ord("d"): domain,
            ord("i"): dotted(self._address),
            ord("h"): self._helo,
            ord("v"): b"in-addr" if self._address.bits == 32 else b"ip6",
        }
        if ord("p") in spec.letters:
            values[ord("p")] = await self._name_of_client(domain)
        name, start = b"", len(spec.text)
        for macro in reversed(list(_MACRO.finditer(spec.text))):
            name = _replace(macro, values) + spec.text[macro.end() : start] + name
            start = macro.start()
            if len(name) > _MOST_OCTETS_OF_NAME + 1:
                break
        else:
            name = spec.text[:start] + name
        return _fitting(name.removesuffix(b".")).lower()

    async def _name_of_client(self, domain: bytes) -> bytes:
        if self._validated is None:
            # Its questions count as those of a term (RFC 7208, 4.6.4).
            self._count_term()
        names = await self._validated_names()
        below = [name for name in names if is_or_is_below(name, domain)]
        exact = [name for name in below if name == domain]
        return next(iter([*exact, *below, *names]), b"unknown")


def _replace(macro: re.Match[bytes], values: dict[int, bytes]) -> bytes:
    letter, digits, reverse, delimiters, plain = macro.groups()
    if plain:
        return {b"%": b"%", b"_": b" ", b"-": b"%20"}[plain]
    parts = re.split(b"[%b]" % re.escape(delimiters or b"."), values[letter.lower()[0]])
    if reverse:
        parts.reverse()
    digits = digits.lstrip(b"0")
    if 0 < len(digits) <= 3:
        # Nothing has a thousand parts; a longer number means all of them.
        parts = parts[-int(digits) :]
    text = b".".join(parts)
    return _escape(text) if letter.isupper() else text


def _fitting(name: bytes) -> bytes:
    if len(name) <= _MOST_OCTETS_OF_NAME:
        return name
    return name[-_MOST_OCTETS_OF_NAME - 1 :].partition(b".")[2]


def _escape(text: bytes) -> bytes:
    return re.sub(rb"[^A-Za-z0-9._~-]", lambda odd: b"%%%02X" % odd[0][0], text)


def _is_domain(name: bytes) -> bool:
    """Whether a name has several labels of a possible length (RFC 7208, 4.3)."""
    if len(name) > _MOST_OCTETS_OF_NAME:
        return False
    labels = name.split(b".")
    return len(labels) > 1 and all(1 <= len(each) <= 63 for each in labels)
