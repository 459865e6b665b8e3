"""The resolver: queries name servers through aiodns (c-ares) and caches the answers.

Simultaneous queries for the same question share one lookup. If a caller is cancelled, a lookup in
flight continues, and its answer is cached. Clients cause the lookups, so the number of lookups in
flight, the size of an answer and the size of the cache are bounded. Each client network and each
domain has a share of the lookups in flight (``greyd.dns.fair_share``).

An answer is cached for the smallest TTL in its chain of CNAMEs, but for at least
``MIN_TTL_SECONDS`` and at most ``MAX_TTL_SECONDS``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import pycares

from greyd.dns.answer_cache import AnswerCache, CachedAnswer, Question
from greyd.dns.channels import RESOLV_CONF, DnsChannels
from greyd.dns.fair_share import (
    NO_CLIENT,
    ClientNetworks,
    FairShareScheduler,
    QueuedLookup,
    client_networks,
)
from greyd.dns.lists.zones import NO_LIST_ZONES, ListZone, ListZones, queried_name
from greyd.dns.lookup import (
    DnsAnswer,
    DnsError,
    Lookup,
    LookupResult,
    RecordType,
    UnqueryableNameError,
)
from greyd.dns.probe_lookup import RESOLVER_QUESTIONS, ProbeLookup
from greyd.dns.responses import (
    FAILURE_TTL_SECONDS,
    QUERYABLE_NAME,
    VALID_NAME,
    CnameRedirect,
    LookupOutcome,
    UnusableAnswerError,
    error_outcome,
    failed_outcome,
    read_response,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from greyd.config.vocabulary import Endpoint
    from greyd.dns.channels import ResponseFuture
    from greyd.dns.fair_share import ShareKey
    from greyd.rules.address import Address


MIN_TTL_SECONDS = 5
"""Minimum time in the cache: a TTL of 0 must not cause a lookup for each request."""

MAX_TTL_SECONDS = 86400

MAX_LOOKUPS = 500
"""Maximum number of lookups in flight."""

MAX_CNAMES = 8
"""Maximum number of further queries per lookup, one for each answer that ends in a CNAME."""

_ENTRY_OVERHEAD_BYTES = 400
"""Approximate size of a cache entry without the bytes of its name and values."""

_NXDOMAIN = DnsAnswer(exists=False)


class LookupObserver(Protocol):
    """Counts lookups."""

    def cache_hit(self) -> None:
        """Count an answer from the cache."""

    def lookup_ended(
        self, record_type: RecordType, zone: str, result: LookupResult, seconds: float | None
    ) -> None:
        """Count a lookup and its duration.

        Args:
            record_type: the queried type.
            zone: the DNS list that was queried; empty for any other name.
            result: the result.
            seconds: the duration; None if the lookup was never sent.
        """


@dataclass(frozen=True, slots=True)
class EndedLookup:
    """A lookup that was sent and has ended, for the monitor of the sources."""

    zone: str
    """The DNS list that was queried; empty for any other name."""
    name: bytes
    """The name of the question."""
    network: ShareKey
    """The client network that the lookup is for."""
    is_answered: bool
    """Whether there was any response other than SERVFAIL and REFUSED."""
    seconds: float
    reason: str
    """Why it failed; empty if it did not."""


@dataclass(slots=True)
class _PendingLookup:
    """A lookup that is queued or in flight."""

    question: Question
    zone: ListZone | None
    """The DNS list that is queried, or None."""
    queued: list[QueuedLookup[_PendingLookup]] = field(default_factory=list)
    """While queued, one for each client network that waits; in flight, only the one that counts."""
    started_at: float | None = None
    ttl_seconds: float = MAX_TTL_SECONDS
    """The smallest TTL so far."""
    cname_count: int = 0
    waiters: list[asyncio.Future[CachedAnswer]] = field(default_factory=list)


class Resolver(Lookup):
    """The resolver of a process. All queries must run in the event loop of the first one."""

    def __init__(
        self,
        servers: Sequence[Endpoint] = (),
        timeout_seconds: float = 1.5,
        observer: LookupObserver | None = None,
        now: Callable[[], float] = time.monotonic,
        zones: ListZones = NO_LIST_ZONES,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        """Create a resolver.

        Args:
            servers: the name servers; if empty, those in /etc/resolv.conf.
            timeout_seconds: the time that callers wait. The resolver does not enforce it; it
                derives the time-out of the first query, so that two repeats fit into this time.
            observer: counts cache hits and lookups.
            now: returns the time of a monotonic clock, in seconds.
            zones: the DNS lists that are going to be queried.
            resolv_conf: the file from which c-ares reads the servers, watched for changes.
        """
        self.on_lookup_ended: Callable[[EndedLookup], None] | None = None
        """Called with each lookup that was sent and has ended, answered or not."""
        self._zones = zones
        self._channels = DnsChannels(servers, timeout_seconds, now, resolv_conf)
        self._observer = observer
        self._now = now
        self._cache = AnswerCache()
        self._pending: dict[Question, _PendingLookup] = {}
        self._scheduler: FairShareScheduler[_PendingLookup] = FairShareScheduler(
            MAX_LOOKUPS, self._on_drop
        )
        self._forgotten_until = float("-inf")
        """Cached failures that expire before this time are ignored, see ``forget_failures``."""
        self._closed = False

    # Queries ------------------------------------------------------------------------------------

    def cached(self, name: bytes, record_type: RecordType) -> DnsAnswer | None:
        """Return the answer from the cache; None if a lookup would be needed."""
        return self._known_answer(NO_CLIENT, Question(name, record_type))

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name, see ``greyd.dns.lookup.Lookup``; may be cancelled.

        c-ares accepts only letters, digits and ``_.*/-`` in a name; the lookup of another name
        fails with an ``UnqueryableNameError``.
        """
        return await self.query_for_client(NO_CLIENT, name, record_type)

    def for_client(self, address: Address) -> Lookup:
        """Return a lookup whose queries count towards the share of a client's network."""
        return _ClientLookup(self, client_networks(address))

    def for_probes(self) -> ProbeLookup:
        """Return a lookup that bypasses the cache and the shares of the clients."""
        return ProbeLookup(self._channels, self._zones)

    async def is_answering(self) -> bool:
        """Return whether the name servers answer anything but SERVFAIL and REFUSED."""
        probes = self.for_probes()
        answers = [probes.is_answered(*question) for question in RESOLVER_QUESTIONS]
        return any(await asyncio.gather(*answers))

    def forget_failures(self) -> None:
        """Repeat lookups that have failed, because the name servers answer again."""
        self._forgotten_until = self._now() + max(FAILURE_TTL_SECONDS, MIN_TTL_SECONDS)
        self._channels.reset()

    def forget_list(self, zone: str) -> None:
        """Ask a DNS list anew: its answers come from a time at which it was out of order."""
        self._cache.remove_below(b"." + zone.encode())
        self._channels.reset()

    async def query_for_client(
        self, client: ClientNetworks, name: bytes, record_type: RecordType
    ) -> DnsAnswer:
        """Return the records of a name; a lookup counts towards the share of ``client``."""
        question = Question(name.lower(), record_type)
        answer = self._known_answer(client, question)
        if answer is not None:
            return answer
        entry = self._cached_entry(client, question) or await self._await_lookup(client, question)
        if entry.answer is None:
            raise DnsError(
                f"{record_type.value} of {question.name.decode('ascii')}: {entry.failure}"
            )
        return entry.answer

    def _known_answer(self, client: ClientNetworks, question: Question) -> DnsAnswer | None:
        entry = self._cached_entry(client, question)
        if entry is not None and entry.answer is not None:
            if self._observer is not None:
                self._observer.cache_hit()
            return entry.answer
        return None if VALID_NAME.fullmatch(question.name) else _NXDOMAIN

    def _cached_entry(self, client: ClientNetworks, question: Question) -> CachedAnswer | None:
        entry = self._cache.get(question, client.network)
        if entry is None or entry.expires_at <= self._now():
            return None
        if entry.answer is None and entry.expires_at <= self._forgotten_until:
            return None
        return entry

    async def _await_lookup(self, client: ClientNetworks, question: Question) -> CachedAnswer:
        """Join the pending lookup of a question or queue a new one, and wait for the answer."""
        if self._closed:
            raise DnsError("the resolver is closed")
        pending = self._pending.get(question) or self._new_lookup(question)
        waiter: asyncio.Future[CachedAnswer] = asyncio.get_running_loop().create_future()
        pending.waiters.append(waiter)
        is_queued = any(client.network == each.network for each in pending.queued)
        if pending.started_at is None and not is_queued:
            # The zone has the same domain as the name, and that domain is known already.
            name = pending.zone.suffix[1:] if pending.zone else question.name
            queued = QueuedLookup(pending, name, client)
            pending.queued.append(queued)
            self._scheduler.enqueue(queued)
            self._start_lookups()
        try:
            return await waiter
        except asyncio.CancelledError:
            self._abandon_if_unwanted(pending)
            raise

    def _new_lookup(self, question: Question) -> _PendingLookup:
        zone = self._zones.zone_of(question.name)
        name = queried_name(question.name, zone)
        if not QUERYABLE_NAME.fullmatch(name) or not VALID_NAME.fullmatch(name):
            raise UnqueryableNameError(
                f"{question.name.decode('ascii')}: a name that can't be queried"
            )
        pending = self._pending[question] = _PendingLookup(question, zone)
        return pending

    def _abandon_if_unwanted(self, pending: _PendingLookup) -> None:
        # If several waiters are cancelled at once, the first call has already abandoned the lookup.
        is_pending = self._pending.get(pending.question) is pending
        if is_pending and pending.started_at is None and all(w.done() for w in pending.waiters):
            self._abandon(pending, "nobody waits for it any more")

    # Lookups ------------------------------------------------------------------------------------

    def _start_lookups(self) -> None:
        """Send the queries of all lookups that may start now."""
        while queued := self._scheduler.start_next():
            pending = queued.payload
            for other in pending.queued:
                self._scheduler.cancel(other)
            pending.queued, pending.started_at = [queued], self._now()
            try:
                self._send(pending, queried_name(pending.question.name, pending.zone))
            except pycares.AresError as error:
                self._scheduler.finish(queued, is_answered=False)
                self._abandon(pending, f"the lookup can't be started: {error}")

    def _on_drop(self, queued: QueuedLookup[_PendingLookup]) -> None:
        """Abandon a lookup that the scheduler has dropped from its full queue."""
        pending = queued.payload
        pending.queued.remove(queued)
        if not pending.queued:
            self._abandon(pending, "too many lookups are queued")

    def _abandon(self, pending: _PendingLookup, reason: str) -> None:
        """Fail a lookup that was never sent, without caching the failure."""
        for queued in pending.queued:
            self._scheduler.cancel(queued)
        del self._pending[pending.question]
        if self._observer is not None:
            record_type = pending.question.record_type
            self._observer.lookup_ended(
                record_type, _shown_zone(pending), LookupResult.TOO_MANY, None
            )
        self._wake_waiters(pending, CachedAnswer(None, reason))

    @staticmethod
    def _wake_waiters(pending: _PendingLookup, entry: CachedAnswer) -> None:
        for waiter in pending.waiters:
            if not waiter.done():
                waiter.set_result(entry)

    def _send(self, pending: _PendingLookup, name: bytes) -> None:
        future = self._channels.query(name.decode("ascii"), pending.question.record_type.value)
        future.add_done_callback(partial(self._on_response, pending, name))

    def _on_response(self, pending: _PendingLookup, name: bytes, future: ResponseFuture) -> None:
        """Query the target of a CNAME, or end the lookup."""
        try:
            outcome = self._read(pending, name, future)
        except Exception as error:  # noqa: BLE001 - whatever fails here, no waiter may hang
            outcome = failed_outcome(str(error) or type(error).__name__)
        if outcome is None:
            return
        now = self._now()
        del self._pending[pending.question]
        for queued in pending.queued:
            self._scheduler.finish(queued, is_answered=outcome.result is not LookupResult.TIMEOUT)
        self._report(pending, outcome, now - (pending.started_at or now))
        self._wake_waiters(pending, self._cache_outcome(pending, outcome, now))
        self._start_lookups()

    def _report(self, pending: _PendingLookup, outcome: LookupOutcome, seconds: float) -> None:
        question, zone = pending.question, _shown_zone(pending)
        if self._observer is not None:
            self._observer.lookup_ended(question.record_type, zone, outcome.result, seconds)
        if self.on_lookup_ended is not None:
            self.on_lookup_ended(
                EndedLookup(
                    zone=zone,
                    name=question.name,
                    network=pending.queued[0].network,
                    is_answered=not outcome.is_server_failure,
                    seconds=seconds,
                    reason=outcome.failure,
                )
            )

    def _read(
        self, pending: _PendingLookup, name: bytes, future: ResponseFuture
    ) -> LookupOutcome | None:
        """Return the outcome of a response; None if its CNAME caused a further query."""
        error = future.exception()
        if error is not None:
            return error_outcome(error, pending.ttl_seconds)
        record_type = pending.question.record_type
        read = read_response(future.result(), name, record_type, pending.ttl_seconds)
        if not isinstance(read, CnameRedirect):
            return read
        too_many = pending.cname_count == MAX_CNAMES
        if too_many or not QUERYABLE_NAME.fullmatch(read.target) or self._closed:
            raise UnusableAnswerError("its CNAMEs lead nowhere")
        pending.ttl_seconds = read.ttl_seconds
        pending.cname_count += 1
        self._send(pending, read.target)
        return None

    def _cache_outcome(
        self, pending: _PendingLookup, outcome: LookupOutcome, now: float
    ) -> CachedAnswer:
        question, answer = pending.question, None
        if outcome.result not in (LookupResult.FAILED, LookupResult.TIMEOUT):
            answer = DnsAnswer(outcome.values, outcome.result is not LookupResult.NXDOMAIN)
        seconds = max(MIN_TTL_SECONDS, min(outcome.ttl_seconds, MAX_TTL_SECONDS))
        values_bytes = sum(map(sys.getsizeof, outcome.values))
        entry = CachedAnswer(
            answer,
            outcome.failure,
            expires_at=now + seconds,
            size_bytes=len(question.name) + values_bytes + _ENTRY_OVERHEAD_BYTES,
            network=pending.queued[0].network,
        )
        if not outcome.is_unreachable:
            self._cache.put(question, entry)
        return entry

    # Shutdown -----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop the resolver; the callers of pending lookups get a ``DnsError``."""
        self._closed = True
        for pending in list(self._pending.values()):
            if pending.started_at is None:
                self._abandon(pending, "the resolver is closed")
        await self._channels.close()


class _ClientLookup(Lookup):
    """Queries the DNS on behalf of one client network."""

    def __init__(self, resolver: Resolver, client: ClientNetworks) -> None:
        self._resolver = resolver
        self._client = client

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        return await self._resolver.query_for_client(self._client, name, record_type)


def _shown_zone(pending: _PendingLookup) -> str:
    return "" if pending.zone is None else pending.zone.name
