"""Collects evidence about a client from DNS and from the names in the request.

It sends only queries whose answers can change the decision (``greyd.dns.needed_questions``). Nearly
all queries of a request are concurrent, and all share one deadline. If a query has failed or has no
answer at the deadline, the evidence is ``unsure``. A DNS list that is out of order is not queried,
and does not make the evidence unsure. While the resolver is out of order, no query is sent.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from greyd.config.vocabulary import TRUST
from greyd.dns.helo_resolution import resolve_helo
from greyd.dns.identity import identity_from_name, identity_from_spf
from greyd.dns.lists.listings import (
    fetch_address_listing,
    fetch_domain_listing,
    is_listed,
    queryable_names,
    trust_level,
)
from greyd.dns.lists.zones import list_names
from greyd.dns.lookup import DnsError
from greyd.dns.needed_questions import NeededQuestions, needs_voucher
from greyd.dns.own_domain_claims import OWN_DOMAIN_SIGNALS, own_domain_signals
from greyd.dns.sources.valid_listings import AssumedUp, valid_listing
from greyd.dns.spam_signals import HELO_SIGNALS, helo_signal, sender_no_mx, signals_without_dns
from greyd.dns.spf.check_host import check_host
from greyd.rules.evidence import Evidence
from greyd.rules.hostnames import domain_of, is_literal, normal_name
from greyd.rules.own_domains import OwnDomains
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence

    from greyd.config.settings import Settings
    from greyd.config.vocabulary import Zone
    from greyd.dns.helo_resolution import HeloResolution
    from greyd.dns.lists.listings import DnsListing
    from greyd.dns.lookup import Lookup
    from greyd.dns.sources.valid_listings import SourceStates
    from greyd.dns.spf.check_host import SpfResult
    from greyd.rules.address import Address
    from greyd.rules.evidence import ProvenIdentity
    from greyd.rules.request import Request
    from greyd.whitelist.matcher import ClientWhitelist

    Query = Coroutine[Any, Any, None]
    ZoneQuery = tuple[str, Query]
    """The zone of a DNS list and a query to it; the zone is empty for any other query."""

_SPF_SIGNALS = frozenset({"spf_fail", "spf_softfail", "sender_own_domain"})


@dataclass(slots=True)
class _DnsFindings:
    """The results of one request's queries, filled in as the answers arrive."""

    spf: SpfResult | None = None
    dnsbl: list[DnsListing] = field(default_factory=list)
    rhsbl: list[DnsListing] = field(default_factory=list)
    dnswl: list[DnsListing] = field(default_factory=list)
    helo: HeloResolution | None = None
    sender_accepts_no_mail: bool = False
    signals_without_dns: tuple[str, ...] | None = None
    """The signals of the names in the request; None before they are known."""
    known_signals: Sequence[str] = ()
    """Further signals, of names that the request does not have any more."""
    is_complete: bool = True
    """False if a query failed, was not answered by the deadline, or was impossible."""
    is_resolver_off: bool = False


