"""The resolver: aiodns (c-ares), and a cache before it that keeps to the records' own times.

One lookup answers all who ask the same question meanwhile. Whoever gives up waiting leaves it to
the others; its answer is remembered all the same. Everything that others can make this hold is
bounded: lookups under way, records and octets of an answer, answers and octets remembered. Of the
lookups under way each client network and each domain has a share (``greyd.dns.fair_share``).

Nothing but the records' TTL decides how long an answer is true, within ``LEAST_SECONDS`` and
``MAX_SECONDS``; along a chain of CNAMEs it is the smallest. c-ares tells nothing of the SOA that
comes with NXDOMAIN and with an empty answer (RFC 2308), so those are remembered for
``NEGATIVE_SECONDS``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import aiodns
import pycares

from greyd.dns.answer_cache import OVERHEAD_BYTES, AnswerCache, CachedAnswer, Question
from greyd.dns.fair_share import (
    NO_CLIENT,
    ClientNetworks,
    FairShareScheduler,
    QueuedLookup,
    client_networks,
)
from greyd.dns.lookup import DnsAnswer, DnsError, Lookup, LookupResult, RecordType
from greyd.dns.responses import (
    _RECORD_DATA,
    MAX_RECORDS,
    NEGATIVE_TTL_SECONDS,
    QUERYABLE_NAME,
    VALID_NAME,
    LookupOutcome,
    UnusableAnswerError,
    decoded_name,
    error_outcome,
    failed_outcome,
    follow_cnames,
    record_values,
    soa_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.vocabulary import Endpoint
    from greyd.rules.address import Address


MIN_TTL_SECONDS = 5
"""An answer is remembered so long at least: a TTL of 0 must not make each request ask."""

MAX_TTL_SECONDS = 86400

MAX_LOOKUPS = 500
"""Under way at a time."""

MAX_CNAMES = 8
"""Questions asked after another because an answer ended in a CNAME."""

TRIES = 3
"""Of each server; each waits twice as long as the one before."""

MIN_TRY_SECONDS = 0.25
"""For which the first one waits. c-ares makes it longer for servers that it has found slow."""

CHANNEL_SECONDS = 60
CHANNEL_LOOKUPS = 10_000
"""After which a channel of c-ares is replaced.

