"""Collects attempts to deliver mail from the lines of a log.

Each decision of greyd or postgrey is an attempt. In a log without decisions, Postfix's lines show
attempts too: rejections of greylisted recipients, and the recipients of accepted mail, whose lines
share a queue ID. From the first decision on, only decisions count, because Postfix's lines report
the same attempts. Postfix's lines then only add two fields that a decision may lack: the HELO name,
and the client's name if it did not resolve back to the address.

Memory is bounded, whatever the log contains.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.lru import LruCache
from greyd.maillog.decisions import is_cut, parse_decision
from greyd.maillog.heads import is_postfix, mentions_decision
from greyd.maillog.rejections import parse_postfix_rejection
from greyd.rules.address import parse_address
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from greyd.maillog.decisions import LoggedDecision
    from greyd.maillog.heads import LogLine
    from greyd.maillog.statistics import ReadStatistics
    from greyd.rules.address import Address


HOLD_SECONDS = 60
"""How long an attempt is held back, because later lines may complete it."""

MAX_QUEUED_MESSAGES = 50_000
"""Messages that are stored because more of their lines may follow."""

MAX_RECIPIENTS = 1000
"""Recipients that are stored for one message."""

MAX_CLIENTS = 100_000
"""Clients whose HELO and reverse names are stored."""

_LOCAL_NETWORKS = [
    network
    for text in (
        b"127.0.0.0/8", b"10.0.0.0/8", b"172.16.0.0/12", b"192.168.0.0/16", b"169.254.0.0/16",
        b"::1/128", b"fc00::/7", b"fe80::/10",
    )
    if (network := parse_network(text))
]  # fmt: skip


@dataclass(slots=True)
class Attempt:
    """One attempt to deliver one mail to one recipient.

    Not frozen: a log has millions of attempts, and later lines set missing fields in place.
    """

    when: int
    """Unix time."""
    client_name: bytes
    client_address: bytes
    sender: bytes
    recipient: bytes
    passed: bool
    """Whether greylisting let the attempt pass; another check may still have rejected it."""
    reason: str = ""
    """The reason that greyd or postgrey logged; empty if only Postfix logged the attempt."""
    delay_seconds: int | None = None
    """How long the mail had waited; None if the log does not contain the delay."""
    helo: bytes | None = None
    reverse_name: bytes | None = None
    """The client's name if it did not resolve back to its address."""
    identity: bytes = b""
    """The organisation that the client sent for; empty if the log does not name one."""
    signals: tuple[str, ...] = ()
    other_identities: tuple[bytes, ...] = ()
    """Further organisations that the client sent for."""
    dns: str = ""
    """``late`` or ``off`` if the server got no answers from DNS."""
    protocol_name: bytes | None = None
    """``SMTP`` if the client sent HELO; None if the log does not have it."""


@dataclass
class AttemptStatistics:
    """Counts of the attempts in a log, and of the lines without a date."""

    decision_count: int = 0
    """Decisions of greyd or postgrey."""
    postfix_attempt_count: int = 0
    """Attempts that only Postfix logged."""
    undated_count: int = 0
    """Lines that were skipped because they have no date."""


def attempts_in(
    lines: Iterable[LogLine], statistics: AttemptStatistics, read: ReadStatistics | None = None
) -> Iterator[Attempt]:
    """Yield the attempts in a log, ordered by time, and count them in ``statistics``.

    Lines with a decision in an unknown form are counted in ``read``.
    """
    return AttemptCollector(statistics, read).run(lines)


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
    """The names of a client in Postfix's lines."""

    helo: bytes | None = None
    reverse: bytes | None = None


_ID = rb"([0-9A-Za-z]{5,30}): "
_PEER = rb"([^\s\[]{1,300})\[([0-9A-Fa-f:.]{2,50})\](?::[0-9]{1,5})?"
_CLIENT = re.compile(_ID + rb"client=" + _PEER + rb"(.*)").match
_FROM = re.compile(_ID + rb"from=<(.*)>, size=").match
_TO = re.compile(_ID + rb"to=<(.*?)>, (?:orig_to=<(.*?)>, )?relay=").match
_REMOVED = re.compile(_ID + rb"removed").match
_REJECT = re.compile(rb"[0-9A-Za-z]{5,30}: (?=(?:milter-)?reject: RCPT from )").match
_REJECTED_HELO = re.compile(
    rb"(?:milter-)?reject: RCPT from " + _PEER + rb":.*> proto=[A-Z]{1,10} helo=<([^<>\s]+)>"
).match
_GREYLISTED = re.compile(rb"gr[ea]y.?list", re.IGNORECASE).search
_MISMATCH = (
    re.compile(
        rb"warning: hostname (\S{1,255}) does not resolve to address ([0-9a-fA-F:.]+?)(?::? |$)"
    ),
    re.compile(rb"warning: ([0-9a-fA-F:.]+): (?:address not listed for )?hostname (\S{1,255})"),
)


