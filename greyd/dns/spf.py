"""SPF (RFC 7208): whether the owner of a domain says that an address may send its mail.

An evaluation of our own: pyspf, the reference, waits for each answer of the DNS, has had no release
since 2020, needs a second DNS library, and does not say which term of an included record matched.
That matters here: greyd takes a pass for a proof of who sends, and a domain proves nothing by
passing everybody. So a pass proves nothing

- by ``all``, ``exists`` or ``ptr``: what they pass can't be counted;
- by a network wider than ``WIDEST``, also one around the address of an ``a`` or ``mx``;
- where the records read until then, and the hosts that they name, make more than
  ``MAX_ADDRESSES`` in all: many networks are as good as a wide one;
- where a name on the way is made of what differs from request to request (the macros ``s``, ``l``,
  ``i``, ``p``, ``h``): the owner's name server sees who asks, and can pass each of them.

The explanation of a fail (``exp``) is read for its grammar, and never looked up.

An evaluation is bounded, whatever a stranger's record says:

- It asks at most ``MAX_QUESTIONS`` times: for the record, and for each of 10 terms once and for 10
  hosts (RFC 7208, 4.6.4).
- The records that it reads have at most ``MAX_BYTES``, ``MAX_TERMS`` and ``MAX_MACROS`` in all, and
  the hosts that they name at most ``MAX_ADDRESSES``. RFC 7208 leaves such limits to the evaluator
  (4.6.4, 11.1); beyond them the result is ``permerror``, as it is beyond the RFC's own limits.
- It expands at most ``MAX_DNS_TERMS`` names, and makes of each only the bytes that can stay.
- It lets other work run before each further record. A record is parsed once and kept for the next
  evaluation, its errors too.

How long the answers may take is for the caller to say.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from socket import AF_INET, AF_INET6, inet_pton
from typing import TYPE_CHECKING, NamedTuple

from greyd.dns.blocklists import pointer_name
from greyd.dns.lookup import DnsError, Kind
from greyd.rules.hostnames import dotted, is_or_is_below

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.dns.lookup import Answer, Lookup
    from greyd.rules.address import Address

MAX_DNS_TERMS = 10
"""Terms that ask the DNS."""
MAX_VOID = 2
"""Terms that may find nothing, be it with one of their questions. Questions are not counted: the
hosts of an ``mx`` often have no address of IPv6, all of them.
"""
MAX_NAMES = 10
"""Mail exchangers, and names of an address, that are looked up for one term."""
MAX_QUESTIONS = 1 + MAX_DNS_TERMS * (1 + MAX_NAMES)
MAX_RECORD_BYTES = 8192
"""Of a record; a longer one is an error."""
MAX_BYTES_OF_REQUEST = 512
"""Of the sender and the HELO in a macro; Postfix's values are cut there too."""

MAX_BYTES = 32 * 1024
"""Of all records of an evaluation. One that is met again counts again, here and below."""
MAX_TERMS = 2000
"""Directives and modifiers, those that ask nothing too."""
MAX_MACROS = 128
"""Wherever they stand, ``%%`` and its like too; one that expands to nothing costs as much."""
MAX_ADDRESSES = 1000
"""That the names of ``a``, ``mx``, ``exists`` and ``ptr`` lead to."""

MAX_CACHED_RECORDS = 5000
"""Parsed records that are kept; the one not used for longest goes."""
MAX_CACHED_BYTES = 8 * 1024 * 1024
"""What they may take together, about."""

WIDEST = {32: 8, 128: 16}
"""The shortest prefix of a network, by an address's bits, that says something of an address."""
MAX_PROVEN_ADDRESSES = {32: 1 << 25, 128: 1 << 112}
"""Addresses that all records of a domain may name: two /8, one /16 of IPv6."""

MAX_SHOWN_BYTES = 255
"""Of a term."""

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
    """The innermost term that matched, its first ``MAX_SHOWN_BYTES``."""


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
    wide = check.named[address.bits] > MAX_PROVEN_ADDRESSES[address.bits]
    proves = verdict.result == "pass" and verdict.narrow and not wide
    return SpfResult(verdict.result, domain, proves, verdict.term)


class _PermanentError(Exception):
    """The records can't be understood, or ask too much (RFC 7208, 2.6.7)."""


