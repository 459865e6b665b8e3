"""The evaluation of SPF records for one client (RFC 7208, 4.6 to 5)."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsAnswer, DnsError, RecordType, UnqueryableNameError
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
from greyd.dns.spf.macros import expand
from greyd.dns.spf.record import NetworkTerm
from greyd.dns.spf.record_cache import RecordCache
from greyd.dns.spf.width import MIN_PREFIX, PassedAddresses
from greyd.rules.hostnames import MAX_NAME_BYTES, is_or_is_below

if TYPE_CHECKING:
    from greyd.dns.lookup import Lookup
    from greyd.dns.spf.record import DomainSpec, SpfRecord, Term
    from greyd.rules.address import Address

_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
_REQUEST_LETTERS = frozenset(b"sliph")
"""Macros whose values differ from request to request."""

_record_cache = RecordCache()


@dataclass(frozen=True, slots=True)
class SpfVerdict:
    """The result of a record, and the term that matched."""

    result: str
    is_specific: bool = False
    """Whether the term identifies the client: its network has at least ``MIN_PREFIX``, and the
    domain names that led to it do not depend on the request.
    """
    term: bytes = b""


class Evaluator:
    """One evaluation: the client's attributes, and the counts that its limits apply to."""

    def __init__(
        self, lookup: Lookup, address: Address, local: bytes, domain: bytes, helo: bytes
    ) -> None:
        self._lookup = lookup
        self._address = address
        self._address_type = RecordType.A if address.bits == 32 else RecordType.AAAA
        self._local = local[:MAX_REQUEST_BYTES]
        self._sender_domain = domain
        self._helo = helo[:MAX_REQUEST_BYTES]
        self._dns_term_count = 0
        self._byte_count = self._term_count = self._macro_count = self._address_count = 0
        self._void_terms: set[int] = set()
        """The numbers of the terms with a query without records (RFC 7208, 4.6.4: void lookup)."""
        self._validated_names: list[bytes] | None = None
        self.passed = PassedAddresses(address.bits)

    async def evaluate(
        self, domain: bytes, *, is_fixed: bool, is_counted: bool = True
    ) -> SpfVerdict:
        """Evaluate a domain's record.

        Args:
            domain: the name of the record.
            is_fixed: whether the name does not depend on the request.
            is_counted: whether the addresses that the record lets pass get the result ``pass``;
                false below an ``include`` with another qualifier.

        Raises:
            SpfPermanentError: a record is invalid, or a limit is exceeded.
            DnsError: a query failed.
        """
        record = await self._record_of(domain, is_counted=is_counted)
        if record is None:
            return SpfVerdict("none")
        for term in record.terms:
            # Most terms of a long record are networks; matching one needs no coroutine.
            if isinstance(term, NetworkTerm):
                verdict = self._match_network(term, is_fixed=is_fixed)
            else:
                verdict = await self._match(term, domain, is_fixed=is_fixed, is_counted=is_counted)
            if verdict:
                if verdict.is_specific and is_counted and self.passed.are_many:
                    await self._count_rest(record, term, domain)
                return verdict
        if record.redirect is None:
            return SpfVerdict("neutral")
        self._count_dns_term()
        target = await self._expand(record.redirect, domain)
        is_fixed = is_fixed and not record.redirect.letters & _REQUEST_LETTERS
        verdict = await self.evaluate(target, is_fixed=is_fixed, is_counted=is_counted)
        if verdict.result == "none":
            raise SpfPermanentError
        return verdict

    # Records ------------------------------------------------------------------------------------

    async def _record_of(self, domain: bytes, *, is_counted: bool) -> SpfRecord | None:
        """Return the SPF record of a domain, counted towards the limits; None without a record.

        With ``is_counted`` its networks count towards ``passed``.
        """
        if not _is_domain(domain):
            return None
        texts = (await self._answer(domain, RecordType.TXT)).values
        records = [text for text in texts if _VERSION.match(text)]
        if not records:
            return None
        if len(records) > 1:
            raise SpfPermanentError
        if self._byte_count:
            # Let other requests run before each further record.
            await asyncio.sleep(0)
        record = _record_cache.parse(records[0])
        self._byte_count += record.byte_count
        self._term_count += record.term_count
        self._macro_count += record.macro_count
        if (
            self._byte_count > MAX_TOTAL_BYTES
            or self._term_count > MAX_TERMS
            or self._macro_count > MAX_MACROS
        ):
            raise SpfPermanentError
        if is_counted:
            self.passed.add(record.passed_counts[self._address.bits])
        return record

    # Width --------------------------------------------------------------------------------------

    async def _count_rest(
        self, record: SpfRecord, matched: NetworkTerm | Term, domain: bytes
    ) -> None:
        """Count the addresses that the terms after a match let pass, with their includes.

        The networks of ``record`` itself have been counted. If a query fails, only what has been
        read counts. Records that exceed a limit count as all addresses.
        """
        start = record.terms.index(matched) + 1
        try:
            await self._count_terms(record, start, domain)
        except SpfPermanentError:
            self.passed.add_networks(0)
        except DnsError:
            return

    async def _count_terms(self, record: SpfRecord, start: int, domain: bytes) -> None:
        specs: list[DomainSpec] = []
        for term in record.terms[start:]:
            if isinstance(term, NetworkTerm):
                continue
            if term.mechanism == b"all":
                if term.result == "pass":
                    self.passed.add_networks(0)
                # The terms and the redirect after it have no effect (RFC 7208, 5.1).
                break
            if term.result == "pass" and term.mechanism == b"include":
                specs.append(term.spec)
            elif term.result == "pass" and term.mechanism in {b"a", b"mx"}:
                # Without a query for the hosts, this counts as one host.
                self.passed.add_networks(term.prefixes.of(self.passed.bits))
        else:
            if record.redirect is not None:
                specs.append(record.redirect)
        for spec in specs:
            self._count_dns_term()
            target = await self._expand(spec, domain)
            other = await self._record_of(target, is_counted=True)
            if other is not None:
                await self._count_terms(other, 0, target)

    # Mechanisms ---------------------------------------------------------------------------------

    def _match_network(self, term: NetworkTerm, *, is_fixed: bool) -> SpfVerdict | None:
        bits = self._address.bits
        free = bits - term.prefix
        if term.bits != bits or term.number >> free != self._address.number >> free:
            return None
        return SpfVerdict(term.result, is_fixed and term.prefix >= MIN_PREFIX[bits], term.text)

    async def _match(
        self, term: Term, domain: bytes, *, is_fixed: bool, is_counted: bool
    ) -> SpfVerdict | None:
        """Return the verdict of a term; None if the term does not match."""
        if term.mechanism == b"all":
            return SpfVerdict(term.result, term=term.text)
        self._count_dns_term()
        is_fixed = is_fixed and not term.spec.letters & _REQUEST_LETTERS
        target = await self._expand(term.spec, domain) if term.spec.parts else domain
        if term.mechanism == b"include":
            return await self._include(term, target, is_fixed=is_fixed, is_counted=is_counted)
        bits = self._address.bits
        prefix = term.prefixes.of(bits)
        is_counted = is_counted and term.result == "pass"
        if not await self._matches_by_query(term.mechanism, target, prefix, is_counted=is_counted):
            return None
        has_network = term.mechanism in {b"a", b"mx"} and prefix >= MIN_PREFIX[bits]
        return SpfVerdict(term.result, is_fixed and has_network, term.text)

    async def _include(
        self, term: Term, target: bytes, *, is_fixed: bool, is_counted: bool
    ) -> SpfVerdict | None:
        is_counted = is_counted and term.result == "pass"
        verdict = await self.evaluate(target, is_fixed=is_fixed, is_counted=is_counted)
        if verdict.result == "none":
            raise SpfPermanentError
        if verdict.result != "pass":
            return None
        return SpfVerdict(term.result, verdict.is_specific, verdict.term)

    async def _matches_by_query(
        self, mechanism: bytes, target: bytes, prefix: int, *, is_counted: bool
    ) -> bool:
        if mechanism == b"exists":
            return bool(await self._addresses_of(target, RecordType.A))
        if mechanism == b"a":
            return await self._has_neighbour(target, prefix, is_counted=is_counted)
        if mechanism == b"ptr":
            names = await self._validate_names()
            return any(is_or_is_below(each, target) for each in names)
        exchangers = (await self._query(target, RecordType.MX)).values
        if len(exchangers) > MAX_HOSTS_PER_TERM:
            raise SpfPermanentError
        for number, exchanger in enumerate(exchangers, 1):
            if exchanger and await self._has_neighbour(exchanger, prefix, is_counted=is_counted):
                if is_counted:
                    # Those not looked up count as one address each.
                    self.passed.add_networks(prefix, len(exchangers) - number)
                return True
        return False

    async def _has_neighbour(self, name: bytes, prefix: int, *, is_counted: bool) -> bool:
        """Whether a host has an address in the client's network, which has this prefix length."""
        bits = self._address.bits
        values = await self._addresses_of(name, self._address_type)
        if is_counted:
            self.passed.add_networks(prefix, len(values))
        if prefix == bits:
            return self._address.packed in values
        free = bits - prefix
        network = self._address.number >> free
        return any(int.from_bytes(each, "big") >> free == network for each in values)

    # Queries ------------------------------------------------------------------------------------

    def _count_dns_term(self) -> None:
        self._dns_term_count += 1
        if self._dns_term_count > MAX_DNS_TERMS:
            raise SpfPermanentError

    async def _answer(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name; a name that cannot be queried does not exist.

        Macros yield such names, e.g. ``%{l}`` for the sender ``bounce+bob=example.org``. No query
        failed, so the result is no ``temperror``: it would be the same at each further attempt.
        """
        try:
            return await self._lookup.query(name, record_type)
        except UnqueryableNameError:
            return DnsAnswer(exists=False)

    async def _query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        answer = await self._answer(name, record_type)
        if not answer.values:
            self._void_terms.add(self._dns_term_count)
            if len(self._void_terms) > MAX_VOID_TERMS:
                raise SpfPermanentError
        return answer

    async def _addresses_of(self, name: bytes, record_type: RecordType) -> tuple[bytes, ...]:
        values = (await self._query(name, record_type)).values
        self._address_count += len(values)
        if self._address_count > MAX_ADDRESSES:
            raise SpfPermanentError
        return values

    async def _validate_names(self) -> list[bytes]:
        """Return the names of the client's address that resolve back to it (RFC 7208, 5.5).

        If the query for a name fails, the name does not count.
        """
        if self._validated_names is None:
            self._validated_names = []
            try:
                answer = await self._query(pointer_name(self._address), RecordType.PTR)
            except DnsError:
                return []
            for name in answer.values[:MAX_HOSTS_PER_TERM]:
                if await self._resolves_to_client(name):
                    self._validated_names.append(name)
        return self._validated_names

    async def _resolves_to_client(self, name: bytes) -> bool:
        try:
            return self._address.packed in await self._addresses_of(name, self._address_type)
        except DnsError:
            return False

    # Macros -------------------------------------------------------------------------------------

    async def _expand(self, spec: DomainSpec, domain: bytes) -> bytes:
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
            values[ord("p")] = await self._validated_name(domain)
        return expand(spec, values)

    async def _validated_name(self, domain: bytes) -> bytes:
        """Return the value of the macro ``p``: the client's validated name (RFC 7208, 7.3)."""
        if self._validated_names is None:
            # The macro counts as a term that causes queries (RFC 7208, 4.6.4).
            self._count_dns_term()
        names = await self._validate_names()
        below = [name for name in names if is_or_is_below(name, domain)]
        exact = [name for name in below if name == domain]
        return next(iter([*exact, *below, *names]), b"unknown")


def _is_domain(name: bytes) -> bool:
    """Whether a name has at least two labels, all of a valid length (RFC 7208, 4.3).

    An address literal of RFC 5321 is not a domain.
    """
    if len(name) > MAX_NAME_BYTES or name.startswith(b"["):
        return False
    labels = name.split(b".")
    return len(labels) > 1 and all(1 <= len(each) <= 63 for each in labels)