It has a cache of its own that can't be turned off through pycares, knows no bounds, and keeps an
empty answer for an hour whatever its SOA says. And a new channel reads /etc/resolv.conf: c-ares
notices by inotify when that is replaced, but not where it is a link, or mounted into a container.
"""

CLOSE_SECONDS = 1
"""How long the end waits for c-ares at most."""
_NXDOMAIN = DnsAnswer(exists=False)


class LookupObserver(Protocol):
    """Is told what happens, without names."""

    def cache_hit(self) -> None:
        """Note that an answer was remembered."""

    def lookup_ended(self, kind: RecordType, result: LookupResult, seconds: float | None) -> None:
        """Note a lookup that has ended; None where it was not begun."""


@dataclass(slots=True)
class _PendingLookup:
    """A lookup that waits for its turn, or is in flight."""

    question: Question
    queued_lookups: list[QueuedLookup[_PendingLookup]] = field(default_factory=list)
    """Of each network that waits for it, until it is in flight: then the one that it counts for."""
    started: float | None = None
    seconds: float = MAX_TTL_SECONDS
    """The smallest TTL so far."""
    cnames: int = 0
    waiting: list[asyncio.Future[CachedAnswer]] = field(default_factory=list)


class Resolver(Lookup):
    """A process's resolver. It may be made anywhere; it belongs to the loop that it is asked in."""

    def __init__(
        self,
        servers: Sequence[Endpoint] = (),
        timeout_seconds: float = 1.5,
        observer: LookupObserver | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask ``servers``, which are addresses; without any those in /etc/resolv.conf.

        Args:
            servers: whom to ask.
            timeout_seconds: how long those who ask wait for all they ask, together. They see to
                that themselves; here questions are repeated so that two repeats fit into it.
            observer: is notified of cache hits and of lookups that end.
            now: a clock, in seconds.
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
        self._channels_in_use: dict[asyncio.Future[Any], aiodns.DNSResolver] = {}
        self._channel: aiodns.DNSResolver | None = None
        self._channel_until = 0.0
        self._channel_lookups = 0
        self._closed = False

    # Asking -------------------------------------------------------------------------------------

    def cached(self, name: bytes, kind: RecordType) -> DnsAnswer | None:
        """Return what is known of a name without asking; None where ``query`` has to be awaited."""
        return self._cached(NO_CLIENT, name, kind)

    def _cached(self, client: ClientNetworks, name: bytes, kind: RecordType) -> DnsAnswer | None:
        entry = self._cached_answer((name, kind), client)
        if entry is not None and entry.answer is not None:
            if self._observer is not None:
                self._observer.cache_hit()
            return entry.answer
        return None if VALID_NAME.fullmatch(name) else _NXDOMAIN

    async def query(self, name: bytes, kind: RecordType) -> DnsAnswer:
        """Ask for records, see ``greyd.dns.lookup.Lookup``; may be cancelled at any time.

        c-ares asks for letters, digits and ``_.*/-`` only: other names have no answer.
        """
        return await self.query_for_client(NO_CLIENT, name, kind)

    def for_client(self, address: Address) -> Lookup:
        """Return what asks for a client, whose share of the lookups it has."""
        return _ClientLookup(self, client_networks(address))

    async def query_for_client(
        self, client: ClientNetworks, name: bytes, kind: RecordType
    ) -> DnsAnswer:
        """Ask for a client."""
        name = name.lower()
        answer = self._cached(client, name, kind)
        if answer is not None:
            return answer
        entry = self._cached_answer((name, kind), client) or await self._await_lookup(
            client, name, kind
        )
        if entry.answer is None:
            raise DnsError(f"{kind.value} of {name.decode('ascii')}: {entry.failure}")
        return entry.answer

    async def _await_lookup(
        self, client: ClientNetworks, name: bytes, kind: RecordType
    ) -> CachedAnswer:
        """Wait for the lookup of a question, which begins in its turn where none is under way."""
        if self._closed:
            raise DnsError("the resolver is closed")
        if not QUERYABLE_NAME.fullmatch(name):
            raise DnsError(f"{name.decode('ascii')}: a name that can't be asked for")
        pending = self._pending.setdefault((name, kind), _PendingLookup((name, kind)))
        waiting: asyncio.Future[CachedAnswer] = asyncio.get_running_loop().create_future()
        pending.waiting.append(waiting)
        if pending.started is None and client.network not in [
            each.network for each in pending.queued_lookups
        ]:
            queued = QueuedLookup(pending, name, client)
            pending.queued_lookups.append(queued)
            self._scheduler.enqueue(queued)
            self._start_lookups()
        try:
            return await waiting
        except asyncio.CancelledError:
            # Of several who are cancelled at once, the first has given it up for all.
            is_waited_for = self._pending.get(pending.question) is pending
            if is_waited_for and pending.started is None and all(w.done() for w in pending.waiting):
                self._give_up(pending, "nobody waits for it any more")
            raise

    def _start_lookups(self) -> None:
        """Begin what may begin now."""
        while queued := self._scheduler.start_next():
            pending = queued.payload
            for other in pending.queued_lookups:
                self._scheduler.cancel(other)
            pending.queued_lookups, pending.started = [queued], self._now()
            try:
                self._send(pending, pending.question[0])
            except pycares.AresError as error:
                self._scheduler.finish(queued, is_answered=False)
                self._give_up(pending, f"no lookup can be begun: {error}")

    def _on_drop(self, queued: QueuedLookup[_PendingLookup]) -> None:
        """Note that there is no room for a lookup to wait."""
        pending = queued.payload
        pending.queued_lookups.remove(queued)
        if not pending.queued_lookups:
            self._give_up(pending, "too many lookups are under way, and wait")

    def _give_up(self, pending: _PendingLookup, reason: str) -> None:
        """End a lookup that has not begun; nothing of it is remembered."""
        for queued in pending.queued_lookups:
            self._scheduler.cancel(queued)
        del self._pending[pending.question]
        if self._observer is not None:
            self._observer.lookup_ended(pending.question[1], LookupResult.TOO_MANY, None)
        self._deliver(pending, CachedAnswer(None, reason, 0, 0))

    @staticmethod
    def _deliver(pending: _PendingLookup, entry: CachedAnswer) -> None:
        for waiting in pending.waiting:
            if not waiting.done():
                waiting.set_result(entry)

    def _send(self, pending: _PendingLookup, name: bytes) -> None:
        channel = self._current_channel()
        future = channel.query_dns(name.decode("ascii"), pending.question[1].value)
        # One that is replaced meanwhile closes itself when nobody holds it any more.
        self._channels_in_use[future] = channel
        future.add_done_callback(partial(self._answered, pending, name))

    def _current_channel(self) -> aiodns.DNSResolver:
        now = self._now()
        if (
            self._channel is None
            or now >= self._channel_until
            or self._channel_lookups >= CHANNEL_LOOKUPS
        ):
            self._channel = aiodns.DNSResolver(
                self._servers or None,
                asyncio.get_running_loop(),
                timeout=max(self._timeout_seconds / 5, MIN_TRY_SECONDS),
                tries=TRIES,
            )
            self._channel_until = now + CHANNEL_SECONDS
            self._channel_lookups = 0
        self._channel_lookups += 1
        return self._channel

    # Answers ------------------------------------------------------------------------------------

    def _answered(
        self, pending: _PendingLookup, name: bytes, future: asyncio.Future[pycares.DNSResult]
    ) -> None:
        """Take an answer: go on where it leads elsewhere, else tell all who wait."""
        del self._channels_in_use[future]
        try:
            outcome = self._read(pending, name, future)
        except Exception as error:  # noqa: BLE001 - a _NoAnswer; and nobody may wait for ever
            outcome = failed_outcome(str(error) or type(error).__name__)
        if outcome is None:
            return
        question, now = pending.question, self._now()
        del self._pending[question]
        for queued in pending.queued_lookups:
            self._scheduler.finish(queued, is_answered=outcome.result is not LookupResult.TIMEOUT)
        if self._observer is not None:
            self._observer.lookup_ended(question[1], outcome.result, now - (pending.started or now))
        self._deliver(pending, self._store_answer(pending, outcome, now))
        self._start_lookups()

    def _read(
        self, pending: _PendingLookup, name: bytes, future: asyncio.Future[pycares.DNSResult]
    ) -> LookupOutcome | None:
        """Return what an answer says; None where another question has been asked for it."""
        error = future.exception()
        if error is not None:
            return error_outcome(error, pending.seconds)
        response = future.result()
        kind = pending.question[1]
        sections = (response.answer, response.authority, response.additional)
        if sum(map(len, sections)) > 2 * MAX_RECORDS:
            raise UnusableAnswerError(f"more than {2 * MAX_RECORDS} records of all sections")
        end, pending.seconds = follow_cnames(response, name, pending.seconds)
        records = [
            record
            for record in response.answer
            if isinstance(record.data, _RECORD_DATA[kind]) and decoded_name(record.name) == end
        ]
        if records:
            pending.seconds = min(pending.seconds, *(record.ttl for record in records))
            return LookupOutcome(
                LookupResult.ANSWERED, pending.seconds, record_values(kind, records)
            )
        negative_seconds = soa_seconds(response)
        if end == name or negative_seconds is not None:
            seconds = NEGATIVE_TTL_SECONDS if negative_seconds is None else negative_seconds
            return LookupOutcome(LookupResult.NODATA, min(pending.seconds, seconds))
        if pending.cnames == MAX_CNAMES or not QUERYABLE_NAME.fullmatch(end) or self._closed:
            raise UnusableAnswerError("its CNAMEs lead nowhere")
        pending.cnames += 1
        self._send(pending, end)
        return None

    # Remembering --------------------------------------------------------------------------------

    def _cached_answer(self, question: Question, client: ClientNetworks) -> CachedAnswer | None:
        entry = self._cache.get(question, client.network)
        return None if entry is None or entry.expires_at <= self._now() else entry

    def _store_answer(
        self, pending: _PendingLookup, outcome: LookupOutcome, now: float
    ) -> CachedAnswer:
        question = pending.question
        failed = outcome.result in (LookupResult.FAILED, LookupResult.TIMEOUT)
        answer = DnsAnswer(outcome.values, outcome.result is not LookupResult.NXDOMAIN)
        seconds = max(MIN_TTL_SECONDS, min(outcome.seconds, MAX_TTL_SECONDS))
        raw_bytes = len(question[0]) + sum(map(sys.getsizeof, outcome.values)) + OVERHEAD_BYTES
        network = pending.queued_lookups[0].network
        entry = CachedAnswer(
            None if failed else answer, outcome.failure, now + seconds, raw_bytes, network
        )
        self._cache.put(question, entry)
        return entry

    # The end ------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Give up what is under way; those who wait get a ``DnsError``."""
        self._closed = True
        for pending in list(self._pending.values()):
            if pending.started is None:
                self._give_up(pending, "the resolver is closed")
        channels = set(self._channels_in_use.values())
        if self._channel is not None:
            channels.add(self._channel)
        for channel in channels:
            await channel.close()
        # c-ares tells of what it has given up from its thread, through the loop: that must not be
        # closed before.
        if self._channels_in_use:
            await asyncio.wait(self._channels_in_use, timeout=CLOSE_SECONDS)


class _ClientLookup(Lookup):
    """Asks for one client."""

    def __init__(self, resolver: Resolver, client: ClientNetworks) -> None:
        self._resolver = resolver
        self._client = client

    async def query(self, name: bytes, kind: RecordType) -> DnsAnswer:
        return await self._resolver.query_for_client(self._client, name, kind)


def _server_text(server: Endpoint) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"
