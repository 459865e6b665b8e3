"""Observers of a server's events: the log, metrics, whitelist hits, a dry run, a simulation.

Replies come first. Decisions made in one turn of the event loop are collected, and observed when
their replies are on the way. All other events are observed at once, after the decisions before
them, so each observer gets all events in order.
"""

# ruff: noqa: ARG002 - an observer ignores the events that it does not define

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.policy.events import DecisionEvent
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request


class Observer(Protocol):
    """Follows what happens in a server; an observer ignores the events that it does not define.

    All methods are called on the event loop's thread.
    """

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Observe answered requests, in the order of their answers."""
        return

    def auto_whitelisted(
        self, request: Request, decision: Decision, evidence: Evidence | None
    ) -> None:
        """Observe that a client or an identity is auto-whitelisted; its decision comes next."""
        return

    def unanswered(self, request: Request) -> None:
        """Observe a request that gets no reply, because it is not one for a policy server."""
        return

    def protocol_error(self, message: str, data: bytes) -> None:
        """Observe input that is not the policy protocol.

        Args:
            message: what is wrong, and what greyd does about it.
            data: the input, or its beginning; may be empty.
        """
        return

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:
        """Observe an error that only a fault in greyd explains.

        Args:
            part: one of ``greyd.monitoring.metrics.PARTS``.
            error: the cause.
            outcome: what happens now, e.g. "starting again in 1 s"; may be empty.
        """
        return

    def store_changed(self, reason: str | None) -> None:
        """Observe that the store has failed, for ``reason``, or answers again (None)."""
        return

    def mode_changed(self, mode: str, reason: str) -> None:
        """Observe that another mode is in force.

        Args:
            mode: ``on``, ``off`` or ``learn``.
            reason: until when and by whom, as the log adds it to the mode.
        """
        return

    def administered(self, description: str) -> None:
        """Observe what an administrator has done by a command, e.g. released a triplet."""
        return


class Observers:
    """Passes each event to all observers, decisions in batches."""

    def __init__(self, *observers: Observer) -> None:
        """Pass events to ``observers``, in their order."""
        self._observers = observers
        self._decisions: list[DecisionEvent] = []
        self._schedule_flush: Callable[[], object] | None = None

    def batch(self, schedule_flush: Callable[[], object] | None) -> None:
        """Collect decisions until ``flush``; None passes each one at once, as at the start.

        ``schedule_flush`` is called with the first decision of a batch, and has to call ``flush``
        later.
        """
        self._schedule_flush = schedule_flush
        self.flush()

    def decided(self, event: DecisionEvent) -> None:
        """Pass an answered request, now or with its batch."""
        self._decisions.append(event)
        if self._schedule_flush is None:
            self.flush()
        elif len(self._decisions) == 1:
            self._schedule_flush()

    def flush(self) -> None:
        """Pass the decisions collected so far."""
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

    def internal_error(self, part: str, error: BaseException, outcome: str = "") -> None:
        """Pass an internal error, see ``Observer``.

        To be called on the event loop's thread; another thread uses ``loop.call_soon_threadsafe``.
        """
        self.flush()
        for observer in self._observers:
            observer.internal_error(part, error, outcome)

    def store_changed(self, reason: str | None) -> None:
        """Pass a change of the store's state, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.store_changed(reason)

    def mode_changed(self, mode: str, reason: str) -> None:
        """Pass a change of mode, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.mode_changed(mode, reason)

    def administered(self, description: str) -> None:
        """Pass what a command has done, see ``Observer``."""
        self.flush()
        for observer in self._observers:
            observer.administered(description)
