"""The state of the DNS lists and the resolver: lookups of the last hour, and each one's fault."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.config.vocabulary import RESOLVER
from greyd.monitoring.activity.counter_history import HOUR_SECONDS, MINUTE_SECONDS, dns_sources_of
from greyd.policy.observers import Observer

if TYPE_CHECKING:
    from greyd.dns.sources.faults import SourceFault
    from greyd.monitoring.activity.counter_history import Totals

_LOOKUPS = "greyd_dns_lookups_total"
_UNANSWERED = ("failed", "timeout", "too many")

LATE_SHARE = 0.05
"""Share of lookups without a timely answer at which a source counts as late."""


@dataclass(frozen=True, slots=True)
class DnsSourceStatus:
    """A DNS list, or the resolver."""

    name: str
    """The zone of the list, or ``resolver``."""
    is_up: bool
    lookup_count: int
    """Lookups of the last hour."""
    unanswered_count: int
    """Those of them that failed, or had no answer in time."""
    fault: str = ""
    """What is wrong if it is out of order, as far as this process knows."""
    remedy: str = ""
    off_since: float = 0
    """When it went out of order, in seconds since 1970; 0 if this process does not know."""

    @property
    def is_late(self) -> bool:
        """Whether many of its answers are late or missing."""
        return self.unanswered_count > LATE_SHARE * self.lookup_count


class DnsActivity(Observer):
    """Counts the lookups of the last hour, and keeps the faults that the observers report."""

    def __init__(self) -> None:
        self._notes: deque[tuple[float, Counter[tuple[str, bool]]]] = deque(
            maxlen=HOUR_SECONDS // MINUTE_SECONDS + 1
        )
        self._faults: dict[str, tuple[SourceFault, float]] = {}

    def dns_source_changed(self, name: str, fault: SourceFault | None) -> None:
        """Keep the fault of a source until it is in order again."""
        if fault is None:
            self._faults.pop(name, None)
        else:
            self._faults[name] = (fault, time.time())

    def note(self, now: float, totals: Totals) -> None:
        """Sample the counters, at most once a minute; ``now`` is of a monotonic clock."""
        if not self._notes or now - self._notes[-1][0] >= MINUTE_SECONDS:
            self._notes.append((now, _lookups(totals)))

    def sources(self, now: float, totals: Totals) -> list[DnsSourceStatus]:
        """Return the status of each source, the resolver first; empty without DNS."""
        before = Counter[tuple[str, bool]]()
        # The counters begin at 0: before the first sample, nothing has to be subtracted.
        if self._notes and self._notes[0][0] < now - HOUR_SECONDS:
            within = (counts for at, counts in self._notes if at >= now - HOUR_SECONDS)
            before = next(within, self._notes[-1][1])
        lookups = _lookups(totals)
        lookups.subtract(before)
        states = dns_sources_of(totals)
        return [
            self._status(name, lookups, is_up=states[name])
            for name in sorted(states, key=lambda each: (each != RESOLVER, each))
        ]

    def _status(
        self, name: str, lookups: Counter[tuple[str, bool]], *, is_up: bool
    ) -> DnsSourceStatus:
        fault, since = self._faults.get(name, (None, 0.0)) if not is_up else (None, 0.0)
        unanswered = max(lookups[name, False], 0)
        return DnsSourceStatus(
            name,
            is_up,
            max(lookups[name, True], 0) + unanswered,
            unanswered,
            fault.text if fault else "",
            fault.remedy if fault else "",
            since,
        )


def _lookups(totals: Totals) -> Counter[tuple[str, bool]]:
    """Return the number of lookups by source, and whether they were answered."""
    counts: Counter[tuple[str, bool]] = Counter()
    for series, value in totals.items():
        if series[0] == _LOOKUPS:
            # The labels are in the order of their names: result, type, zone.
            result, zone = series[1], series[3]
            counts[zone or RESOLVER, result not in _UNANSWERED] += round(value)
    return counts