class AttemptCollector:
    """Collects attempts, and holds each one back while later lines may still complete it."""

    def __init__(self, statistics: AttemptStatistics, read: ReadStatistics | None = None) -> None:
        self._statistics = statistics
        self._read = read
        self._names: LruCache[_ClientNames] = LruCache(MAX_CLIENTS)
        self._queue: LruCache[_QueuedMessage] = LruCache(MAX_QUEUED_MESSAGES)
        self._held: list[tuple[float, int, Attempt]] = []
        self._number = 0
        self._last = 0.0

    def run(self, lines: Iterable[LogLine]) -> Iterator[Attempt]:
        """Yield the attempts, ordered by time."""
        held = self._held
        for line in lines:
            self.add(line)
            if held and held[0][0] < line.when - HOLD_SECONDS:
                yield from self.due(line.when)
        yield from self.finish()

    def add(self, line: LogLine) -> None:
        """Add a line."""
        if not line.when:
            self._statistics.undated_count += 1
        elif is_postfix(line.program):
            self._add_postfix_line(line)
        elif (decision := parse_decision(line.when, line.text)) and (
            decision.recipient or not is_cut(decision, line.text)
        ):
            self._add_decision(decision)
        elif self._read and mentions_decision(line.text):
            self._read.add_unread(line.text)

    def due(self, now: float) -> Iterator[Attempt]:
        """Yield the attempts that no line at Unix time ``now`` or later can complete."""
        held = self._held
        while held and held[0][0] < now - HOLD_SECONDS:
            yield self._release()

    def finish(self) -> Iterator[Attempt]:
        """Yield the remaining attempts at the end of the log."""
        while self._held:
            yield self._release()

    def _hold(self, when: float, attempt: Attempt) -> None:
        self._number += 1
        heapq.heappush(self._held, (when, self._number, attempt))

    def _release(self) -> Attempt:
        """Remove the earliest attempt, add the client's names, and keep the times in order."""
        when, _, attempt = heapq.heappop(self._held)
        self._last = max(self._last, when)
        names = self._names.get(attempt.client_address)
        attempt.when = int(self._last)
        if names:
            if attempt.helo is None:
                attempt.helo = names.helo
            if attempt.reverse_name is None:
                attempt.reverse_name = names.reverse
        return attempt

    # greyd and postgrey -------------------------------------------------------------------------

    def _add_decision(self, decision: LoggedDecision) -> None:
        if not self._statistics.decision_count:
            # Postfix logged this attempt too: drop the attempts that come from its recent lines.
            kept = [each for each in self._held if each[0] < decision.when - HOLD_SECONDS / 2]
            self._statistics.postfix_attempt_count -= len(self._held) - len(kept)
            heapq.heapify(kept)
            self._held[:] = kept
        self._statistics.decision_count += 1
        is_unlearnt = decision.reason == "outbound" and bool(decision.detail)
        attempt = Attempt(
            0,
            decision.client_name,
            decision.client_address,
            decision.sender,
            decision.recipient,
            decision.action == "pass",
            # greyd has learnt nothing from outbound mail with a detail: it is any user's mail.
            "authenticated" if is_unlearnt else decision.reason,
            decision.delay_seconds,
            decision.helo_name,
            decision.reverse_client_name,
            identity=decision.identity,
            signals=tuple(decision.signals.decode().split("+")) if decision.signals else (),
            other_identities=tuple(filter(None, decision.other_identities.split(b"+"))),
            dns=decision.dns.decode(),
            protocol_name=decision.protocol_name,
        )
        self._hold(decision.when, attempt)

    # Postfix ------------------------------------------------------------------------------------

    def _add_postfix_line(self, line: LogLine) -> None:
        if line.program.endswith(b"smtpd"):
            self._add_smtpd_line(line)
        else:
            if line.program.endswith(b".service"):
                # A unit of systemd stands for all services.
                self._add_smtpd_line(line)
            self._add_queue_line(line.text)

    def _add_queue_line(self, text: bytes) -> None:
        if self._statistics.decision_count:
            return
        if found := _TO(text):
            self._add_delivery(found[1], found[3] or found[2])
        elif found := _FROM(text):
            if (queued := self._queue.get(found[1])) is not None:
                queued.sender = found[2]
        elif found := _REMOVED(text):
            self._queue.pop(found[1])

    def _add_smtpd_line(self, line: LogLine) -> None:
        text = line.text
        if b"reject: RCPT from" in text and (found := _REJECT(text)):
            self._add_rejection(line, found.end())
        elif b": client=" in text and (found := _CLIENT(text)):
            if not self._statistics.decision_count:
                sasl = b"sasl_username=" in found[4]
                self._queue.put(found[1], _QueuedMessage(line.when, found[2], found[3], sasl))
        elif text.startswith(b"warning: "):
            self._add_warning(text)

    def _add_rejection(self, line: LogLine, start: int) -> None:
        if self._statistics.decision_count:
            # Only the HELO name is missing in decisions.
            if found := _REJECTED_HELO(line.text, start):
                self._names_of(found[2]).helo = found[3]
            return
        if (rejection := parse_postfix_rejection(line.text, start)) is None:
            return
        given = rejection.attributes
        address = given["client_address"]
        if helo := given.get("helo_name"):
            self._names_of(address).helo = helo
        if rejection.is_temporary and _GREYLISTED(rejection.reply):
            self._statistics.postfix_attempt_count += 1
            attempt = Attempt(
                0,
                given.get("client_name", b""),
                address,
                given["sender"],
                given["recipient"],
                passed=False,
            )
            self._hold(line.when, attempt)

    def _add_warning(self, text: bytes) -> None:
        if found := _MISMATCH[0].match(text):
            self._names_of(found[2]).reverse = found[1]
        elif found := _MISMATCH[1].match(text):
            self._names_of(found[1]).reverse = found[2]

    def _add_delivery(self, queue_id: bytes, recipient: bytes) -> None:
        """Add an attempt that passed: Postfix accepted a message for a recipient."""
        queued = self._queue.get(queue_id)
        if queued is None or queued.sender is None or recipient in queued.recipients:
            return
        if len(queued.recipients) >= MAX_RECIPIENTS:
            return
        address = parse_address(queued.client_address)
        if address is None or (_is_local(address) and not queued.authenticated):
            return
        queued.recipients.add(recipient)
        self._statistics.postfix_attempt_count += 1
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
    """Whether an address belongs to the site itself, whose mail is not greylisted."""
    return any(network.contains(address) for network in _LOCAL_NETWORKS)
