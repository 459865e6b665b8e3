"""Monitors the sources of evidence: records lookups, probes sources, keeps their states.

A source that is off is probed after ``FIRST_RETRY_SECONDS``, then at intervals that double up to
``MAX_RETRY_SECONDS``, until it is back.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from greyd.config.vocabulary import RESOLVER
from greyd.dns.sources.faults import no_answer_of_resolver
from greyd.dns.sources.probe import ProbeResult, probe_list
from greyd.dns.sources.source import (
    MIN_PROOF_SECONDS,
    ListSource,
    Source,
    SourceState,
    list_source,
)
from greyd.rules.hostnames import registered_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.dns.lookup import Lookup
    from greyd.dns.resolver import EndedLookup
    from greyd.dns.sources.faults import SourceFault

FIRST_RETRY_SECONDS = 5.0
MAX_RETRY_SECONDS = 60.0
MAX_RESOLVER_RETRY_SECONDS = 5.0
"""The resolver is probed more often: it is near, and everything depends on it."""
RESOLVER_RETRY_SECONDS = 1.0

_REVERSE_ZONES = (b".in-addr.arpa", b".ip6.arpa")


class Prober(Protocol):
    """Sends the queries of probes: ``greyd.dns.resolver.Resolver``."""

    def for_probes(self) -> Lookup:
        """Return a lookup that asks the name servers each time."""

    async def is_answering(self) -> bool:
        """Return whether the name servers answer anything."""

    def forget_failures(self) -> None:
        """Repeat lookups that have failed."""

    def forget_list(self, zone: str) -> None:
        """Repeat the lookups in a list, whatever it has answered."""


class SourceMonitor:
    """The states of all sources of a server process."""

    def __init__(
        self,
        settings: Settings,
        prober: Prober,
        on_change: Callable[[str, SourceFault | None], None],
        on_error: Callable[[BaseException], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a monitor; at first all sources are up.

        Args:
            settings: name the lists, and the time that an answer may take.
            prober: sends the queries of probes.
            on_change: called with the name of a source and its fault when it goes off, and with
                None when it is back.
            on_error: called with each exception that only a fault in greyd explains.
            now: returns the time of a monotonic clock, in seconds.
        """
        self._timeout_seconds = settings.dns_timeout_seconds
        self._prober = prober
        self._on_change = on_change
        self._on_error = on_error
        self._now = now
        servers = "--resolver" if settings.resolvers else "/etc/resolv.conf, or set --resolver"
        self._resolver_fault = no_answer_of_resolver(servers)
        self._resolver = Source(RESOLVER, min_domains=2)
        self._lists = list_sources(settings)
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._closed = False

    # States -------------------------------------------------------------------------------------

    @property
    def is_resolver_up(self) -> bool:
        """Whether the resolver is up; without it no query is useful.

        It is while a probe follows up failures: clients whose own name servers do not answer may be
        the cause, and nobody else's mail may wait for that.
        """
        return self._resolver.state is not SourceState.OFF

    def is_up(self, zone: str) -> bool:
        """Whether a list is queried for clients; a list that is out of order is not."""
        return self._lists[zone].is_up

    def sources(self) -> Sequence[Source]:
        """Return the resolver and all lists."""
        return (self._resolver, *self._lists.values())

    async def is_listing_valid(self, zone: str, *, ipv6: bool = False) -> bool:
        """Whether a listing in a zone counts: a probe has shown that it does not list everything.

        Probes the list if the last probe is too old.
        """
        source = self._lists[zone]
        if ipv6 and not source.asks_ipv6:
            source.asks_ipv6, source.proven_at = True, float("-inf")
        if source.is_up and not source.is_proven(self._now()):
            await self._probe_and_wait(source)
        source.listing_count += 1
        return source.is_proven(self._now())

    async def check_error_answer(self, zone: str) -> None:
        """Probe a list that has given an error answer, unless it was found in order just now.

        Some errors concern only the query: a client can provoke them by the names that it chooses.
        """
        source = self._lists[zone]
        if source.is_up and self._now() - source.proven_at > MIN_PROOF_SECONDS:
            await self._probe_and_wait(source)

    # Lookups ------------------------------------------------------------------------------------

    def lookup_ended(self, lookup: EndedLookup) -> None:
        """Record the end of a lookup for a client."""
        now = self._now()
        if lookup.is_answered:
            self._resolver_answered(now)
        elif self._resolver.failed(lookup.network, _domain_of(lookup.name)):
            self._start_probe(self._resolver)
        source = self._lists.get(lookup.zone)
        if source is None:
            return
        # A response that cannot be read is an answer of the resolver, but none of the list.
        is_usable = lookup.is_answered and not lookup.reason
        if is_usable and lookup.seconds <= self._timeout_seconds:
            source.answered(now)
        elif source.failed(lookup.network, b""):
            self._start_probe(source)

    def _resolver_answered(self, now: float) -> None:
        was_off = self._resolver.fault is not None
        self._resolver.answered(now)
        if was_off:
            # A lookup that was sent before the resolver went off has an answer after all.
            self._start_probe(self._resolver)

    # Probes -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Probe each source, in the background."""
        for source in self._lists.values() or [self._resolver]:
            self._start_probe(source)

    async def probe_all(self) -> None:
        """Probe each source, and wait for the results."""
        self.start()
        await asyncio.gather(*map(asyncio.shield, list(self._probes.values())))

    async def _probe_and_wait(self, source: Source) -> None:
        if (task := self._start_probe(source)) is not None:
            # Several requests may wait for one probe; the deadline of one ends only its waiting.
            await asyncio.shield(task)

    def _start_probe(self, source: Source) -> asyncio.Task[None] | None:
        """Return the task of the source's probe, which may be under way; None after ``close``."""
        if self._closed:
            return None
        if (timer := self._timers.pop(source.name, None)) is not None:
            timer.cancel()
        task = self._probes.get(source.name)
        if task is None:
            task = self._probes[source.name] = asyncio.ensure_future(self._probe(source))
            task.add_done_callback(lambda _: self._probes.pop(source.name, None))
        return task

    async def _probe(self, source: Source) -> None:
        try:
            if isinstance(source, ListSource):
                await self._probe_list(source)
            else:
                await self._probe_resolver()
        except Exception as error:  # noqa: BLE001 - a fault here must not leave a source off for good
            self._on_error(error)
        if not source.is_up:
            self._schedule_retry(source)

    async def _probe_list(self, source: ListSource) -> None:
        started_at = self._now()
        result = await self._ask_list(source)
        if result.is_unanswered:
            await self._probe_and_wait(self._resolver)
            if not self._resolver.is_up:
                # All lists fail together then; each is probed when the resolver is back.
                return
            # The resolver may have failed and recovered meanwhile.
            result = await self._ask_list(source)
        if not result.is_unanswered:
            self._resolver_answered(self._now())
        elif source.answered_at > started_at:
            return
        source.has_test_entry |= result.has_test_entry
        self._note_result(source, result.fault)

    async def _ask_list(self, source: ListSource) -> ProbeResult:
        return await probe_list(self._prober.for_probes(), source, self._timeout_seconds)

    async def _probe_resolver(self) -> None:
        started_at = self._now()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                is_answering = await self._prober.is_answering()
        except TimeoutError:
            is_answering = False
        if not is_answering and self._resolver.answered_at > started_at:
            return
        was_off = self._resolver.fault is not None
        self._note_result(self._resolver, None if is_answering else self._resolver_fault)
        if was_off and is_answering:
            self._prober.forget_failures()
            for source in self._lists.values():
                if not source.is_up:
                    self._start_probe(source)

    def _note_result(self, source: Source, fault: SourceFault | None) -> None:
        was_off = source.fault is not None
        source.probed(fault, self._now())
        if was_off and fault is None and isinstance(source, ListSource):
            # It may have listed clients whom it does not list, with a TTL of hours.
            self._prober.forget_list(source.name)
        if was_off is not (fault is not None):
            self._on_change(source.name, fault)

    def _schedule_retry(self, source: Source) -> None:
        if self._closed:
            return
        if source is self._resolver:
            first, most = RESOLVER_RETRY_SECONDS, MAX_RESOLVER_RETRY_SECONDS
        else:
            first, most = FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS
        seconds = min(first * 2 ** min(max(source.failed_probe_count - 1, 0), 20), most)
        loop = asyncio.get_running_loop()
        self._timers[source.name] = loop.call_later(seconds, self._start_probe, source)

    def close(self) -> None:
        """Stop probing."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        for task in list(self._probes.values()):
            task.cancel()


def list_sources(settings: Settings) -> dict[str, ListSource]:
    """Return the sources for all lists of the settings, by their zones."""
    addresses = [each.name for each in (*settings.dnsbl, *settings.dnswl)]
    domains = [each.name for each in settings.rhsbl]
    return {
        name: list_source(name, addresses=name in addresses, domains=name in domains)
        for name in (*addresses, *domains)
    }


def _domain_of(name: bytes) -> bytes:
    return b"arpa" if name.endswith(_REVERSE_ZONES) else registered_domain(name)
