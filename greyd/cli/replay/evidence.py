"""What a server on trial knows of a client: what the log tells, with ``--dns`` what DNS says too.

Without DNS nobody is on a list, and an identity is what the client's confirmed name says; but what
a greyd of the past knew, and wrote into its log, counts: an identity, signals, a listing.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from greyd.cli.replay.simulation import request_of
from greyd.dns.lookup import DisabledLookup
from greyd.lru import LruCache
from greyd.rules.address import parse_address
from greyd.rules.evidence import NO_EVIDENCE, Evidence
from greyd.rules.hostnames import domain_of, organisation_of
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.dns.collector import DnsEvidenceCollector
    from greyd.dns.lookup import Lookup
    from greyd.maillog.attempts import Attempt
    from greyd.whitelist.matcher import Whitelists

AT_ONCE = 100
"""Clients of which DNS is asked at the same time."""

MAX_REMEMBERED = 50_000

_parse = lru_cache(50_000)(parse_address)


class ReplayEvidenceCollector:
    """Says what one server would know; the same client is looked at once."""

    def __init__(self, settings: Settings, whitelists: Whitelists, lookup: Lookup | None) -> None:
        """Know only what the log tells, unless there is somebody to ask."""
        self._settings = settings
        self._lookup = lookup
        self._witness: DnsEvidenceCollector | None = None
        if settings.needs_evidence:
            self._witness = _dns_witness(settings, whitelists, lookup)
        self._known: LruCache[Evidence] = LruCache(MAX_REMEMBERED)

    def of(self, attempt: Attempt) -> Evidence:
        """Return what is known of a client."""
        address = self._witness and _parse(attempt.client_address)
        if self._witness is None or not address:
            return NO_EVIDENCE
        key = _key(attempt)
        evidence = self._known.get(key)
        if evidence is None:
            evidence = self._witness.evidence_without_dns(
                request_of(attempt, attempt.when), address
            )
            self._known.put(key, evidence)
        return self._with_log(attempt, evidence)

    async def ask(self, attempts: Sequence[Attempt]) -> None:
        """Ask DNS about clients, so that ``of`` knows it."""
        if self._witness is None or self._lookup is None:
            return
        unknown = {key: each for each in attempts if self._known.get(key := _key(each)) is None}
        questions = list(unknown.items())
        for start in range(0, len(questions), AT_ONCE):
            await asyncio.gather(
                *(self._look(*each) for each in questions[start : start + AT_ONCE])
            )

    async def _look(self, key: bytes, attempt: Attempt) -> None:
        address = _parse(attempt.client_address)
        if self._witness is None or address is None:
            return
        found: asyncio.Future[Evidence] = asyncio.get_running_loop().create_future()
        self._witness.collect(request_of(attempt, attempt.when), address, partial(_tell, found))
        self._known.put(key, await found)

    def _with_log(self, attempt: Attempt, evidence: Evidence) -> Evidence:
        """Add what the greyd that wrote the log knew."""
        settings = self._settings
        if attempt.identity and settings.identity and not evidence.identity:
            domain = domain_of(attempt.sender)
            speaks = attempt.identity in (domain, organisation_of(domain))
            evidence = replace(
                evidence, identity=attempt.identity, way="spf", speaks_for_sender=speaks
            )
        if attempt.signals:
            evidence = self._with_signals(attempt.signals, evidence)
        if attempt.reason == Reason.DNS_WHITELIST.text and settings.dnswl and not evidence.listed:
            evidence = replace(evidence, exemption=Reason.DNS_WHITELIST)
        return evidence

    def _with_signals(self, signals: Sequence[str], evidence: Evidence) -> Evidence:
        settings = self._settings
        zones = (*settings.dnsbl, *settings.rhsbl)
        listed = bool(zones) and not {"dnsbl", "rhsbl"}.isdisjoint(signals)
        counting = settings.signals if settings.delays or settings.greylist != "all" else ()
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


def _dns_witness(
    settings: Settings, whitelists: Whitelists, lookup: Lookup | None
) -> DnsEvidenceCollector:
    from greyd.dns.collector import DnsEvidenceCollector

    return DnsEvidenceCollector(
        settings, lookup or DisabledLookup(), lambda: whitelists.override, _raise
    )


def _raise(fault: BaseException) -> None:
    raise fault


def _tell(found: asyncio.Future[Evidence], evidence: Evidence) -> None:
    if not found.done():
        found.set_result(evidence)


def _key(attempt: Attempt) -> bytes:
    """Return what an answer depends on; SPF with the sender's own name in it is rare."""
    parts = (
        attempt.client_address,
        attempt.client_name,
        attempt.helo or b"",
        attempt.reverse_name or b"",
        domain_of(attempt.sender),
    )
    return b"\0".join(parts)
