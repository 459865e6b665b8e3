"""Counts the shadow's decisions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import Counter as PrometheusCounter

from greyd.policy.observers import Observer
from greyd.policy.shadow_decision import DelayInShadow, ShadowDecision
from greyd.rules.reasons import ACTIONS, GREYLIST, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client import CollectorRegistry


class ShadowMetrics(Observer):
    """The metrics of the shadow, and the observer that counts them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Add the metrics to ``registry``."""
        requests = PrometheusCounter(
            "greyd_shadow_requests",
            "Requests that the shadow has decided, by its action and reason.",
            ["action", "reason"],
            registry=registry,
        )
        self._requests = {reason: requests.labels(*reason.outcome) for reason in Reason}
        self._skipped = PrometheusCounter(
            "greyd_shadow_skipped",
            "Requests that the shadow has not decided, because too many waited for it.",
            registry=registry,
        )
        compared = PrometheusCounter(
            "greyd_shadow_compared",
            "Requests by the answer sent and by the shadow's action; without faults.",
            ["answer", "shadow"],
            registry=registry,
        )
        self._compared = {
            (answer, shadow): compared.labels(answer, shadow)
            for answer in ACTIONS
            for shadow in ACTIONS
        }
        first_contacts = PrometheusCounter(
            "greyd_shadow_first_contacts",
            "Requests greylisted for the first time, by the shadow's action.",
            ["shadow"],
            registry=registry,
        )
        self._first_contacts = {action: first_contacts.labels(action) for action in ACTIONS}
        delayed = PrometheusCounter(
            "greyd_shadow_delayed_mail",
            "Mail that has passed after its delay, by what the shadow would have done.",
            ["shadow"],
            registry=registry,
        )
        self._delayed = {delay: delayed.labels(delay.value) for delay in DelayInShadow}

    def shadow_decided(self, decisions: Sequence[ShadowDecision]) -> None:
        """Count decisions."""
        for reason, count in Counter(each.shadow.reason for each in decisions).items():
            self._requests[reason].inc(count)
        actions = [(each, each.actions) for each in decisions]
        for pair, count in Counter(pair for _, pair in actions).items():
            if pair is not None:
                self._compared[pair].inc(count)
        for decision, pair in actions:
            if pair is not None and pair[0] == GREYLIST and decision.is_first_contact:
                self._first_contacts[pair[1]].inc()
            if (delay := decision.delay) is not None:
                self._delayed[delay].inc()

    def shadow_skipped(self, count: int) -> None:
        """Count skipped requests."""
        self._skipped.inc(count)
