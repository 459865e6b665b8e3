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
import logging
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import aiodns
import pycares

from greyd.dns.answer_cache import AnswerCache, CachedAnswer, Question
from greyd.dns.fair_share import (
    NO_CLIENT,
    ClientNetworks,
    FairShareScheduler,
    QueuedLookup,
    client_networks,
)
from greyd.dns.lookup import (
    DnsAnswer,
    DnsError,
    Lookup,
    LookupResult,
    RecordType,
    UnqueryableNameError,
)
from greyd.dns.responses import (
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

    from greyd.config.vocabulary import Endpoint
    from greyd.rules.address import Address

    ResponseFuture = asyncio.Future[pycares.DNSResult]


MIN_TTL_SECONDS = 5
"""Minimum time in the cache: a TTL of 0 must not cause a lookup for each request."""

MAX_TTL_SECONDS = 86400

MAX_LOOKUPS = 500
"""Maximum number of lookups in flight."""

MAX_CNAMES = 8
"""Maximum number of further queries per lookup, one for each answer that ends in a CNAME."""

TRIES = 3
"""Number of queries that c-ares sends to each server; each waits twice as long as the previous."""

MIN_TRY_SECONDS = 0.25
"""Minimum time-out of the first query; c-ares waits longer for a server that has been slow."""

CHANNEL_SECONDS = 60
CHANNEL_LOOKUPS = 10_000
"""The resolver replaces its c-ares channel after this time or this number of lookups.

A channel has an unbounded cache that pycares cannot turn off, and that keeps an empty answer for an
hour whatever its SOA record says. A new channel also reads /etc/resolv.conf again: c-ares detects a
replaced file by inotify, but not if the file is a symbolic link or mounted into a container.
"""

CLOSE_SECONDS = 1
"""Maximum time that ``close`` waits for c-ares to end cancelled queries."""

_ENTRY_OVERHEAD_BYTES = 400
"""Approximate size of a cache entry without the bytes of its name and values."""

_NXDOMAIN = DnsAnswer(exists=False)

# aiodns warns for each channel if inotify is unavailable; channels are replaced anyway.
logging.getLogger("aiodns").addHandler(logging.NullHandler())


class LookupObserver(Protocol):
    """Counts lookups. It never receives the names."""

    def cache_hit(self) -> None:
        """Count an answer from the cache."""

    def lookup_ended(
        self, record_type: RecordType, result: LookupResult, seconds: float | None
    ) -> None:
        """Count a lookup and its duration; ``seconds`` is None if it was never sent."""


@dataclass(slots=True)
class _PendingLookup:
    """A lookup that is queued or in flight."""

    question: Question
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
    ) -> None:
        """Create a resolver.

        Args:
            servers: the name servers; if empty, those in /etc/resolv.conf.
            timeout_seconds: the time that callers wait. The resolver does not enforce it; it
                derives the time-out of the first query, so that two repeats fit into this time.
            observer: counts cache hits and lookups.
            now: returns the time of a monotonic clock, in seconds.
        """
        self._servers = [_server_text(each) for each in servers]
        self._timeout_seconds = timeout_seconds
        self._observer = observer
        self._now = now
        self._cache = AnswerCache()
        self._pending: dict[Question, _PendingLookup] = {}
        self._scheduler: FairShareScheduler[_PendingLookup] = FairShareScheduler(
            MAX_LOOKUPS, self._on_drop
        )
        self._channels_in_use: dict[ResponseFuture, aiodns.DNSResolver] = {}
        self._channel: aiodns.DNSResolver | None = None
        self._channel_until = 0.0
        self._channel_lookup_count = 0
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
        return None if entry is None or entry.expires_at <= self._now() else entry

    async def _await_lookup(self, client: ClientNetworks, question: Question) -> CachedAnswer:
        """Join the pending lookup of a question or queue a new one, and wait for the answer."""
        if self._closed:
            raise DnsError("the resolver is closed")
        if not QUERYABLE_NAME.fullmatch(question.name):
            raise UnqueryableNameError(
                f"{question.name.decode('ascii')}: a name that can't be asked for"
            )
        pending = self._pending.setdefault(question, _PendingLookup(question))
        waiter: asyncio.Future[CachedAnswer] = asyncio.get_running_loop().create_future()
        pending.waiters.append(waiter)
        is_queued = any(client.network == each.network for each in pending.queued)
        if pending.started_at is None and not is_queued:
            queued = QueuedLookup(pending, question.name, client)
            pending.queued.append(queued)
            self._scheduler.enqueue(queued)
            self._start_lookups()
        try:
            return await waiter
        except asyncio.CancelledError:
            self._abandon_if_unwanted(pending)
            raise

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
                self._send(pending, pending.question.name)
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
            self._observer.lookup_ended(record_type, LookupResult.TOO_MANY, None)
        self._wake_waiters(pending, CachedAnswer(None, reason))

    @staticmethod
    def _wake_waiters(pending: _PendingLookup, entry: CachedAnswer) -> None:
        for waiter in pending.waiters:
            if not waiter.done():
                waiter.set_result(entry)

    def _send(self, pending: _PendingLookup, name: bytes) -> None:
        channel = self._current_channel()
        record_type = pending.question.record_type
        future = channel.query_dns(name.decode("ascii"), record_type.value)
        # A replaced channel closes itself without references, so keep one while a query uses it.
        self._channels_in_use[future] = channel
        future.add_done_callback(partial(self._on_response, pending, name))

    def _current_channel(self) -> aiodns.DNSResolver:
        now = self._now()
        if (
            self._channel is None
            or now >= self._channel_until
            or self._channel_lookup_count >= CHANNEL_LOOKUPS
        ):
            self._channel = aiodns.DNSResolver(
                self._servers or None,
                asyncio.get_running_loop(),
                timeout=max(self._timeout_seconds / 5, MIN_TRY_SECONDS),
                tries=TRIES,
            )
            self._channel_until = now + CHANNEL_SECONDS
            self._channel_lookup_count = 0
        self._channel_lookup_count += 1
        return self._channel

    def _on_response(self, pending: _PendingLookup, name: bytes, future: ResponseFuture) -> None:
        """Query the target of a CNAME, or end the lookup."""
        del self._channels_in_use[future]
        try:
            outcome = self._read(pending, name, future)
        except Exception as error:  # noqa: BLE001 - whatever fails here, no waiter may hang
            outcome = failed_outcome(str(error) or type(error).__name__)
        if outcome is None:
            return
        record_type, now = pending.question.record_type, self._now()
        del self._pending[pending.question]
        for queued in pending.queued:
            self._scheduler.finish(queued, is_answered=outcome.result is not LookupResult.TIMEOUT)
        if self._observer is not None:
            seconds = now - (pending.started_at or now)
            self._observer.lookup_ended(record_type, outcome.result, seconds)
        self._wake_waiters(pending, self._cache_outcome(pending, outcome, now))
        self._start_lookups()

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
        self._cache.put(question, entry)
        return entry

    # Shutdown -----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop the resolver; the callers of pending lookups get a ``DnsError``."""
        self._closed = True
        for pending in list(self._pending.values()):
            if pending.started_at is None:
                self._abandon(pending, "the resolver is closed")
        channels = set(self._channels_in_use.values())
        if self._channel is not None:
            channels.add(self._channel)
        for channel in channels:
            await channel.close()
        # c-ares reports cancelled queries from its own thread through the event loop, so the loop
        # must outlive them.
        if self._channels_in_use:
            await asyncio.wait(self._channels_in_use, timeout=CLOSE_SECONDS)


class _ClientLookup(Lookup):
    """Queries the DNS on behalf of one client network."""

    def __init__(self, resolver: Resolver, client: ClientNetworks) -> None:
        self._resolver = resolver
        self._client = client

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        return await self._resolver.query_for_client(self._client, name, record_type)


def _server_text(server: Endpoint) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
