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
import logging
import re
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from socket import AF_INET, AF_INET6, inet_pton  # arithmetic on addresses, no I/O
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import aiodns
import pycares

from greyd.dns.fair_share import NOBODY, Client, FairShare, Key, Ticket, client_of
from greyd.dns.lookup import Answer, DnsError, Kind, Lookup, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.vocabulary import Endpoint
    from greyd.rules.address import Address

LEAST_SECONDS = 5
"""An answer is remembered so long at least: a TTL of 0 must not make each request ask."""

MAX_SECONDS = 86400

NEGATIVE_SECONDS = 60
"""How long it is remembered that there is no such name, or no such record."""

FAILURE_SECONDS = 5
"""How long it is remembered that there was no answer: the recipients of one message ask at once."""

MAX_LOOKUPS = 500
"""Under way at a time."""

MAX_RECORDS = 256
"""In an answer; one with more is none."""

MAX_BYTES = 16 * 1024
"""Of the values of an answer; one with more is none."""

MAX_REMEMBERED = 20_000
"""Answers that are remembered; the one not used for longest goes."""

MAX_REMEMBERED_BYTES = 32 * 1024 * 1024
"""What they may take together."""

UNSHARED_PART = 4
"""One in so many of them is for answers that one client network alone has asked for. They have more
only where there is room: so no stranger drives out what others share.
"""

MAX_CNAMES = 8
"""Questions asked after another because an answer ended in a CNAME."""

TRIES = 3
"""Of each server; each waits twice as long as the one before."""

LEAST_TRY_SECONDS = 0.25
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

_OVERHEAD_BYTES = 400  # what a remembered answer takes beside its name and values, about

_LABEL = rb"[!-\-/-~]{1,63}"  # printable, and no dot
_STANDS_IN_DNS = re.compile(rb"(?!.{254})" + _LABEL + rb"(?:\." + _LABEL + rb")*")
_CAN_BE_ASKED = re.compile(rb"[a-z0-9_.*/-]+")  # c-ares takes nothing else
_ABSENT = Answer(exists=False)

_DATA = {
    Kind.A: pycares.ARecordData,
    Kind.AAAA: pycares.AAAARecordData,
    Kind.MX: pycares.MXRecordData,
    Kind.PTR: pycares.PTRRecordData,
    Kind.TXT: pycares.TXTRecordData,
}
_RESULTS = {
    pycares.errno.ARES_ENODATA: Result.NODATA,
    pycares.errno.ARES_ENOTFOUND: Result.NXDOMAIN,
    pycares.errno.ARES_ETIMEOUT: Result.TIMEOUT,
}

# aiodns warns where inotify can't be had, with each channel; that costs nothing here, see above.
logging.getLogger("aiodns").addHandler(logging.NullHandler())


class Watcher(Protocol):
    """Is told what happens, without names."""

    def found_in_cache(self) -> None:
        """Note that an answer was remembered."""

    def looked_up(self, kind: Kind, result: Result, seconds: float | None) -> None:
        """Note a lookup that has ended; None where it was not begun."""


class _Entry(NamedTuple):
    """What is remembered of a question."""

    answer: Answer | None
    """None: there was none to be had."""
    failure: str
    expires_at: float
    raw_bytes: int
    network: Key | None = None
    """Of the client that it was asked for first."""


class _Outcome(NamedTuple):
    """What became of a lookup."""

    result: Result
    seconds: float
    """How long that is true."""
    values: tuple[bytes, ...] = ()
    failure: str = ""


class _NoAnswer(Exception):
    """What came is none; the text says why."""


_Question = tuple[bytes, Kind]


@dataclass(slots=True)
class _LookUp:
    """A lookup that waits for its turn, or is in flight."""

    question: _Question
    tickets: list[Ticket[_LookUp]] = field(default_factory=list)
    """Of each network that waits for it, until it is in flight: then the one that it counts for."""
    started: float | None = None
    seconds: float = MAX_SECONDS
    """The smallest TTL so far."""
    cnames: int = 0
    waiting: list[asyncio.Future[_Entry]] = field(default_factory=list)