class DnsEvidenceCollector:
    """Collects the evidence that the settings require."""

    def __init__(
        self,
        settings: Settings,
        lookup: Lookup,
        override: Callable[[], ClientWhitelist],
        on_error: Callable[[BaseException], None],
        states: SourceStates | None = None,
    ) -> None:
        """Create a collector.

        Args:
            settings: define the required evidence and the deadline.
            lookup: queries the DNS.
            override: returns the clients that are not looked up on blocklists
                (``--list-override``).
            on_error: called with each exception that only a fault in greyd explains.
            states: the states of the lists and the resolver; by default they are always up.
        """
        self._settings = settings
        self._states = states or AssumedUp()
        self._zones = list_names(settings)
        self._lookup = lookup
        self._override = override
        self._on_error = on_error
        self._signals = frozenset(settings.signals if settings.needs_signals else ())
        self._needs_spf = "spf" in settings.identity or bool(self._signals & _SPF_SIGNALS)
        self._own_domains = OwnDomains(settings.own_domains, settings.hostname or "")
        self._tasks: set[asyncio.Task[Evidence]] = set()
        self._closed = False

    def collect(
        self,
        request: Request,
        address: Address,
        found: Callable[[Evidence], None],
        known_signals: Sequence[str] = (),
    ) -> None:
        """Call ``found`` exactly once, with the evidence, no later than the deadline.

        If collecting fails, the evidence is ``unsure``; no error reaches ``found``.

        Args:
            request: the request.
            address: the client's address.
            found: called with the evidence.
            known_signals: signals that the client has shown by names that ``request`` lacks.
        """
        if self._closed:
            found(Evidence(unsure=True))
            return
        task = asyncio.ensure_future(self._collect(request, address, known_signals))
        self._tasks.add(task)
        task.add_done_callback(partial(self._deliver, found))

    def _deliver(self, found: Callable[[Evidence], None], task: asyncio.Task[Evidence]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            found(Evidence(unsure=True))
        elif (error := task.exception()) is not None:
            self._on_error(error)
            found(Evidence(unsure=True))
        else:
            found(task.result())

    def evidence_without_dns(self, request: Request, address: Address) -> Evidence:
        """Return the evidence in the request itself, without any query."""
        return self._combine(request, address, _DnsFindings())

    def close(self) -> None:
        """Stop querying; pending and later requests get ``Evidence(unsure=True)``."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()

    # Queries ------------------------------------------------------------------------------------

    async def _collect(
        self, request: Request, address: Address, known_signals: Sequence[str]
    ) -> Evidence:
        findings = _DnsFindings(known_signals=known_signals)
        loop = asyncio.get_running_loop()
        if not self._states.is_resolver_up:
            findings.is_resolver_off = True
            return self._combine(request, address, findings)
        lookup = self._lookup.for_client(address)
        deadline = loop.time() + self._settings.dns_timeout_seconds
        await self._run(self._queries(lookup, request, address, findings), findings, deadline)
        evidence = self._combine(request, address, findings)
        if not needs_voucher(evidence):
            return evidence
        vouchers = [zone for zone in self._settings.dnswl if zone.supports]
        queries = self._address_queries(findings.dnswl, lookup, vouchers, address)
        await self._run(queries, findings, deadline)
        return self._combine(request, address, findings)

    async def _run(
        self, queries: Iterable[ZoneQuery], findings: _DnsFindings, deadline: float
    ) -> None:
        """Run queries at the same time, until all have ended or the deadline is over."""
        states = self._states
        tasks = {asyncio.ensure_future(query): zone for zone, query in queries}
        if tasks:
            timeout = max(deadline - asyncio.get_running_loop().time(), 0)
            await asyncio.wait(tasks, timeout=timeout)
        for task, zone in tasks.items():
            if not task.done():
                task.cancel()
                findings.is_complete &= bool(zone) and not states.is_up(zone)
            elif (error := task.exception()) is not None:
                # A fault in one query must not hide the results of the others, e.g. a listing.
                findings.is_complete = False
                if not isinstance(error, DnsError):
                    self._on_error(error)
        # If it went off meanwhile, the missing answers are no fault of the client.
        findings.is_resolver_off = not findings.is_complete and not states.is_resolver_up

    def _queries(
        self, lookup: Lookup, request: Request, address: Address, findings: _DnsFindings
    ) -> Iterator[ZoneQuery]:
        settings, needed = self._settings, self._needed_questions(request, address, findings)
        if self._needs_spf:
            yield "", _check_spf(findings, lookup, request, address)
        if needed.helo:
            yield "", _check_helo(findings, lookup, request, address)
        if needed.sender:
            yield "", _check_sender(findings, lookup, request)
        passes = [zone for zone in settings.dnswl if not zone.supports]
        yield from self._address_queries(findings.dnswl, lookup, passes, address)
        if self._override().match(request.client_name or b"", address) is not None:
            return
        yield from self._address_queries(findings.dnsbl, lookup, settings.dnsbl, address)
        domains = _domains_of(request) if settings.rhsbl else ()
        sender = request.sender or b""
        for zone in self._zones_up(settings.rhsbl):
            names = {name for domain in domains for name in queryable_names(zone, domain)}
            # A list may contain a domain that is invalid in a query: the client is not clean. An
            # invalid HELO name is a weak signal already.
            if b"@" in sender and not queryable_names(zone, domain_of(sender)):
                findings.is_complete = False
            for each in names:
                query = fetch_domain_listing(lookup, zone, each)
                valid = valid_listing(self._states, zone.name, query)
                yield zone.name, _check_list(findings.rhsbl, valid)

    def _zones_up(self, zones: Iterable[Zone]) -> Iterator[Zone]:
        return (zone for zone in zones if self._states.is_up(zone.name))

    def _address_queries(
        self,
        listings: list[DnsListing],
        lookup: Lookup,
        zones: Iterable[Zone],
        address: Address,
    ) -> Iterator[ZoneQuery]:
        for zone in self._zones_up(zones):
            query = fetch_address_listing(lookup, zone, address)
            valid = valid_listing(self._states, zone.name, query, ipv6=address.bits == 128)
            yield zone.name, _check_list(listings, valid)

    def _needed_questions(
        self, request: Request, address: Address, findings: _DnsFindings
    ) -> NeededQuestions:
        """Return the queries that can still change the decision after the signals without DNS."""
        wanted = self._signals
        findings.signals_without_dns = tuple(signals_without_dns(request, address))
        shown = [name for name in findings.signals_without_dns if name in wanted]
        helo, recipient = request.helo_name or b"", request.recipient or b""
        claims_own_domain = "helo_own_domain" in wanted and bool(
            self._own_domains.claimed_by_helo(helo, recipient)
        )
        open_ = NeededQuestions.after(shown, claims_own_domain=claims_own_domain)
        needs_helo = claims_own_domain or not HELO_SIGNALS.isdisjoint(wanted)
        return NeededQuestions(
            helo=open_.helo and needs_helo, sender=open_.sender and "sender_no_mx" in wanted
        )

    # Conclusions --------------------------------------------------------------------------------

    def _combine(self, request: Request, address: Address, findings: _DnsFindings) -> Evidence:
        blocklistings = findings.dnsbl + findings.rhsbl
        listed = is_listed(blocklistings)
        spf = findings.spf
        trusted = [each for each in findings.dnswl if _is_trusted(each)]
        passes = any(not each.zone.supports for each in trusted) and not listed
        is_incomplete = not findings.is_complete or (spf is not None and spf.result == "temperror")
        identities = tuple(self._identities(request, address, spf, findings.rhsbl))
        return Evidence(
            identities=identities,
            signals=tuple(self._shown_signals(request, address, findings, listed=listed)),
            is_vouched=bool(trusted) or identity_from_spf(request, spf) is not None,
            listed=listed,
            unsure=is_incomplete and not findings.is_resolver_off,
            resolver_off=findings.is_resolver_off,
            sources_off=tuple(zone for zone in self._zones if not self._states.is_up(zone)),
            delay_seconds=_longest_delay(blocklistings) if listed else None,
            exemption=Reason.DNS_WHITELIST if passes else None,
        )

    def _shown_signals(
        self, request: Request, address: Address, findings: _DnsFindings, *, listed: bool
    ) -> Iterator[str]:
        if self._signals:
            found: Iterable[str] = self._found_signals(request, address, findings)
            if findings.known_signals:
                found = dict.fromkeys((*found, *findings.known_signals))
            yield from (name for name in found if name in self._signals)
        if listed and findings.dnsbl:
            yield "dnsbl"
        if listed and findings.rhsbl:
            yield "rhsbl"

    def _found_signals(
        self, request: Request, address: Address, findings: _DnsFindings
    ) -> Iterator[str]:
        known = findings.signals_without_dns
        yield from signals_without_dns(request, address) if known is None else known
        spf = findings.spf
        if not OWN_DOMAIN_SIGNALS.isdisjoint(self._signals):
            yield from own_domain_signals(request, address, self._own_domains, findings.helo, spf)
        if signal := helo_signal(findings.helo, request, address):
            yield signal
        if findings.sender_accepts_no_mail:
            yield "sender_no_mx"
        if spf is not None and spf.result == "fail":
            yield "spf_fail"
        if spf is not None and spf.result == "softfail":
            # A name proves nothing about a stranger's domain: a hacked web server has a good one.
            by_name = identity_from_name(request, address)
            if by_name is None or not by_name.speaks_for_sender:
                yield "spf_softfail"

    def _identities(
        self,
        request: Request,
        address: Address,
        spf: SpfResult | None,
        rhsbl: Sequence[DnsListing],
    ) -> Iterator[ProvenIdentity]:
        """Yield the different organisations that the ways of ``--identity`` prove."""
        found: set[bytes] = set()
        for way in self._settings.identity:
            identity = (
                identity_from_spf(request, spf)
                if way == "spf"
                else identity_from_name(request, address, spf)
            )
            if identity is not None and identity.organisation not in found:
                found.add(identity.organisation)
                # A listed name below its domain may be that of a customer.
                own = [each for each in rhsbl if each.domain == identity.organisation]
                yield replace(identity, is_listed=is_listed(own))


async def _check_spf(
    findings: _DnsFindings, lookup: Lookup, request: Request, address: Address
) -> None:
    helo = (request.helo_name or b"").lower()
    findings.spf = await check_host(lookup, address, request.sender or b"", helo)


async def _check_helo(
    findings: _DnsFindings, lookup: Lookup, request: Request, address: Address
) -> None:
    findings.helo = await resolve_helo(lookup, request, address)


async def _check_sender(findings: _DnsFindings, lookup: Lookup, request: Request) -> None:
    findings.sender_accepts_no_mail = await sender_no_mx(lookup, request)


async def _check_list(listings: list[DnsListing], query: Awaitable[DnsListing | None]) -> None:
    if (listing := await query) is not None:
        listings.append(listing)


def _domains_of(request: Request) -> set[bytes]:
    """Return the domains of the client name, the HELO name and the sender.

    A host name without a dot, an address literal, and a sender without ``@`` have no domain.
    """
    name = normal_name(request.client_name)
    if name in {b"", b"unknown"}:
        name = normal_name(request.reverse_client_name)
    hosts = (name, normal_name(request.helo_name))
    domains = {each for each in hosts if b"." in each and not is_literal(each)}
    if b"@" in (request.sender or b""):
        domains.add(domain_of(request.sender or b""))
    return domains


def _is_trusted(listing: DnsListing) -> bool:
    return listing.zone.trust <= trust_level(listing) < len(TRUST)


def _longest_delay(listings: Iterable[DnsListing]) -> int | None:
    delays = [each.zone.delay_seconds for each in listings if each.zone.delay_seconds is not None]
    return max(delays, default=None)
