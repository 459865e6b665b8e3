"""Collects a simulated server's evidence about clients: from the log, and with ``--dns`` from DNS.

Without DNS, no client is on a DNS list, and identities come from confirmed names. In both cases the
evidence in greyd's own log is added: identity, signals and listings.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from greyd.cli.replay.counting_lookup import CountingLookup, DnsCounts
from greyd.cli.replay.requests import request_for_attempt
from greyd.cli.replay.sender_proofs import SenderProofs
from greyd.config.sender_groups import GROUP_PREFIX
from greyd.dns.lookup import DisabledLookup
from greyd.lru import LruCache
from greyd.rules.address import parse_address
from greyd.rules.evidence import NO_EVIDENCE, Evidence, ProvenIdentity
from greyd.rules.hostnames import domain_of, organisation_of
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.dns.collector import DnsEvidenceCollector
    from greyd.dns.lookup import Lookup
    from greyd.maillog.attempts import Attempt
    from greyd.whitelist.matcher import Whitelists

MAX_CONCURRENT = 100
"""The number of clients that are looked up concurrently."""

MAX_CACHED = 50_000

_parse = lru_cache(50_000)(parse_address)


class ReplayEvidenceCollector:
    """Collects the evidence that one server would have; looks each client up only once."""

    def __init__(self, settings: Settings, whitelists: Whitelists, lookup: Lookup | None) -> None:
        """Query DNS with ``lookup``; use only the log if it is None."""
        self._settings = settings
        self.dns_counts = DnsCounts()
        if lookup is not None:
            lookup = CountingLookup(lookup, self.dns_counts)
        self._lookup = lookup
        self._senders = SenderProofs(settings, whitelists, lookup)
        self._collector: DnsEvidenceCollector | None = None
        if settings.needs_evidence:
            self._collector = _dns_collector(settings, whitelists, lookup)
        self._known: LruCache[Evidence] = LruCache(MAX_CACHED)

    def evidence_for(self, attempt: Attempt) -> Evidence:
        """Return the evidence about the client of an attempt."""
        evidence = self._evidence_for(attempt)
        if self._senders.is_proven(attempt):
            evidence = replace(evidence, exemption=Reason.SENDER_WHITELIST)
        return evidence

    def _evidence_for(self, attempt: Attempt) -> Evidence:
        address = self._collector and _parse(attempt.client_address)
        if self._collector is None or not address:
            return NO_EVIDENCE
        key = _key(attempt)
        evidence = self._known.get(key)
        if evidence is None:
            evidence = self._collector.evidence_without_dns(
                request_for_attempt(attempt, attempt.when), address
            )
            self._known.put(key, evidence)
        return self._with_log(attempt, evidence)

    async def look_up(self, attempts: Sequence[Attempt]) -> None:
        """Look the clients of attempts up in DNS, and cache the evidence for ``evidence_for``."""
        if self._lookup is None:
            return
        await self._senders.look_up(attempts)
        if self._collector is None:
            return
        unknown = {key: each for each in attempts if self._known.get(key := _key(each)) is None}
        questions = list(unknown.items())
        counts = self.dns_counts
        for start in range(0, len(questions), MAX_CONCURRENT):
            batch = questions[start : start + MAX_CONCURRENT]
            found = await asyncio.gather(*(self._look_up_client(each) for _, each in batch))
            for (key, _), evidence in zip(batch, found, strict=True):
                if evidence is None:
                    continue
                is_unanswered = evidence.unsure or evidence.resolver_off
                counts.clients += 1
                counts.unanswered_clients += is_unanswered
                # Without an answer, the names in the log still count (see evidence_for).
                if not is_unanswered:
                    self._known.put(key, evidence)
        if counts.is_silent:
            for key in unknown:
                self._known.pop(key)

    async def _look_up_client(self, attempt: Attempt) -> Evidence | None:
        address = _parse(attempt.client_address)
        if self._collector is None or address is None:
            return None
        found: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        self._collector.collect(
            request_for_attempt(attempt, attempt.when), address, partial(_set_result, found)
        )
        return await found

    def _with_log(self, attempt: Attempt, evidence: Evidence) -> Evidence:
        """Add the log's facts about a client to the evidence."""
        settings = self._settings
        if attempt.identity and settings.identity:
            evidence = replace(evidence, identities=_with_logged(attempt, evidence.identities))
        if attempt.dns and settings.needs_evidence:
            is_off = attempt.dns == "off"
            evidence = replace(evidence, resolver_off=is_off, unsure=not is_off)
        if attempt.signals:
            evidence = self._with_signals(attempt.signals, evidence)
        if attempt.reason == Reason.DNS_WHITELIST.text and settings.dnswl and not evidence.listed:
            evidence = replace(evidence, exemption=Reason.DNS_WHITELIST)
        return evidence

    def _with_signals(self, signals: Sequence[str], evidence: Evidence) -> Evidence:
        settings = self._settings
        zones = (*settings.dnsbl, *settings.rhsbl)
        listed = bool(zones) and not {"dnsbl", "rhsbl"}.isdisjoint(signals)
        counting = settings.signals if settings.needs_signals else ()
        more = [
            each
            for each in signals
            if each not in evidence.signals
            and (each in counting or (listed and each in ("dnsbl", "rhsbl")))
        ]
        if listed and not evidence.listed:
            delays = [zone.delay_seconds for zone in zones if zone.delay_seconds is not None]
            evidence = replace(
                evidence, listed=True, delay_seconds=max(delays, default=None), exemption=None
            )
        return replace(evidence, signals=(*evidence.signals, *more))


def _with_logged(
    attempt: Attempt, identities: Sequence[ProvenIdentity]
) -> tuple[ProvenIdentity, ...]:
    """Return the identities of the log line, then those that the names prove.

    The line does not name the proof: identities that the names do not prove count as SPF's.
    """
    proven = {each.organisation: each for each in identities}
    domain = domain_of(attempt.sender)
    owners = (domain, organisation_of(domain))
    for name in reversed((attempt.identity, *attempt.other_identities)):
        if name.startswith(GROUP_PREFIX):
            # The simulated server has its own groups.
            continue
        # Version 0.1.0 logged the whole domain.
        organisation = organisation_of(name.lower()) or name.lower()
        is_owner = name in owners or organisation in owners
        identity = ProvenIdentity(organisation, "spf", is_owner)
        proven = {organisation: identity, **proven}
    return tuple(proven.values())


def _dns_collector(
    settings: Settings, whitelists: Whitelists, lookup: Lookup | None
) -> DnsEvidenceCollector:
    from greyd.dns.collector import DnsEvidenceCollector

    return DnsEvidenceCollector(
        settings, lookup or DisabledLookup(), lambda: whitelists.override, _raise
    )


def _raise(fault: BaseException) -> None:
    raise fault


def _set_result(found: asyncio.Future[Evidence], evidence: Evidence) -> None:
    if not found.done():
        found.set_result(evidence)


def _key(attempt: Attempt) -> bytes:
    """Return a cache key for the evidence about a client.

    It omits the sender's local part, since few SPF macros contain it.
    """
    parts = (
        attempt.client_address,
        attempt.client_name,
        attempt.helo or b"",
        attempt.reverse_name or b"",
        attempt.protocol_name or b"",
        domain_of(attempt.sender),
    )
    return b"\0".join(parts)
