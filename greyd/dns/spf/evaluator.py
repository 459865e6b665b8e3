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
from typing import TYPE_CHECKING, NamedTuple

from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.reverse_names import dotted, pointer_name
from greyd.dns.spf.errors import SpfPermanentError
from greyd.dns.spf.limits import (
    MAX_ADDRESSES,
    MAX_DNS_TERMS,
    MAX_HOSTS_PER_TERM,
    MAX_MACROS,
    MAX_REQUEST_BYTES,
    MAX_TERMS,
    MAX_TOTAL_BYTES,
    MAX_VOID_TERMS,
)
from greyd.dns.spf.macros import MAX_NAME_BYTES, macro_value, shorten_to_name
from greyd.dns.spf.record import DomainSpec, Macro, SpfRecord, Term
from greyd.dns.spf.record_cache import RecordCache
from greyd.rules.hostnames import is_or_is_below

if TYPE_CHECKING:
    from greyd.dns.lookup import DnsAnswer, Lookup
    from greyd.rules.address import Address


MIN_PREFIX = {32: 8, 128: 16}
"""The shortest prefix of a network, by an address's bits, that says something of an address."""
MAX_PROVEN_ADDRESSES = {32: 1 << 25, 128: 1 << 112}
"""Addresses that all records of a domain may name: two /8, one /16 of IPv6."""


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
    check = Evaluator(lookup, address, local or b"postmaster", domain, helo)
    try:
        verdict = await check.evaluate(domain, fixed=True)
    except SpfPermanentError:
        verdict = TermMatch("permerror")
    except DnsError:
        verdict = TermMatch("temperror")
    wide = check.named[address.bits] > MAX_PROVEN_ADDRESSES[address.bits]
    proves = verdict.result == "pass" and verdict.narrow and not wide
    return SpfResult(verdict.result, domain, proves, verdict.term)


class TermMatch(NamedTuple):
    """The term that decided, and its result."""

    result: str
    narrow: bool = False
    """The term that matched says something of just this address."""
    term: bytes = b""


_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
_REQUEST_LETTERS = frozenset(b"sliph")
_NETWORK_TERMS = frozenset([b"ip4", b"ip6"])


_parsed_records = RecordCache()


# The evaluation -----------------------------------------------------------------------------------