class _Verdict(NamedTuple):
    result: str
    narrow: bool = False
    """The term that matched says something of just this address."""
    term: bytes = b""


# The grammar of records (RFC 7208, 4.6 and 7.1) ---------------------------------------------------

_MACRO = re.compile(rb"%(?:\{([slodiphcrtv])([0-9]*)(r?)([.\-+,/_=]*)\}|([%_-]))", re.IGNORECASE)
_LITERALS = re.compile(rb"[\x21-\x24\x26-\x7e]+")
_TOP_LABEL = re.compile(rb"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE)
_MODIFIER = re.compile(rb"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE | re.DOTALL)
_DIRECTIVE = re.compile(rb"([-+?~]?)([a-z][a-z0-9_.-]*)(.*)", re.IGNORECASE | re.DOTALL)
_CIDR = re.compile(rb"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?\Z")
_IP4 = re.compile(rb"([-+?~]?)ip4:([0-9.]{7,15})(?:/([0-9]{1,3}))?", re.IGNORECASE)
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,2}")
_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
_PLAIN = {b"%": b"%", b"_": b" ", b"-": b"%20"}

_MAX_BYTES_OF_NAME = 253
_MAX_VALUE_BYTES = _MAX_BYTES_OF_NAME + 2
"""Of a macro's value: what decides whether a name is too long, and a dot at its end."""

_ONLY_EXPLAINING = frozenset(b"crt")
_OF_REQUEST = frozenset(b"sliph")
_URL_ESCAPED = tuple(
    bytes([byte]) if re.match(rb"[A-Za-z0-9._~-]", bytes([byte])) else b"%%%02X" % byte
    for byte in range(256)
)
"""Each byte as it stands in a URL (RFC 7208, 7.3)."""
_NETWORKS = frozenset([b"ip4", b"ip6"])


class _Macro(NamedTuple):
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


class _Spec(NamedTuple):
    """A name with macros in it; without parts for the domain whose record it is."""

    parts: tuple[bytes | _Macro, ...] = ()
    letters: frozenset[int] = frozenset()
    """The macros' letters, in lower case."""


class _Term(NamedTuple):
    """A directive: a mechanism, and what is the result where it matches."""

    text: bytes
    """Its first 255 bytes."""
    result: str
    name: bytes
    spec: _Spec = _Spec()
    network: int = 0
    """An address in that of ``ip4`` and ``ip6``."""
    bits: int = 0
    """Of such an address."""
    prefixes: tuple[int, int] = (32, 128)
    """Of IPv4 and IPv6."""


class _Record(NamedTuple):
    terms: tuple[_Term, ...]
    redirect: _Spec | None
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


class _Parser:
    """Parses one record."""

    def __init__(self) -> None:
        self._terms: list[_Term] = []
        self._modifiers: dict[bytes, _Spec] = {}
        self._macros_count = 0

    def parse(self, text: bytes) -> _Record:
        """Parse a record, which begins with its version.

        Raises:
            _PermanentError: it has an error, or exceeds a limit.
        """
        # A macro has one or two percent signs. What is too much is not even begun with.
        if not text.isascii() or len(text) > MAX_RECORD_BYTES or text.count(b"%") > 2 * MAX_MACROS:
            raise _PermanentError
        words = [word for word in text[6:].split(b" ") if word]
        if len(words) > MAX_TERMS:
            raise _PermanentError
        for word in words:
            self._read_word(word)
        if self._macros_count > MAX_MACROS:
            raise _PermanentError
        terms, redirect = tuple(self._terms), self._modifiers.get(b"redirect")
        named = {bits: _named(terms, bits) for bits in (32, 128)}
        return _Record(terms, redirect, len(text), len(words), self._macros_count, named)

    def _read_word(self, word: bytes) -> None:
        if ip4 := _IP4.fullmatch(word):
            # Most terms of most records; the general way takes three times as long.
            self._terms.append(_ip4_term(ip4))
        elif modifier := _MODIFIER.fullmatch(word):
            name, value = modifier[1].lower(), modifier[2]
            if name not in {b"redirect", b"exp"}:
                self._read_macros(value)
            elif name in self._modifiers:
                raise _PermanentError
            else:
                self._modifiers[name] = self._read_spec(value)
        else:
            self._terms.append(self._read_term(word))

    def _read_term(self, word: bytes) -> _Term:
        directive = _DIRECTIVE.fullmatch(word)
        if directive is None:
            raise _PermanentError
        qualifier, name, rest = directive.groups()
        text, name, result = word[:MAX_SHOWN_BYTES], name.lower(), RESULTS[qualifier or b"+"]
        if name == b"all" and not rest:
            return _Term(text, result, name)
        if name in {b"ip4", b"ip6"} and rest.startswith(b":"):
            bits = 32 if name == b"ip4" else 128
            network, prefix = _read_network(rest[1:], bits)
            return _Term(text, result, name, _Spec(), network, bits, (prefix, prefix))
        if name in {b"include", b"exists"} and rest.startswith(b":"):
            return _Term(text, result, name, self._read_spec(rest[1:]))
        if name == b"ptr" and rest[:1] in {b"", b":"}:
            return _Term(text, result, name, self._read_spec(rest[1:]) if rest else _Spec())
        if name in {b"a", b"mx"}:
            rest, prefixes = _read_prefixes(rest)
            if rest[:1] in {b"", b":"}:
                spec = self._read_spec(rest[1:]) if rest else _Spec()
                return _Term(text, result, name, spec, prefixes=prefixes)
        raise _PermanentError

    def _read_spec(self, text: bytes) -> _Spec:
        """Read a domain-spec: macros and letters, and at the end a macro or a top label."""
        parts = self._read_macros(text)
        if not parts or (isinstance(parts[-1], bytes) and not _ends_a_name(parts[-1])):
            raise _PermanentError
        macros = [part for part in parts if isinstance(part, _Macro)]
        return _Spec(tuple(parts), frozenset(each.letter for each in macros if each.letter))

    def _read_macros(self, text: bytes) -> list[bytes | _Macro]:
        """Read a macro-string: what stands between the macros, and the macros."""
        parts: list[bytes | _Macro] = []
        at = 0
        while at < len(text):
            if literals := _LITERALS.match(text, at):
                parts.append(literals[0])
                at = literals.end()
            elif macro := _MACRO.match(text, at):
                parts.append(_macro(macro))
                self._macros_count += 1
                at = macro.end()
            else:
                raise _PermanentError
        return parts


def _ip4_term(ip4: re.Match[bytes]) -> _Term:
    qualifier, host, length = ip4.groups()
    network, prefix = _read_network(host + b"/" + length if length else host, 32)
    return _Term(ip4[0], RESULTS[qualifier or b"+"], b"ip4", _Spec(), network, 32, (prefix, prefix))


def _read_network(text: bytes, bits: int) -> tuple[int, int]:
    host, slash, length = text.partition(b"/")
    try:
        packed = inet_pton(AF_INET if bits == 32 else AF_INET6, host.decode("ascii"))
    except (OSError, ValueError):
        raise _PermanentError from None
    if slash and not _LENGTH.fullmatch(length):
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


def _ends_a_name(text: bytes) -> bool:
    """Whether what follows the last macro ends with a top label: of host names, not all digits."""
    _, dot, label = text.removesuffix(b".").rpartition(b".")
    return bool(dot and _TOP_LABEL.fullmatch(label)) and not label.isdigit()


def _macro(macro: re.Match[bytes]) -> _Macro:
    letter, digits, reverse, delimiters, plain = macro.groups()
    if plain:
        return _Macro(text=_PLAIN[plain])
    lower = letter.lower()[0]
    count = digits.lstrip(b"0")
    if lower in _ONLY_EXPLAINING or (digits and not count):
        raise _PermanentError
    # Nothing has a thousand parts; a longer number means all of them.
    parts = int(count) if 0 < len(count) <= 3 else 0
    delimiters = bytes(sorted(set(delimiters))) or b"."
    return _Macro(lower, letter.isupper(), parts, bool(reverse), delimiters)


def _named(terms: Iterable[_Term], bits: int) -> int:
    """Return how many addresses the networks of one family let pass, all together."""
    return sum(
        1 << (bits - term.prefixes[0])
        for term in terms
        if term.bits == bits and term.result == "pass"
    )


class _ParsedRecords:
    """Records parsed lately, by their text; None for one with an error."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, _Record | None] = OrderedDict()
        self._memory_bytes = 0

    def parse(self, text: bytes) -> _Record:
        """Return a record, parsed now or before.

        Raises:
            _PermanentError: it has an error, or exceeds a limit.
        """
        if text in self._records:
            self._records.move_to_end(text)
            record = self._records[text]
        else:
            try:
                record = _Parser().parse(text)
            except _PermanentError:
                record = None
            self._put(text, record)
        if record is None:
            raise _PermanentError
        return record

    def _put(self, text: bytes, record: _Record | None) -> None:
        self._records[text] = record
        self._memory_bytes += _memory_bytes(text, record)
        while (
            len(self._records) > MAX_CACHED_RECORDS or self._memory_bytes > MAX_CACHED_BYTES
        ) and len(self._records) > 1:
            self._memory_bytes -= _memory_bytes(*self._records.popitem(last=False))


def _memory_bytes(text: bytes, record: _Record | None) -> int:
    return len(text) + (300 if record is None else record.memory_bytes)


_parsed_records = _ParsedRecords()


# The evaluation -----------------------------------------------------------------------------------


class _Check:
    """One evaluation, with what it has asked so far."""

    def __init__(
        self, lookup: Lookup, address: Address, local: bytes, domain: bytes, helo: bytes
    ) -> None:
        self._lookup = lookup
        self._address = address
        self._local = local[:MAX_BYTES_OF_REQUEST]
        self._sender_domain = domain
        self._helo = helo[:MAX_BYTES_OF_REQUEST]
        self._terms = 0
        self._bytes_count = self._terms_count = self._macros_count = self._addresses_count = 0
        self._void: set[int] = set()
        """The asking terms, by their numbers, that something was asked for in vain."""
        self._validated: list[bytes] | None = None
        self.named = {32: 0, 128: 0}
        """Addresses that the records seen so far name, by their bits."""

    async def evaluate(self, domain: bytes, *, fixed: bool) -> _Verdict:
        """Evaluate a domain's record; ``fixed`` says that its name is the same for all who ask."""
        record = await self._record_of(domain)
        if record is None:
            return _Verdict("none")
        for term in record.terms:
            # Networks are most of the terms of a long record.
            if term.name in _NETWORKS:
                verdict = self._match(term, fixed=fixed)
            else:
                verdict = await self._try(term, domain, fixed=fixed)
            if verdict:
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

    async def _record_of(self, domain: bytes) -> _Record | None:
        """Return a domain's record; what it holds counts.

        Others have their turn before each record, except the first.
        """
        if not _is_domain(domain):
            return None
        texts = (await self._lookup.query(domain, Kind.TXT)).values
        records = [text for text in texts if _VERSION.match(text)]
        if not records:
            return None
        if len(records) > 1:
            raise _PermanentError
        if self._bytes_count:
            await asyncio.sleep(0)
        record = _parsed_records.parse(records[0])
        self._bytes_count += record.bytes_count
        self._terms_count += record.terms_count
        self._macros_count += record.macros_count
        if (
            self._bytes_count > MAX_BYTES
            or self._terms_count > MAX_TERMS
            or self._macros_count > MAX_MACROS
        ):
            raise _PermanentError
        for bits, count in record.named.items():
            self.named[bits] += count
        return record

    def _match(self, term: _Term, *, fixed: bool) -> _Verdict | None:
        """Return the verdict where a network holds the address."""
        bits = self._address.bits
        if term.bits != bits or not self._is_near(term.network, term.prefixes[0]):
            return None
        return _Verdict(term.result, fixed and term.prefixes[0] >= WIDEST[bits], term.text)

    async def _try(self, term: _Term, domain: bytes, *, fixed: bool) -> _Verdict | None:
        """Return the verdict where a term matches that is no network."""
        if term.name == b"all":
            return _Verdict(term.result, narrow=False, term=term.text)
        self._count_term()
        fixed = fixed and not term.spec.letters & _OF_REQUEST
        target = await self._expand(term.spec, domain) if term.spec.parts else domain
        if term.name == b"include":
            return await self._include(term, target, fixed=fixed)
        prefix = term.prefixes[self._address.bits == 128]
        if not await self._asks(term.name, target, prefix):
            return None
        narrow = fixed and term.name in {b"a", b"mx"} and prefix >= WIDEST[self._address.bits]
        return _Verdict(term.result, narrow, term.text)

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
            return bool(await self._addresses_of(target, Kind.A))
        if name == b"a":
            return await self._has_near(target, prefix)
        if name == b"ptr":
            names = await self._validated_names()
            return any(is_or_is_below(each, target) for each in names)
        exchangers = (await self._query(target, Kind.MX)).values
        if len(exchangers) > MAX_NAMES:
            raise _PermanentError
        for exchanger in exchangers:
            if exchanger and await self._has_near(exchanger, prefix):
                return True
        return False

    async def _has_near(self, name: bytes, prefix: int) -> bool:
        values = await self._addresses_of(name, self._kind)
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

    async def _addresses_of(self, name: bytes, kind: Kind) -> tuple[bytes, ...]:
        values = (await self._query(name, kind)).values
        self._addresses_count += len(values)
        if self._addresses_count > MAX_ADDRESSES:
            raise _PermanentError
        return values

    async def _query(self, name: bytes, kind: Kind) -> Answer:
        answer = await self._lookup.query(name, kind)
        if not answer.values:
            self._void.add(self._terms)
            if len(self._void) > MAX_VOID:
                raise _PermanentError
        return answer

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_DNS_TERMS:
            raise _PermanentError

    async def _validated_names(self) -> list[bytes]:
        """Return the address's names that lead back to it (RFC 7208, 5.5); errors lead nowhere."""
        if self._validated is None:
            self._validated = []
            try:
                answer = await self._query(pointer_name(self._address), Kind.PTR)
            except DnsError:
                return []
            for name in answer.values[:MAX_NAMES]:
                if await self._leads_back(name):
                    self._validated.append(name)
        return self._validated

    async def _leads_back(self, name: bytes) -> bool:
        try:
            return self._address.packed in await self._addresses_of(name, self._kind)
        except DnsError:
            return False

    # Macros -------------------------------------------------------------------------------------

    async def _expand(self, spec: _Spec, domain: bytes) -> bytes:
        """Return a name with its macros replaced, without its first labels where it is too long.

        It is made from its end on, and only as much of it as can stay (RFC 7208, 7.3).
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
        name = b""
        for part in reversed(spec.parts):
            name = (_replace(part, values) if isinstance(part, _Macro) else part) + name
            if len(name) > _MAX_BYTES_OF_NAME + 1:
                break
        return _fitting(name.removesuffix(b".")).lower()

    async def _name_of_client(self, domain: bytes) -> bytes:
        if self._validated is None:
            # Its questions count as those of a term (RFC 7208, 4.6.4).
            self._count_term()
        names = await self._validated_names()
        below = [name for name in names if is_or_is_below(name, domain)]
        exact = [name for name in below if name == domain]
        return next(iter([*exact, *below, *names]), b"unknown")


def _replace(macro: _Macro, values: dict[int, bytes]) -> bytes:
    """Return a macro's value, of which the end can stay."""
    if not macro.letter:
        return macro.text
    value, delimiter = values[macro.letter], macro.delimiters[:1]
    if len(macro.delimiters) > 1:
        value = value.translate(
            bytes.maketrans(macro.delimiters, delimiter * len(macro.delimiters))
        )
    parts = value.split(delimiter)
    if macro.is_reversed:
        parts.reverse()
    text = b".".join(parts[-macro.kept :])[-_MAX_VALUE_BYTES:]
    return b"".join(map(_URL_ESCAPED.__getitem__, text)) if macro.is_escaped else text


def _fitting(name: bytes) -> bytes:
    if len(name) <= _MAX_BYTES_OF_NAME:
        return name
    return name[-_MAX_BYTES_OF_NAME - 1 :].partition(b".")[2]


def _is_domain(name: bytes) -> bool:
    """Whether a name has several labels of a possible length (RFC 7208, 4.3)."""
    if len(name) > _MAX_BYTES_OF_NAME:
        return False
    labels = name.split(b".")
    return len(labels) > 1 and all(1 <= len(each) <= 63 for each in labels)
