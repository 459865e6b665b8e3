"""Samples of the counters in the last day, from which the counts of a period are computed.

The counters are sampled every ``NOTE_SECONDS``. The history keeps all samples of the last minute,
and one sample a minute of the last day.

The counters are those of ``/metrics``, so the counts agree with it. Each of several workers samples
the sums over all workers. Times are arguments, in seconds of ``time.monotonic``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from greyd.policy.shadow_decision import DelayInShadow
from greyd.rules.reasons import ACTIONS, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

NOTE_SECONDS = 10
MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
DAY_SECONDS = 86400

REQUESTS = "greyd_requests_total"
PASSES = "greyd_greylist_delay_seconds_count"
"""The number of triplets that passed for the first time; ``WAITED`` is their total wait."""
WAITED = "greyd_greylist_delay_seconds_sum"
AUTO_WHITELISTED = "greyd_auto_whitelisted_clients_total"
STORE_ASKED = "greyd_store_duration_seconds_count"
STORE_SECONDS = "greyd_store_duration_seconds_sum"
STORE_ERRORS = "greyd_store_errors_total"
PROTOCOL_ERRORS = "greyd_protocol_errors_total"
INTERNAL_ERRORS = "greyd_internal_errors_total"
"""Sampled as the sum over all parts of the server."""

SHADOW_COMPARED = "greyd_shadow_compared_total"
SHADOW_FIRST_CONTACTS = "greyd_shadow_first_contacts_total"
SHADOW_DELAYED_MAIL = "greyd_shadow_delayed_mail_total"
SHADOW_SKIPPED = "greyd_shadow_skipped_total"

ENTRIES = "greyd_whitelist_entries"
"""Not sampled, because it is a gauge."""

DNS_SOURCE_UP = "greyd_dns_source_up"
"""Not sampled either."""

Series = tuple[str, ...]
"""The name of a metric, followed by the values of its labels in the order of the labels' names."""

SERIES: tuple[Series, ...] = (
    *((REQUESTS, *reason.outcome) for reason in Reason),
    (PASSES,),
    (WAITED,),
    (AUTO_WHITELISTED,),
    (STORE_ASKED, "transact"),
    (STORE_SECONDS, "transact"),
    (STORE_ERRORS, "transact"),
    (PROTOCOL_ERRORS,),
    (INTERNAL_ERRORS,),
    *((SHADOW_COMPARED, answer, shadow) for answer in ACTIONS for shadow in ACTIONS),
    *((SHADOW_FIRST_CONTACTS, action) for action in ACTIONS),
    *((SHADOW_DELAYED_MAIL, delay.value) for delay in DelayInShadow),
    (SHADOW_SKIPPED,),
)
"""The counters that are sampled."""


Totals = Mapping[Series, float]
"""Values by series."""


def totals_of(families: Iterable[Metric]) -> Totals:
    """Return the values of metrics, and the sum of all internal errors."""
    totals = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    totals[INTERNAL_ERRORS,] = sum(
        value for series, value in totals.items() if series[0] == INTERNAL_ERRORS
    )
    return totals


def dns_sources_of(totals: Totals) -> dict[str, bool]:
    """Return whether each DNS list and the resolver is in order; empty without DNS."""
    return {series[1]: is_up == 1 for series, is_up in totals.items() if series[0] == DNS_SOURCE_UP}


@dataclass(frozen=True, slots=True)
class CountedPeriod:
    """The counts of a period."""

    seconds: float
    """The length of the period; shorter than requested if greyd started later."""
    counts: Totals

    def sum(self, series: Iterable[Series]) -> float:
        """Return the sum of several series."""
        return sum(self.counts[each] for each in series)


_Notes = deque[tuple[float, "array[float]"]]


class CounterHistory:
    """The counters of the last day, sampled once a minute, and more often in the last minute."""

    def __init__(self, families: Callable[[], Iterable[Metric]], now: float) -> None:
        self._families = families
        self._recent: _Notes = deque(maxlen=MINUTE_SECONDS // NOTE_SECONDS + 1)
        self._notes: _Notes = deque(maxlen=DAY_SECONDS // MINUTE_SECONDS + 1)
        self._taken = 0
        self.note(now)

    def note(self, now: float, totals: Totals | None = None) -> None:
        """Sample the counters. Call this every ``NOTE_SECONDS``.

        Args:
            now: the time.
            totals: the values at ``now``; None reads them.
        """
        self._recent.append((now, _noted(self.read() if totals is None else totals)))
        if self._taken % (MINUTE_SECONDS // NOTE_SECONDS) == 0:
            self._notes.append(self._recent[-1])
        self._taken += 1

    def read(self) -> Totals:
        """Return the current values."""
        return totals_of(self._families())

    def last(self, seconds: float, now: float, totals: Totals) -> CountedPeriod:
        """Return the counts of the last ``seconds``; ``totals`` are the values at ``now``."""
        notes = self._recent if seconds <= MINUTE_SECONDS else self._notes
        since, before = next((note for note in notes if note[0] >= now - seconds), notes[-1])
        return CountedPeriod(now - since, _between(before, _noted(totals)))

    def steps(
        self, seconds: float, number: int, now: float, totals: Totals
    ) -> Iterator[CountedPeriod]:
        """Yield the counts of the last ``number`` periods, the oldest first.

        The counts of a period before the first sample are 0.

        Args:
            seconds: the length of each period.
            number: the number of periods.
            now: the end of the last period.
            totals: the values at ``now``.
        """
        notes = list(self._notes)
        times = [noted_at for noted_at, _ in notes]
        borders = (now - seconds * step for step in range(number, 0, -1))
        known = (notes[max(bisect_right(times, border) - 1, 0)][1] for border in borders)
        for before, after in pairwise(chain(known, [_noted(totals)])):
            yield CountedPeriod(seconds, _between(before, after))


def _noted(totals: Totals) -> array[float]:
    return array("d", [totals.get(series, 0.0) for series in SERIES])


def _between(before: array[float], after: array[float]) -> Totals:
    return {each: new - old for each, new, old in zip(SERIES, after, before, strict=True)}
