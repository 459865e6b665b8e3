"""What DNS and Postfix's own attributes tell of a client, within one deadline for all of it.

All questions of a request are asked at the same time. What is not known when the deadline comes is
left out: the client is then one that greyd is unsure of, and is treated as it would be without DNS.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from greyd.config.vocabulary import TRUST
from greyd.dns.blocklists import (
    LISTED_WEIGHT,
    fail_unqueryable,
    fetch_address_listing,
    fetch_domain_listing,
    queryable_names,
    trust_level,
)
from greyd.dns.identity import ProvenIdentity, identity_from_name, identity_from_spf
from greyd.dns.lookup import DnsError
from greyd.dns.spam_signals import helo_no_address, sender_no_mx, signals_without_dns
from greyd.dns.spf.evaluator import check_host
from greyd.rules.evidence import Evidence
from greyd.rules.hostnames import domain_of, is_literal, normal_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

    from greyd.config.settings import Settings
    from greyd.config.vocabulary import Zone
    from greyd.dns.blocklists import DnsListing
    from greyd.dns.lookup import Lookup
    from greyd.dns.spf.evaluator import SpfResult
    from greyd.rules.address import Address
    from greyd.rules.request import Request
    from greyd.whitelist.matcher import ClientWhitelist

    Question = tuple[str, Coroutine[Any, Any, Any]]


DNSBL, RHSBL, DNSWL, SPF = "dnsbl", "rhsbl", "dnswl", "spf"


class DnsEvidenceCollector:
    """Finds out of a client what the settings want to know."""

    def __init__(
        self,
        settings: Settings,
        lookup: Lookup,
        override: Callable[[], ClientWhitelist],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Ask ``lookup``; who is on ``override`` is not listed; ``failed`` is told of faults."""
        self._settings = settings
        self._lookup = lookup
        self._override = override
        self._failed = failed
        wants_signals = settings.greylist == "suspicious" or bool(settings.delays)
        self._signals = frozenset(settings.signals if wants_signals else ())
        self._wants_spf = "spf" in settings.identity or "spf_fail" in self._signals
        self._under_way: set[asyncio.Task[Evidence]] = set()
        self._closed = False

    def collect(
        self, request: Request, address: Address, found: Callable[[Evidence], None]
    ) -> None:
        """Call ``found`` once, with what is known by the deadline; never with an error."""
        if self._closed:
            found(Evidence(unsure=True))
            return
        task = asyncio.ensure_future(self._collect(request, address))
        self._under_way.add(task)
        task.add_done_callback(partial(self._deliver, found))

    def _deliver(self, found: Callable[[Evidence], None], task: asyncio.Task[Evidence]) -> None:
        self._under_way.discard(task)
        if task.cancelled():
            found(Evidence(unsure=True))
        elif (error := task.exception()) is not None:
            self._failed(error)
            found(Evidence(unsure=True))
        else:
            found(task.result())

    def evidence_without_dns(self, request: Request, address: Address) -> Evidence:
        """Return what is known before anything is asked."""
        return self._weigh(request, address, (), unsure=False)

    async def _collect(self, request: Request, address: Address) -> Evidence:
        tasks = [
            (kind, asyncio.ensure_future(question))
            for kind, question in self._questions(request, address)
        ]
        if tasks:
            await asyncio.wait(
                [task for _, task in tasks], timeout=self._settings.dns_timeout_seconds
            )
        known: list[tuple[str, Any]] = []
        unsure = False
        for kind, task in tasks:
            if not task.done():
                task.cancel()
                unsure = True
            elif (error := task.exception()) is None:
                known.append((kind, task.result()))
            else:
                # A fault of ours in one answer must not hide what the others say: a listing, say.
                unsure = True
                if not isinstance(error, DnsError):
                    self._failed(error)
        return self._weigh(request, address, known, unsure=unsure)

    # What is asked ------------------------------------------------------------------------------

    def _questions(self, request: Request, address: Address) -> Iterator[Question]:
        lookup, settings = self._lookup.for_client(address), self._settings
        if self._wants_spf:
            helo = (request.helo_name or b"").lower()
            yield SPF, check_host(lookup, address, request.sender or b"", helo)
        for name, ask in (
            ("helo_no_address", helo_no_address),
            ("sender_no_mx", sender_no_mx),
        ):
            if name in self._signals:
                yield name, ask(lookup, request)
        for zone in settings.dnswl:
            yield DNSWL, fetch_address_listing(lookup, zone, address)
        if self._override().match(request.client_name or b"", address) is None:
            for zone in settings.dnsbl:
                yield DNSBL, fetch_address_listing(lookup, zone, address)
            domains = _domains_of(request) if settings.rhsbl else ()
            for zone in settings.rhsbl:
                yield from _domain_questions(lookup, zone, domains)

    # What it means ------------------------------------------------------------------------------

    def _weigh(
        self, request: Request, address: Address, known: Iterable[tuple[str, Any]], *, unsure: bool
    ) -> Evidence:
        marks = []
        if self._signals:
            seen = signals_without_dns(request, address)
            marks = [each for each in seen if each in self._signals]
        listings: dict[str, list[DnsListing]] = {DNSBL: [], RHSBL: [], DNSWL: []}
        spf: SpfResult | None = None
        for kind, answer in known:
            if kind == SPF:
                spf = answer
            elif kind in listings:
                listings[kind] += [answer] if answer else []
            elif answer:
                marks.append(kind)
        against = listings[DNSBL] + listings[RHSBL]
        weights = {each.zone: each.zone.weight for each in against}
        listed = sum(weights.values()) >= LISTED_WEIGHT
        marks += [kind for kind in (DNSBL, RHSBL) if listed and listings[kind]]
        if spf is not None:
            unsure = unsure or spf.result == "temperror"
            if spf.result == "fail" and "spf_fail" in self._signals:
                marks.append("spf_fail")
        trusted = any(_is_trusted(each) for each in listings[DNSWL])
        whose = self._identity(request, address, spf)
        return Evidence(
            identity=whose.domain if whose else b"",
            way=whose.way if whose else "",
            speaks_for_sender=whose is not None and whose.speaks_for_sender,
            signals=tuple(marks),
            listed=listed,
            unsure=unsure,
            delay_seconds=_longest_delay(against) if listed else None,
            exemption="DNS whitelist" if trusted and not listed else "",
        )

    def _identity(
        self, request: Request, address: Address, spf: SpfResult | None
    ) -> ProvenIdentity | None:
        for way in self._settings.identity:
            whose = (
                identity_from_spf(request, spf)
                if way == "spf"
                else identity_from_name(request, address)
            )
            if whose is not None:
                return whose
        return None

    def close(self) -> None:
        """Ask no more: who waits, and who comes still, is told what is known without DNS."""
        self._closed = True
        for task in list(self._under_way):
            task.cancel()