class Resolver(Lookup):
    """A process's resolver. It may be made anywhere; it belongs to the loop that it is asked in."""

    def __init__(
        self,
        servers: Sequence[Endpoint] = (),
        timeout_seconds: float = 1.5,
        watcher: Watcher | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask ``servers``, which are addresses; without any those in /etc/resolv.conf.

        Args:
            servers: whom to ask.
            timeout_seconds: how long those who ask wait for all they ask, together. They see to
                that themselves; here questions are repeated so that two repeats fit into it.
            watcher: is told what happens.
            now: a clock, in seconds.
        """
        self._servers = [_shown(each) for each in servers]
        self._timeout_seconds = timeout_seconds
        self._watcher = watcher
        self._now = now
        self._remembered = _Remembered()
        self._under_way: dict[_Question, _LookUp] = {}
        self._shares: FairShare[_LookUp] = FairShare(MAX_LOOKUPS, self._drop)
        self._asked: dict[asyncio.Future[Any], aiodns.DNSResolver] = {}
        self._channel: aiodns.DNSResolver | None = None
        self._channel_until = 0.0
        self._channel_lookups = 0
        self._closed = False

    # Asking -------------------------------------------------------------------------------------

    def cached(self, name: bytes, kind: Kind) -> Answer | None:
        """Return what is known of a name without asking; None where ``query`` has to be awaited."""
        return self._cached(NOBODY, name, kind)

    def _cached(self, client: Client, name: bytes, kind: Kind) -> Answer | None:
        entry = self._recall((name, kind), client)
        if entry is not None and entry.answer is not None:
            if self._watcher is not None:
                self._watcher.found_in_cache()
            return entry.answer
        return None if _STANDS_IN_DNS.fullmatch(name) else _ABSENT

    async def query(self, name: bytes, kind: Kind) -> Answer:
        """Ask for records, see ``greyd.dns.lookup.Lookup``; may be cancelled at any time.

        c-ares asks for letters, digits and ``_.*/-`` only: other names have no answer.
        """
        return await self.query_for(NOBODY, name, kind)

    def for_client(self, address: Address) -> Lookup:
        """Return what asks for a client, whose share of the lookups it has."""
        return _ForClient(self, client_of(address))

    async def query_for(self, client: Client, name: bytes, kind: Kind) -> Answer:
        """Ask for a client."""
        name = name.lower()
        answer = self._cached(client, name, kind)
        if answer is not None:
            return answer
        entry = self._recall((name, kind), client) or await self._join(client, name, kind)
        if entry.answer is None:
            raise DnsError(f"{kind.value} of {name.decode('ascii')}: {entry.failure}")
        return entry.answer

    async def _join(self, client: Client, name: bytes, kind: Kind) -> _Entry:
        """Wait for the lookup of a question, which begins in its turn where none is under way."""
        if self._closed:
            raise DnsError("the resolver is closed")
        if not _CAN_BE_ASKED.fullmatch(name):
            raise DnsError(f"{name.decode('ascii')}: a name that can't be asked for")
        look_up = self._under_way.setdefault((name, kind), _LookUp((name, kind)))
        waiting: asyncio.Future[_Entry] = asyncio.get_running_loop().create_future()
        look_up.waiting.append(waiting)
        if look_up.started is None and client.network not in [
            each.network for each in look_up.tickets
        ]:
            ticket = Ticket(look_up, name, client)
            look_up.tickets.append(ticket)
            self._shares.enter(ticket)
            self._begin()
        try:
            return await waiting
        except asyncio.CancelledError:
            # Of several who are cancelled at once, the first has given it up for all.
            is_waited_for = self._under_way.get(look_up.question) is look_up
            if is_waited_for and look_up.started is None and all(w.done() for w in look_up.waiting):
                self._give_up(look_up, "nobody waits for it any more")
            raise

    def _begin(self) -> None:
        """Begin what may begin now."""
        while ticket := self._shares.take():
            look_up = ticket.what
            for other in look_up.tickets:
                self._shares.withdraw(other)
            look_up.tickets, look_up.started = [ticket], self._now()
            try:
                self._ask(look_up, look_up.question[0])
            except pycares.AresError as error:
                self._shares.leave(ticket, is_answered=False)
                self._give_up(look_up, f"no lookup can be begun: {error}")

    def _drop(self, ticket: Ticket[_LookUp]) -> None:
        """Note that there is no room for a lookup to wait."""
        look_up = ticket.what
        look_up.tickets.remove(ticket)
        if not look_up.tickets:
            self._give_up(look_up, "too many lookups are under way, and wait")

    def _give_up(self, look_up: _LookUp, reason: str) -> None:
        """End a lookup that has not begun; nothing of it is remembered."""
        for ticket in look_up.tickets:
            self._shares.withdraw(ticket)
        del self._under_way[look_up.question]
        if self._watcher is not None:
            self._watcher.looked_up(look_up.question[1], Result.TOO_MANY, None)
        self._tell(look_up, _Entry(None, reason, 0, 0))

    @staticmethod
    def _tell(look_up: _LookUp, entry: _Entry) -> None:
        for waiting in look_up.waiting:
            if not waiting.done():
                waiting.set_result(entry)

    def _ask(self, look_up: _LookUp, name: bytes) -> None:
        channel = self._current_channel()
        future = channel.query_dns(name.decode("ascii"), look_up.question[1].value)
        # One that is replaced meanwhile closes itself when nobody holds it any more.
        self._asked[future] = channel
        future.add_done_callback(partial(self._answered, look_up, name))

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
                timeout=max(self._timeout_seconds / 5, LEAST_TRY_SECONDS),
                tries=TRIES,
            )
            self._channel_until = now + CHANNEL_SECONDS
            self._channel_lookups = 0
        self._channel_lookups += 1
        return self._channel

    # Answers ------------------------------------------------------------------------------------

    def _answered(
        self, look_up: _LookUp, name: bytes, future: asyncio.Future[pycares.DNSResult]
    ) -> None:
        """Take an answer: go on where it leads elsewhere, else tell all who wait."""
        del self._asked[future]
        try:
            outcome = self._read(look_up, name, future)
        except Exception as error:  # noqa: BLE001 - a _NoAnswer; and nobody may wait for ever
            outcome = _failed(str(error) or type(error).__name__)
        if outcome is None:
            return
        question, now = look_up.question, self._now()
        del self._under_way[question]
        for ticket in look_up.tickets:
            self._shares.leave(ticket, is_answered=outcome.result is not Result.TIMEOUT)
        if self._watcher is not None:
            self._watcher.looked_up(question[1], outcome.result, now - (look_up.started or now))
        self._tell(look_up, self._remember(look_up, outcome, now))
        self._begin()

    def _read(
        self, look_up: _LookUp, name: bytes, future: asyncio.Future[pycares.DNSResult]
    ) -> _Outcome | None:
        """Return what an answer says; None where another question has been asked for it."""
        error = future.exception()
        if error is not None:
            return _of_error(error, look_up.seconds)
        response = future.result()
        kind = look_up.question[1]
        sections = (response.answer, response.authority, response.additional)
        if sum(map(len, sections)) > 2 * MAX_RECORDS:
            raise _NoAnswer(f"more than {2 * MAX_RECORDS} records of all sections")
        end, look_up.seconds = _follow(response, name, look_up.seconds)
        records = [
            record
            for record in response.answer
            if isinstance(record.data, _DATA[kind]) and _name(record.name) == end
        ]
        if records:
            look_up.seconds = min(look_up.seconds, *(record.ttl for record in records))
            return _Outcome(Result.ANSWERED, look_up.seconds, _values(kind, records))
        soa_seconds = _soa_seconds(response)
        if end == name or soa_seconds is not None:
            seconds = NEGATIVE_SECONDS if soa_seconds is None else soa_seconds
            return _Outcome(Result.NODATA, min(look_up.seconds, seconds))
        if look_up.cnames == MAX_CNAMES or not _CAN_BE_ASKED.fullmatch(end) or self._closed:
            raise _NoAnswer("its CNAMEs lead nowhere")
        look_up.cnames += 1
        self._ask(look_up, end)
        return None

    # Remembering --------------------------------------------------------------------------------

    def _recall(self, question: _Question, client: Client) -> _Entry | None:
        entry = self._remembered.get(question, client.network)
        return None if entry is None or entry.expires_at <= self._now() else entry

    def _remember(self, look_up: _LookUp, outcome: _Outcome, now: float) -> _Entry:
        question = look_up.question
        failed = outcome.result in (Result.FAILED, Result.TIMEOUT)
        answer = Answer(outcome.values, outcome.result is not Result.NXDOMAIN)
        seconds = max(LEAST_SECONDS, min(outcome.seconds, MAX_SECONDS))
        raw_bytes = len(question[0]) + sum(map(sys.getsizeof, outcome.values)) + _OVERHEAD_BYTES
        network = look_up.tickets[0].network
        entry = _Entry(
            None if failed else answer, outcome.failure, now + seconds, raw_bytes, network
        )
        self._remembered.put(question, entry)
        return entry

    # The end ------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Give up what is under way; those who wait get a ``DnsError``."""
        self._closed = True
        for look_up in list(self._under_way.values()):
            if look_up.started is None:
                self._give_up(look_up, "the resolver is closed")
        channels = set(self._asked.values())
        if self._channel is not None:
            channels.add(self._channel)
        for channel in channels:
            await channel.close()
        # c-ares tells of what it has given up from its thread, through the loop: that must not be
        # closed before.
        if self._asked:
            await asyncio.wait(self._asked, timeout=CLOSE_SECONDS)


class _Answers:
    """Answers, that not used for longest first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[_Question, _Entry] = OrderedDict()
        self.raw_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: _Question) -> _Entry | None:
        entry = self._entries.get(question)
        if entry is not None:
            self._entries.move_to_end(question)
        return entry

    def put(self, question: _Question, entry: _Entry) -> None:
        self._entries[question] = entry
        self.raw_bytes += entry.raw_bytes

    def pop(self, question: _Question) -> None:
        if entry := self._entries.pop(question, None):
            self.raw_bytes -= entry.raw_bytes

    def forget_oldest(self) -> None:
        self.raw_bytes -= self._entries.popitem(last=False)[1].raw_bytes


class _Remembered:
    """All answers: those that several client networks have asked for, and the others."""

    def __init__(self) -> None:
        self._shared, self._unshared = _Answers(), _Answers()

    def get(self, question: _Question, network: Key) -> _Entry | None:
        """Return an answer for a client network."""
        if entry := self._shared.get(question):
            return entry
        entry = self._unshared.get(question)
        if entry is not None and entry.network != network:
            self._unshared.pop(question)
            self._shared.put(question, entry)
        return entry

    def put(self, question: _Question, entry: _Entry) -> None:
        """Remember an answer in place of the one before, and forget what is too much."""
        answers = self._unshared if self._shared.get(question) is None else self._shared
        answers.pop(question)
        answers.put(question, entry)
        while (
            len(self._shared) + len(self._unshared) > MAX_REMEMBERED
            or self._shared.raw_bytes + self._unshared.raw_bytes > MAX_REMEMBERED_BYTES
        ):
            self._fullest.forget_oldest()

    @property
    def _fullest(self) -> _Answers:
        """Of the two the one that has more than its part."""
        unshared = self._unshared
        has_more = (
            len(unshared) > MAX_REMEMBERED // UNSHARED_PART
            or unshared.raw_bytes > MAX_REMEMBERED_BYTES // UNSHARED_PART
        )
        return unshared if has_more or not self._shared else self._shared


class _ForClient(Lookup):
    """Asks for one client."""

    def __init__(self, resolver: Resolver, client: Client) -> None:
        self._resolver = resolver
        self._client = client

    async def query(self, name: bytes, kind: Kind) -> Answer:
        return await self._resolver.query_for(self._client, name, kind)


def _shown(server: Endpoint) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"


def _name(text: str | bytes) -> bytes:
    """Return a name as c-ares tells it; what is odd in it comes with a backslash."""
    return (text.encode("ascii") if isinstance(text, str) else text).lower()


def _failed(reason: str) -> _Outcome:
    return _Outcome(Result.FAILED, FAILURE_SECONDS, failure=reason)


def _of_error(error: BaseException, seconds: float) -> _Outcome:
    """Return what an error of aiodns says: number and text."""
    if not isinstance(error, aiodns.error.DNSError):
        return _failed(str(error))
    number, text = error.args
    result = _RESULTS.get(number, Result.FAILED)
    if result in (Result.NODATA, Result.NXDOMAIN):
        return _Outcome(result, min(seconds, NEGATIVE_SECONDS))
    return _Outcome(result, FAILURE_SECONDS, failure=text)


def _follow(response: pycares.DNSResult, name: bytes, seconds: float) -> tuple[bytes, float]:
    """Return where an answer's CNAMEs lead, and the smallest TTL on the way."""
    start = name
    cnames = {
        _name(record.name): (_name(record.data.cname), record.ttl)
        for record in response.answer
        if isinstance(record.data, pycares.CNAMERecordData)
    }
    while cname := cnames.pop(name, None):
        name, ttl = cname
        seconds = min(seconds, ttl)
        if name == start:
            raise _NoAnswer("its CNAMEs go in a circle")
    return name, seconds


def _soa_seconds(response: pycares.DNSResult) -> float | None:
    """Return how long there is nothing (RFC 2308, 5); None where the answer does not say."""
    for record in response.authority:
        if isinstance(record.data, pycares.SOARecordData):
            return float(min(record.ttl, record.data.minimum))
    return None


def _values(kind: Kind, records: list[Any]) -> tuple[bytes, ...]:
    if len(records) > MAX_RECORDS:
        raise _NoAnswer(f"more than {MAX_RECORDS} records")
    if kind is Kind.MX:
        records.sort(key=lambda record: record.data.priority)
        values = [_name(record.data.exchange) for record in records]
        # RFC 7505: a lone MX of the root says that the domain takes no mail.
        values = [each for each in values if _can_be_named(each) or not each]
    elif kind is Kind.PTR:
        values = [_name(record.data.dname) for record in records]
        values = [each for each in values if _can_be_named(each)]
    elif kind is Kind.TXT:
        values = [record.data.data for record in records]
    else:
        family = AF_INET if kind is Kind.A else AF_INET6
        values = [inet_pton(family, record.data.addr) for record in records]
    if sum(map(len, values)) > MAX_BYTES:
        raise _NoAnswer(f"more than {MAX_BYTES} octets")
    return tuple(values)


def _can_be_named(name: bytes) -> bool:
    return _STANDS_IN_DNS.fullmatch(name) is not None and b"\\" not in name
