"""Who tried to send what to whom, and what became of it: attempts, out of the lines of a mail log.

Each decision of greyd or postgrey is an attempt. Where a log has none, Postfix's lines tell of
attempts as well: a recipient that was rejected as greylisted, and the recipients of mail that was
accepted, whose lines belong together by the queue's number. From the first decision on only
decisions count, for Postfix tells of the same attempts; but its lines still tell the HELO, and the
names that did not lead back to their address, which a decision's line lacks.

All that a log can make this hold is bounded.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from greyd.lru import LruCache
from greyd.maillog.decisions import parse_decision
from greyd.rules.address import parse_address
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from greyd.maillog.decisions import LoggedDecision
    from greyd.maillog.lines import LogLine
    from greyd.rules.address import Address


PROGRAMS = (
    b"greyd", b"postgrey", b"postfix/smtpd", b"postfix/qmgr", b"postfix/smtp", b"postfix/lmtp",
    b"postfix/local", b"postfix/virtual", b"postfix/pipe", b"postfix/error", b"postfix/discard",
)  # fmt: skip
"""Whose lines are read."""

HOLD_SECONDS = 60
"""For which an attempt is kept back: what else the log says of it comes a little later."""

MAX_QUEUED_MESSAGES = 50_000
"""Messages whose lines are waited for."""

MAX_RECIPIENTS = 1000
"""Of a message."""

MAX_CLIENTS = 100_000
"""Whose HELO is remembered."""

_LOCAL = [
    network
    for text in (
        b"127.0.0.0/8", b"10.0.0.0/8", b"172.16.0.0/12", b"192.168.0.0/16", b"169.254.0.0/16",
        b"::1/128", b"fc00::/7", b"fe80::/10",
    )
    if (network := parse_network(text))
]  # fmt: skip


class Attempt(NamedTuple):
    """One try to hand in one mail for one recipient."""

    when: int
    client_name: bytes
    client_address: bytes
    sender: bytes
    recipient: bytes
    passed: bool
    """Whether greylisting let it in."""
    reason: str = ""
    """Why, as greyd or postgrey says; empty where only Postfix tells of it."""
    delay_seconds: int | None = None
    """How long it had waited, where the log says so."""
    helo: bytes | None = None
    reverse_name: bytes | None = None
    """The client's name that did not lead back to its address."""
    identity: bytes = b""
    """For whom it was known to send."""
    signals: tuple[str, ...] = ()


@dataclass
class AttemptStatistics:
    """What a log turned out to have."""

    decisions: int = 0
    """Of greyd or postgrey."""
    of_postfix: int = 0
    """Attempts that only Postfix tells of."""
    undated: int = 0
    """Lines left out because they have no date."""


def attempts_in(lines: Iterable[LogLine], reading: AttemptStatistics) -> Iterator[Attempt]:
    """Yield the attempts of a log in the order of their times; ``reading`` counts."""
    return _AttemptCollector(reading).run(lines)


@dataclass(slots=True)
class _QueuedMessage:
    """A message in Postfix's queue."""

    when: float
    client_name: bytes
    client_address: bytes
    authenticated: bool
    sender: bytes | None = None
    recipients: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class _ClientNames:
    """What Postfix told of a client."""

    helo: bytes | None = None
    reverse: bytes | None = None


_ID = rb"([0-9A-Za-z]{5,30}): "
_PEER = rb"([^\s\[]{1,300})\[([0-9A-Fa-f:.]{2,50})\](?::[0-9]{1,5})?"
_CLIENT = re.compile(_ID + rb"client=" + _PEER + rb"(.*)").match
_FROM = re.compile(_ID + rb"from=<(.*)>, size=").match
_TO = re.compile(_ID + rb"to=<(.*?)>, (?:orig_to=<(.*?)>, )?relay=").match
_REMOVED = re.compile(_ID + rb"removed").match
_REJECT = re.compile(
    rb"[0-9A-Za-z]{5,30}: reject: RCPT from " + _PEER + rb": ([45])[0-9]{2} (.*);"
    rb" from=<(.*?)> to=<(.*?)> proto=[A-Z]{1,10}(?: helo=<(.*)>)?"
).match
_GREYLISTED = re.compile(rb"gr[ea]y.?list", re.IGNORECASE).search
_MISMATCH = (
    re.compile(
        rb"warning: hostname (\S{1,255}) does not resolve to address ([0-9a-fA-F:.]+?)(?::? |$)"
    ),
    re.compile(rb"warning: ([0-9a-fA-F:.]+): (?:address not listed for )?hostname (\S{1,255})"),
)


