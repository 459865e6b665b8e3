"""Counts a server's events in its metrics."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from greyd.policy.events import WHITELIST_OF_REASON
from greyd.policy.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.dns.sources.faults import SourceFault
    from greyd.monitoring.metrics import Metrics
    from greyd.policy.events import DecisionEvent
    from greyd.rules.evidence import Evidence
    from greyd.rules.greylist import Decision
    from greyd.rules.request import Request


class MetricsObserver(Observer):
    """Counts each event."""

    def __init__(self, metrics: Metrics) -> None:
        """Create an observer that counts events in ``metrics``."""
        self._metrics = metrics

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        """Count decisions by reason; these counters add up to the number of answered requests."""
        metrics = self._metrics
        # One increment for each reason is cheaper than one for each request.
        for reason, number in Counter(event.reason for event in events).items():
            metrics.requests[reason].inc(number)
        metrics.duration.observe_all([event.seconds for event in events])
        if store_seconds := [
            event.store_seconds for event in events if event.store_seconds is not None
        ]:
            metrics.store_seconds.observe_all(store_seconds)
        for event in events:
            if event.store_error is not None:
                metrics.store_errors.inc()
            if event.waited_seconds is not None:
                metrics.delay.observe(event.waited_seconds)
            if event.whitelist_entry is not None:
                metrics.whitelist_hits[WHITELIST_OF_REASON[event.reason]].inc()
            if event.evidence is not None:
                self._count_evidence(event.evidence)

    def _count_evidence(self, evidence: Evidence) -> None:
        for signal in evidence.signals:
            self._metrics.signals[signal].inc()
        if evidence.unsure:
            self._metrics.unsure.inc()
        self._metrics.identities[evidence.way or "subnet"].inc()

    def auto_whitelisted(
        self,
        request: Request,  # noqa: ARG002 - only counted
        decision: Decision,
        evidence: Evidence | None,  # noqa: ARG002 - only counted
    ) -> None:
        """Count a client or an identity that becomes auto-whitelisted."""
        if decision.whitelisted:
            self._metrics.auto_whitelisted.inc()
        if decision.identity_whitelisted:
            self._metrics.auto_whitelisted_identities.inc()

    def probed(self, request: Request) -> None:  # noqa: ARG002 - only counted
        """Count a request from ``greyd doctor``; it is not mail, and no other metric counts it."""
        self._metrics.probes.inc()

    def protocol_error(self, message: str, data: bytes) -> None:  # noqa: ARG002 - only counted
        """Count a protocol error."""
        self._metrics.protocol_errors.inc()

    def outbound_not_learnt(self, request: Request) -> None:  # noqa: ARG002 - only counted
        """Count outbound mail that is not learnt."""
        self._metrics.outbound_not_learnt.inc()

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:  # noqa: ARG002 - only counted
        """Count an internal error in a part of greyd."""
        self._metrics.count_internal_error(part)

    def store_changed(self, reason: str | None) -> None:
        """Show whether the store answers."""
        self._metrics.store_up.set(0 if reason else 1)

    def dns_source_changed(self, name: str, fault: SourceFault | None) -> None:
        """Show whether a DNS list or the resolver is in order."""
        self._metrics.show_dns_source(name, is_up=fault is None)

    def mode_changed(self, mode: str, reason: str) -> None:  # noqa: ARG002 - only shown
        """Show the mode in force."""
        self._metrics.show_mode(mode)