class Evaluator:
    """One evaluation, with what it has asked so far."""

    def __init__(
        self, lookup: Lookup, address: Address, local: bytes, domain: bytes, helo: bytes
    ) -> None:
        self._lookup = lookup
        self._address = address
        self._local = local[:MAX_REQUEST_BYTES]
        self._sender_domain = domain
        self._helo = helo[:MAX_REQUEST_BYTES]
        self._terms = 0
        self._bytes_count = self._terms_count = self._macros_count = self._addresses_count = 0
        self._void: set[int] = set()
        """The asking terms, by their numbers, that something was asked for in vain."""
        self._validated: list[bytes] | None = None
        self.named = {32: 0, 128: 0}
        """Addresses that the records seen so far name, by their bits."""

    async def evaluate(self, domain: bytes, *, fixed: bool) -> TermMatch:
        """Evaluate a domain's record; ``fixed`` says that its name is the same for all who ask."""
        record = await self._record_of(domain)
        if record is None:
            return TermMatch("none")
        for term in record.terms:
            # Networks are most of the terms of a long record.
            if term.name in _NETWORK_TERMS:
                verdict = self._match(term, fixed=fixed)
            else:
                verdict = await self._try(term, domain, fixed=fixed)
            if verdict:
                return verdict
        if record.redirect is None:
            return TermMatch("neutral")
        self._count_term()
        target = await self._expand(record.redirect, domain)
        fixed = fixed and not record.redirect.letters & _REQUEST_LETTERS
        verdict = await self.evaluate(target, fixed=fixed)
        if verdict.result == "none":
            raise SpfPermanentError
        return verdict

    async def _record_of(self, domain: bytes) -> SpfRecord | None:
        """Return a domain's record; what it holds counts.

        Others have their turn before each record, except the first.
        """
        if not _is_domain(domain):
            return None
        texts = (await self._lookup.query(domain, RecordType.TXT)).values
        records = [text for text in texts if _VERSION.match(text)]
        if not records:
            return None
        if len(records) > 1:
            raise SpfPermanentError
        if self._bytes_count:
            await asyncio.sleep(0)
        record = _parsed_records.parse(records[0])
        self._bytes_count += record.bytes_count
        self._terms_count += record.terms_count
        self._macros_count += record.macros_count
        if (
            self._bytes_count > MAX_TOTAL_BYTES
            or self._terms_count > MAX_TERMS
            or self._macros_count > MAX_MACROS
        ):
            raise SpfPermanentError
        for bits, count in record.named.items():
            self.named[bits] += count
        return record

    def _match(self, term: Term, *, fixed: bool) -> TermMatch | None:
        """Return the verdict where a network holds the address."""
        bits = self._address.bits
        if term.bits != bits or not self._is_near(term.network, term.prefixes[0]):
            return None
        return TermMatch(term.result, fixed and term.prefixes[0] >= MIN_PREFIX[bits], term.text)

    async def _try(self, term: Term, domain: bytes, *, fixed: bool) -> TermMatch | None:
        """Return the verdict where a term matches that is no network."""
        if term.name == b"all":
            return TermMatch(term.result, narrow=False, term=term.text)
        self._count_term()
        fixed = fixed and not term.spec.letters & _REQUEST_LETTERS
        target = await self._expand(term.spec, domain) if term.spec.parts else domain
        if term.name == b"include":
            return await self._include(term, target, fixed=fixed)
        prefix = term.prefixes[self._address.bits == 128]
        if not await self._asks(term.name, target, prefix):
            return None
        narrow = fixed and term.name in {b"a", b"mx"} and prefix >= MIN_PREFIX[self._address.bits]
        return TermMatch(term.result, narrow, term.text)

    async def _include(self, term: Term, target: bytes, *, fixed: bool) -> TermMatch | None:
        verdict = await self.evaluate(target, fixed=fixed)
        if verdict.result == "none":
            raise SpfPermanentError
        if verdict.result != "pass":
            return None
        return TermMatch(term.result, verdict.narrow, verdict.term)

    async def _asks(self, name: bytes, target: bytes, prefix: int) -> bool:
        """Whether a mechanism that asks for addresses matches."""
        if name == b"exists":
            return bool(await self._addresses_of(target, RecordType.A))
        if name == b"a":
            return await self._has_near(target, prefix)
        if name == b"ptr":
            names = await self._validated_names()
            return any(is_or_is_below(each, target) for each in names)
        exchangers = (await self._query(target, RecordType.MX)).values
        if len(exchangers) > MAX_HOSTS_PER_TERM:
            raise SpfPermanentError
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
    def _kind(self) -> RecordType:
        return RecordType.A if self._address.bits == 32 else RecordType.AAAA

    def _is_near(self, number: int, prefix: int) -> bool:
        free = self._address.bits - prefix
        return number >> free == self._address.number >> free

    async def _addresses_of(self, name: bytes, kind: RecordType) -> tuple[bytes, ...]:
        values = (await self._query(name, kind)).values
        self._addresses_count += len(values)
        if self._addresses_count > MAX_ADDRESSES:
            raise SpfPermanentError
        return values

    async def _query(self, name: bytes, kind: RecordType) -> DnsAnswer:
        answer = await self._lookup.query(name, kind)
        if not answer.values:
            self._void.add(self._terms)
            if len(self._void) > MAX_VOID_TERMS:
                raise SpfPermanentError
        return answer

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_DNS_TERMS:
            raise SpfPermanentError

    async def _validated_names(self) -> list[bytes]:
        """Return the address's names that lead back to it (RFC 7208, 5.5); errors lead nowhere."""
        if self._validated is None:
            self._validated = []
            try:
                answer = await self._query(pointer_name(self._address), RecordType.PTR)
            except DnsError:
                return []
            for name in answer.values[:MAX_HOSTS_PER_TERM]:
                if await self._leads_back(name):
                    self._validated.append(name)
        return self._validated

    async def _leads_back(self, name: bytes) -> bool:
        try:
            return self._address.packed in await self._addresses_of(name, self._kind)
        except DnsError:
            return False

    # Macros -------------------------------------------------------------------------------------

    async def _expand(self, spec: DomainSpec, domain: bytes) -> bytes:
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
            name = (macro_value(part, values) if isinstance(part, Macro) else part) + name
            if len(name) > MAX_NAME_BYTES + 1:
                break
        return shorten_to_name(name.removesuffix(b".")).lower()

    async def _name_of_client(self, domain: bytes) -> bytes:
        if self._validated is None:
            # Its questions count as those of a term (RFC 7208, 4.6.4).
            self._count_term()
        names = await self._validated_names()
        below = [name for name in names if is_or_is_below(name, domain)]
        exact = [name for name in below if name == domain]
        return next(iter([*exact, *below, *names]), b"unknown")


def _is_domain(name: bytes) -> bool:
    """Whether a name has several labels of a possible length (RFC 7208, 4.3)."""
    if len(name) > MAX_NAME_BYTES:
        return False
    labels = name.split(b".")
    return len(labels) > 1 and all(1 <= len(each) <= 63 for each in labels)