def _domains_of(request: Request) -> set[bytes]:
    """Return the domains that a client comes with: its name's, its HELO's, its sender's.

    A host's name without a dot, and an address literal as HELO, belong to no domain. A sender
    always has one, unless it is the null sender or a name without ``@``.
    """
    name = normal_name(request.client_name)
    if name in {b"", b"unknown"}:
        name = normal_name(request.reverse_client_name)
    hosts = (name, normal_name(request.helo_name))
    domains = {each for each in hosts if b"." in each and not is_literal(each)}
    if b"@" in (request.sender or b""):
        domains.add(domain_of(request.sender or b""))
    return domains


def _domain_questions(lookup: Lookup, zone: Zone, domains: Iterable[bytes]) -> Iterator[Question]:
    """Ask a list for each name once."""
    names: set[bytes] = set()
    for domain in domains:
        askable = queryable_names(zone, domain)
        names |= askable
        if not askable:
            yield RHSBL, fail_unqueryable(zone, domain)
    for name in names:
        yield RHSBL, fetch_domain_listing(lookup, zone, name)


def _is_trusted(listing: DnsListing) -> bool:
    return listing.zone.trust <= trust_level(listing) < len(TRUST)


def _longest_delay(listings: Iterable[DnsListing]) -> int | None:
    delays = [each.zone.delay_seconds for each in listings if each.zone.delay_seconds is not None]
    return max(delays, default=None)