class _AttemptCollector:
    """Makes attempts of lines."""

    def __init__(self, reading: AttemptStatistics) -> None:
        self._reading = reading
        self._names: LruCache[_ClientNames] = LruCache(MAX_CLIENTS)
        self._queue: LruCache[_QueuedMessage] = LruCache(MAX_QUEUED_MESSAGES)
        self._held: list[tuple[float, int, Attempt]] = []
        self._number = 0
        self._last = 0.0

    def run(self, lines: Iterable[LogLine]) -> Iterator[Attempt]:
        """Yield the attempts."""
        held = self._held
        for line in lines:
            if not line.when:
                self._undated(line)
                continue
            if b"/" in line.program:
                self._see_postfix(line)
            elif decision := parse_decision(line.when, line.text):
                self._see_decision(decision)
            while held and held[0][0] < line.when - HOLD_SECONDS:
                yield self._released()
        while held:
            yield self._released()

    def _undated(self, line: LogLine) -> None:
        # greyd's JSON has a date of its own.
        decision = parse_decision(0.0, line.text) if line.text[:1] == b"{" else None
        if decision is not None and decision.when:
            self._see_decision(decision)
        else:
            self._reading.undated += 1

    def _hold(self, when: float, attempt: Attempt) -> None:
        self._number += 1
        heapq.heappush(self._held, (when, self._number, attempt))

    def _released(self) -> Attempt:
        """Return the next attempt, with what has become known of its client; none is set back."""
        when, _, attempt = heapq.heappop(self._held)
        self._last = max(self._last, when)
        names = self._names.get(attempt.client_address)
        helo, reverse = (names.helo, names.reverse) if names else (None, None)
        return attempt._replace(when=int(self._last), helo=helo, reverse_name=reverse)

    # greyd and postgrey -------------------------------------------------------------------------

    def _see_decision(self, told: LoggedDecision) -> None:
        if not self._reading.decisions:
            # Postfix tells of the same attempts: what it told of this one already goes.
            kept = [each for each in self._held if each[0] < told.when - HOLD_SECONDS / 2]
            self._reading.of_postfix -= len(self._held) - len(kept)
            heapq.heapify(kept)
            self._held[:] = kept
        self._reading.decisions += 1
        attempt = Attempt(
            0,
            told.client_name,
            told.client_address,
            told.sender,
            told.recipient,
            told.action == "pass",
            told.reason,
            told.delay_seconds,
            identity=told.identity,
            signals=tuple(told.signals.decode().split("+")) if told.signals else (),
        )
        self._hold(told.when, attempt)

    # Postfix ------------------------------------------------------------------------------------

    def _see_postfix(self, line: LogLine) -> None:
        text = line.text
        if line.program.endswith(b"smtpd"):
            self._see_smtpd(line)
        elif self._reading.decisions:
            return
        elif told := _TO(text):
            self._see_delivery(told[1], told[3] or told[2])
        elif told := _FROM(text):
            if (queued := self._queue.get(told[1])) is not None:
                queued.sender = told[2]
        elif told := _REMOVED(text):
            self._queue.pop(told[1])

    def _see_smtpd(self, line: LogLine) -> None:
        text = line.text
        if b": reject: RCPT from" in text and (told := _REJECT(text)):
            name, address, kind, why, sender, recipient, helo = told.groups()
            if helo is not None:
                self._names_of(address).helo = helo
            if kind == b"4" and not self._reading.decisions and _GREYLISTED(why):
                self._reading.of_postfix += 1
                self._hold(line.when, Attempt(0, name, address, sender, recipient, passed=False))
        elif b": client=" in text and (told := _CLIENT(text)):
            if not self._reading.decisions:
                sasl = b"sasl_username=" in told[4]
                self._queue.put(told[1], _QueuedMessage(line.when, told[2], told[3], sasl))
        elif text.startswith(b"warning: "):
            self._see_warning(text)

    def _see_warning(self, text: bytes) -> None:
        if told := _MISMATCH[0].match(text):
            self._names_of(told[2]).reverse = told[1]
        elif told := _MISMATCH[1].match(text):
            self._names_of(told[1]).reverse = told[2]

    def _see_delivery(self, number: bytes, recipient: bytes) -> None:
        """See that a message was accepted for a recipient; where it goes does not matter."""
        queued = self._queue.get(number)
        if queued is None or queued.sender is None or recipient in queued.recipients:
            return
        if len(queued.recipients) >= MAX_RECIPIENTS:
            return
        address = parse_address(queued.client_address)
        if address is None or (_is_local(address) and not queued.authenticated):
            return
        queued.recipients.add(recipient)
        self._reading.of_postfix += 1
        attempt = Attempt(
            0,
            queued.client_name,
            queued.client_address,
            queued.sender,
            recipient,
            passed=True,
            reason="outbound" if queued.authenticated else "",
        )
        self._hold(queued.when, attempt)

    def _names_of(self, address: bytes) -> _ClientNames:
        if (names := self._names.get(address)) is None:
            names = _ClientNames()
            self._names.put(address, names)
        return names


def _is_local(address: Address) -> bool:
    """Whether mail from there is the site's own, and comes to no greylisting."""
    return any(network.holds(address) for network in _LOCAL)
