"""Log lines and counts of each decision.

Answers come first: what is to be logged and counted is gathered, and handled when the answers of
one
turn of the event loop are on their way. So counters add up to the requests answered.
"""

from __future__ import annotations

import time
from collections import Counter as Counted
from typing import TYPE_CHECKING, NamedTuple

from greyd.errors import describe_error
from greyd.escaping import percent_encode
from greyd.monitoring.log import Severity, render_json
from greyd.rules.evidence import NO_EVIDENCE, Evidence
from greyd.rules.reasons import PASS

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.monitoring.log import Log
    from greyd.monitoring.metrics import Metrics
    from greyd.rules.request import Request


MAX_LINES_A_SECOND = 20
"""About what was not understood."""


class _Answer(NamedTuple):
    request: Request
    action: str
    reason: str
    seconds: float
    detail: str
    delay_seconds: int | None
    evidence: Evidence


class Observer:
    """Writes and counts what happens."""

    def __init__(self, metrics: Metrics, log: Log, *, passes_without_store: bool = True) -> None:
        """Tell what happens, also what becomes of mail while the store is away."""
        self.metrics = metrics
        self.log = log
        self._meanwhile = "passing mail ungreylisted" if passes_without_store else "deferring mail"
        self._second = 0
        self._misunderstood = 0
        self._answers: list[_Answer] = []
        self._store_seconds: list[float] = []
        self._soon: Callable[[], object] | None = None

    def gather(self, soon: Callable[[], object] | None) -> None:
        """Call ``soon`` when there begins to be something to tell; it is to call ``flush`` later.

        Without it all is told at once.
        """
        self._soon = soon
        self.flush()

    def answered(
        self,
        request: Request,
        action: str,
        reason: str,
        seconds: float,
        detail: str = "",
        delay_seconds: int | None = None,
        evidence: Evidence = NO_EVIDENCE,
    ) -> None:
        """Log and count one answer.

        Args:
            request: what was asked.
            action: ``pass`` or ``greylist``.
            reason: a reason out of ``OUTCOMES``.
            seconds: how long the answer took.
            detail: what the log adds to the reason.
            delay_seconds: how long the mail has waited, where it now carries the header.
            evidence: what else was known of the client.
        """
        self._answers.append(
            _Answer(request, action, reason, seconds, detail, delay_seconds, evidence)
        )
        if self._soon is None:
            self.flush()
        elif len(self._answers) == 1:
            self._soon()

    def stored(self, seconds: float) -> None:
        """Count how long the store took over a request that is about to be answered."""
        self._store_seconds.append(seconds)

    def flush(self) -> None:
        """Tell what was gathered."""
        answers, self._answers = self._answers, []
        store_seconds, self._store_seconds = self._store_seconds, []
        metrics = self.metrics
        for (action, reason), number in Counted((each[1], each[2]) for each in answers).items():
            metrics.requests[action, reason].inc(number)
        for each in answers:
            metrics.duration.observe(each.seconds)
        for seconds in store_seconds:
            metrics.store_seconds.observe(seconds)
        if answers and self.log.most >= Severity.INFO:
            render = _json_line if self.log.as_json else _postgrey_line
            self.log.write_all(Severity.INFO, [render(each) for each in answers])

    def passed_first(self, waited_seconds: int) -> None:
        """Count mail that passes for the first time."""
        self.metrics.delay.observe(waited_seconds)

    def whitelisted(self, request: Request) -> None:
        """Log and count a client that is auto-whitelisted from now on."""
        self.flush()
        self.metrics.auto_whitelisted.inc()
        client = percent_encode(request.client_address or b"").decode()
        if request.client_name:
            client = f"{percent_encode(request.client_name).decode()}[{client}]"
        self.log.notice(f"whitelisted: {client}")

    def whitelisted_identity(self, identity: bytes) -> None:
        """Log and count an identity that is auto-whitelisted from now on."""
        self.flush()
        self.metrics.auto_whitelisted_identities.inc()
        self.log.notice(f"whitelisted: identity {percent_encode(identity).decode()}")

    def evidence_collected(self, evidence: Evidence) -> None:
        """Count what was found out of a client."""
        for signal in evidence.signals:
            self.metrics.signals[signal].inc()
        if evidence.unsure:
            self.metrics.unsure.inc()
        self.metrics.identities[evidence.way or "subnet"].inc()

    def failed(self, request: Request, error: Exception) -> None:
        """Log and count a request that a fault of greyd's own has hit, and that passes for it."""
        self.internal_error("requests", error, "the mail passes")
        self.answered(request, PASS, "internal error", 0.0)

    def stumbled(self, error: BaseException) -> None:
        """Log and count a fault of greyd's own that the mail need not feel."""
        self.internal_error("DNS", error, "going on without DNS")

    def internal_error(self, part: str, error: BaseException, outcome: str = "") -> None:
        """Log and count an error that nothing but a fault of greyd's own explains.

        To be called on the event loop's thread, as all that logs or counts; a thread calls it
        by ``loop.call_soon_threadsafe``.

        Args:
            part: one of ``PARTS``, which the log names and the metric has as its label.
            error: the cause; the log names its type, its text and where it was raised.
            outcome: what happens now, e.g. "starting again in 1 s".
        """
        self.flush()
        self.metrics.count_internal_error(part)
        then = f"; {outcome}" if outcome else ""
        self.log.error(f"internal error, {part}: {describe_error(error)}{then}")

    def protocol_error(self, what: str, data: bytes = b"") -> None:
        """Log and count something that is not the protocol; of many a second only some."""
        self.flush()
        self.metrics.protocol_errors.inc()
        second = int(time.monotonic())
        if second != self._second:
            if self._misunderstood > MAX_LINES_A_SECOND:
                more = self._misunderstood - MAX_LINES_A_SECOND
                self.log.warning(f"{more} more lines, requests or connections not understood")
            self._second, self._misunderstood = second, 0
        self._misunderstood += 1
        if self._misunderstood <= MAX_LINES_A_SECOND:
            shown = f": {percent_encode(data[:200]).decode()}" if data else ""
            self.log.warning(what + shown)

    def store_changed(self, reason: str | None) -> None:
        """Log and show that the store is away, or (with None) that it is back."""
        self.flush()
        self.metrics.store_up.set(0 if reason else 1)
        if reason:
            self.log.warning(f"store away: {reason}; {self._meanwhile} until it returns")
        else:
            self.log.notice("the store is back")


