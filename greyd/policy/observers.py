"""Observers of a server's events: log, metrics, whitelist hits, dry run, simulation.

Replies have priority: the decisions of one turn of the event loop are collected, and passed to the
observers after their replies have been sent. All other events are passed at once, but after the
decisions collected before them. So each observer gets all events in order.
"""

# ruff: noqa: ARG002 - an observer ignores the events that it does not define

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.dns.sources.faults import SourceFault
    from greyd.policy.events import DecisionEvent
    from greyd.policy.shadow_decision import ShadowDecision
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request


class Observer(Protocol):
    """Observes a server's events. The methods here do nothing; an observer overrides some of them.

    All methods are called on the event loop's thread.
    """

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Observe answered requests, in the order of their replies."""
        return

    def auto_whitelisted(
        self, request: Request, decision: Decision, evidence: Evidence | None
    ) -> None:
        """Observe that a decision makes a client or an identity auto-whitelisted.

        The ``DecisionEvent`` of the request follows.
        """
        return

    def probed(self, request: Request) -> None:
        """Observe a request from ``greyd doctor``; it is not mail, so no decision follows."""
        return

    def unanswered(self, request: Request) -> None:
        """Observe a request without a reply: its ``request`` is not ``smtpd_access_policy``."""
        return

    def protocol_error(self, message: str, data: bytes) -> None:
        """Observe input that violates the policy protocol.

        Args:
            message: the fault, and how greyd reacts to it.
            data: the input, or its beginning; may be empty.
        """
        return

    def outbound_not_learnt(self, request: Request) -> None:
        """Observe outbound mail whose login may not use its sender, so that it is not learnt.

        The ``DecisionEvent`` of the request follows.
        """
        return

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:
        """Observe an error that only a fault in greyd explains.

        Args:
            part: the part of greyd, one of ``greyd.monitoring.metrics.PARTS``.
            error: the exception.
            outcome: the consequence, e.g. "starting again in 1 s"; may be empty.
        """
        return

    def store_changed(self, reason: str | None) -> None:
        """Observe that the store has failed, or answers again.

        Args:
            reason: why the store has failed; None if it answers again.
        """
        return

    def dns_source_changed(self, name: str, fault: SourceFault | None) -> None:
        """Observe that a DNS list or the resolver is out of order, or back.

        Args:
            name: the zone of the list, or ``resolver``.
            fault: what is wrong; None if it is in order again.
        """
        return

    def mode_changed(self, mode: str, reason: str) -> None:
        """Observe that another mode is in force.

        Args:
            mode: ``on``, ``off`` or ``learn``.
            reason: the text that the log adds to the mode: until when, and by whom.
        """
        return

    def mode_without_end(self, mode: str, reason: str) -> None:
        """Observe that a mode without end lets all mail pass: once a day, on one of the servers.

        Args:
            mode: ``off`` or ``learn``.
            reason: the text that the log adds to the mode: by whom and since when.
        """
        return

    def administered(self, description: str) -> None:
        """Observe an administrator's action, e.g. that a command has released a triplet."""
        return

    def shadow_decided(self, decisions: Sequence[ShadowDecision]) -> None:
        """Observe decisions of the shadow (``--shadow``), in their order."""
        return

    def shadow_skipped(self, count: int) -> None:
        """Observe that the shadow has not decided ``count`` requests, because too many waited."""
        return


class Observers:
    """Passes each event to all observers; passes decisions in batches."""

    def __init__(self, *observers: Observer) -> None:
        """Pass each event to ``observers``, in this order."""
        self._observers = observers
        self._decisions: list[DecisionEvent] = []
        self._schedule_flush: Callable[[], object] | None = None

    def add(self, *observers: Observer) -> None:
        """Pass each event from now on to ``observers`` too, after all others."""
        self._observers += observers

    def batch(self, schedule_flush: Callable[[], object] | None) -> None:
        """Set whether decisions are collected in batches; at first they are not.

        Args:
            schedule_flush: called with no arguments at the first decision of a batch; has to cause
                a later call of ``flush``. None passes each decision at once.
        """
        self._schedule_flush = schedule_flush
        self.flush()

    def decided(self, event: DecisionEvent) -> None:
        """Pass an answered request to the observers, now or with its batch."""
        self._decisions.append(event)
        if self._schedule_flush is None:
            self.flush()
        elif len(self._decisions) == 1:
            self._schedule_flush()

    def flush(self) -> None:
        """Pass the collected decisions to the observers."""
        if self._decisions:
            events, self._decisions = self._decisions, []
            for observer in self._observers:
                observer.decided(events)

    def auto_whitelisted(
        self, request: Request, decision: Decision, evidence: Evidence | None
    ) -> None:
        """Pass that a client or an identity is auto-whitelisted, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.auto_whitelisted(request, decision, evidence)

    def probed(self, request: Request) -> None:
        """Forward a request from ``greyd doctor``; see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.probed(request)

    def unanswered(self, request: Request) -> None:
        """Pass a request that gets no reply, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.unanswered(request)

    def protocol_error(self, message: str, data: bytes = b"") -> None:
        """Pass a protocol error, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.protocol_error(message, data)

    def outbound_not_learnt(self, request: Request) -> None:
        """Pass outbound mail that is not learnt, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.outbound_not_learnt(request)

    def internal_error(self, part: str, error: BaseException, outcome: str = "") -> None:
        """Pass an internal error, see ``Observer``.

        Call it on the event loop's thread; other threads use ``loop.call_soon_threadsafe``.
        """
        self.flush()
        for observer in self._observers:
            observer.internal_error(part, error, outcome)

    def store_changed(self, reason: str | None) -> None:
        """Pass a change of the store's state, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.store_changed(reason)

    def dns_source_changed(self, name: str, fault: SourceFault | None) -> None:
        """Pass a change of a DNS source's state, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.dns_source_changed(name, fault)

    def mode_changed(self, mode: str, reason: str) -> None:
        """Pass a change of mode, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.mode_changed(mode, reason)

    def mode_without_end(self, mode: str, reason: str) -> None:
        """Pass a warning about a mode, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.mode_without_end(mode, reason)

    def administered(self, description: str) -> None:
        """Pass an administrator's action, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.administered(description)

    def shadow_decided(self, decisions: Sequence[ShadowDecision]) -> None:
        """Pass decisions of the shadow, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.shadow_decided(decisions)

    def shadow_skipped(self, count: int) -> None:
        """Pass the number of requests that the shadow has skipped, see ``Observer``."""
        for observer in self._observers:
            observer.shadow_skipped(count)
