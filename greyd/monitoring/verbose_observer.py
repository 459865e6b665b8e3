"""Logs each step of a decision (``--verbose``).

The lines of a request are logged together, before the line of its decision, and share a prefix.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from greyd.escaping import percent_encode
from greyd.monitoring.log import Severity
from greyd.policy.observers import Observer
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from greyd.monitoring.log import Log
    from greyd.policy.applied_settings import AppliedSettings
    from greyd.policy.events import DecisionEvent, Transaction
    from greyd.policy.policy import Policy
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request
    from greyd.rules.site_rules.sender_proof import SenderProof

MAX_VALUE_BYTES = 200
"""Maximum length of a client's value in a line; the rest is cut off."""


class VerboseObserver(Observer):
    """Logs the steps of each decision."""

    def __init__(self, log: Log, policy: Callable[[], Policy]) -> None:
        """Create an observer that writes to ``log``; ``policy`` returns the observed policy."""
        self._log = log
        self._policy = policy

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Log the steps of each decision."""
        for event in events:
            self._log_steps(event.request, self._steps(event))

    def probed(self, request: Request) -> None:
        """Log a request from ``greyd doctor``."""
        self._log_steps(request, iter([_asked(request), "answered: a probe of greyd doctor"]))

    def unanswered(self, request: Request) -> None:
        """Log a request that gets no reply."""
        self._log_steps(request, iter([_asked(request), "not answered"]))

    def _log_steps(self, request: Request, steps: Iterator[str]) -> None:
        triplet = (request.client_address, request.sender, request.recipient)
        prefix = "step: " + ", ".join(_shown(each or b"") for each in triplet)
        for step in steps:
            self._log.log(Severity.DEBUG, f"{prefix}: {step}")

    def _steps(self, event: DecisionEvent) -> Iterator[str]:
        yield _asked(event.request)
        if event.applied is not None:
            yield from _applied_steps(event.applied)
        if event.reason is not Reason.OUTBOUND:
            yield self._exemption(event)
        if event.sender_proof is not None:
            yield _proof_text(event.sender_proof)
        if event.evidence is not None:
            yield f"found out {_evidence_text(event.evidence)}"
        if event.store_error is not None:
            yield f"the store: {event.store_error}"
        if event.transaction is not None:
            yield from _transaction_steps(event.transaction)
        yield f"answered {_shown(event.reply)}"

    def _exemption(self, event: DecisionEvent) -> str:
        if event.is_sender_denied:
            return "expected from this sender, but its SPF record denies the client (fail)"
        if event.evidence is None and event.store_seconds is None:
            entry = event.whitelist_entry
            where = f", {entry.file}:{entry.line}: {_shown(entry.text)}" if entry else ""
            return f"exempt: {event.reason.text}{where}"
        policy = self._policy()
        in_force = event.applied.mode if event.applied else policy.mode
        mode = f"mode {in_force}, {len(policy.whitelists.clients)} clients and"
        lists = f"{len(policy.whitelists.recipients)} recipients whitelisted"
        return f"no list or option lets it pass ({mode} {lists})"


def _applied_steps(applied: AppliedSettings) -> Iterator[str]:
    """Yield what applies to this request, but not to all."""
    if applied.domain is not None:
        yield f"the recipient domain {applied.domain.domain} has its own settings"
    if applied.group is not None:
        yield f"the client belongs to the sender group {applied.group.name}"
    if (entry := applied.never_auto_entry) is not None:
        yield f"never auto-whitelisted: {entry.file}:{entry.line}: {_shown(entry.text)}"


def _proof_text(proof: SenderProof) -> str:
    if proof.way:
        return f"the sender is whitelisted and proven by {proof.way}"
    return f"the sender is whitelisted but not proven: {proof.missing}"


def _asked(request: Request) -> str:
    attributes = request._asdict().items()
    values = [f"{name}={_shown(value)}" for name, value in attributes if value is not None]
    return f"asked {' '.join(values)}"


def _evidence_text(evidence: Evidence) -> str:
    found = [
        f"{name}={_shown(value) if isinstance(value, bytes) else value}"
        for name, value in asdict(evidence).items()
        if value not in (b"", "", (), None, False)
    ]
    return " ".join(found) or "nothing"


def _transaction_steps(transaction: Transaction) -> Iterator[str]:
    for key, value in zip(transaction.keys, transaction.remembered, strict=True):
        yield f"remembered {_shown(key)}: {'nothing' if value is None else _shown(value)}"
    for change in transaction.changes:
        yield f"stored {_shown(change.key)}: {_shown(change.value)}"
    if transaction.decision is not None:
        yield _decided(transaction.decision)


def _decided(decision: Decision) -> str:
    outcome = "passes" if decision.passes else f"waits {decision.missing_seconds} s more"
    return f"decided: {decision.reason.text}, {outcome}, waited {decision.waited_seconds} s"


def _shown(data: bytes) -> str:
    return percent_encode(data[:MAX_VALUE_BYTES]).decode() or "(empty)"