def _postgrey_line(answer: _Answer) -> bytes:
    """Return postgrey's log line; an empty attribute is left out."""
    request, action, reason, _, detail, delay_seconds, evidence = answer
    line = f"action={action}, reason={reason}{detail}".encode()
    if request.queue_id:
        line = request.queue_id + b": " + line
    if delay_seconds is not None:
        line += b", delay=%d" % delay_seconds
    if request.client_name:
        line += b", client_name=" + request.client_name
    if request.client_address:
        line += b", client_address=" + request.client_address
    if request.sender:
        line += b", sender=" + request.sender
    if request.recipient:
        line += b", recipient=" + request.recipient
    if evidence is not NO_EVIDENCE:
        line += _evidence(evidence)
    return percent_encode(line)


def _evidence(evidence: Evidence) -> bytes:
    """Return what a log line says of who asks, after all that postgrey's has."""
    said = b""
    if evidence.identity:
        said += b", identity=" + evidence.identity
    if evidence.signals:
        said += b", signals=" + "+".join(evidence.signals).encode()
    return said + b", dns=late" if evidence.unsure else said


def _json_line(answer: _Answer) -> bytes:
    event: dict[str, object] = {"action": answer.action, "reason": answer.reason + answer.detail}
    if answer.delay_seconds is not None:
        event["delay"] = answer.delay_seconds
    for name in ("queue_id", "client_name", "client_address", "sender", "recipient"):
        if value := getattr(answer.request, name):
            event[name] = value.decode(errors="backslashreplace")
    if answer.evidence.identity:
        event["identity"] = answer.evidence.identity.decode(errors="backslashreplace")
    if answer.evidence.signals:
        event["signals"] = list(answer.evidence.signals)
    if answer.evidence.unsure:
        event["dns"] = "late"
    return render_json(event, Severity.INFO)
