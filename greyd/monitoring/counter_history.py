"""What the counters were: what was decided in the last minute, in the last hour, in the last day.

A note is taken every ``NOTE_SECONDS``; those of the last minute are all kept, of the day one a
minute.

The counters are Prometheus's own, so this adds up to what ``/metrics`` shows, also over several
workers: each of them notes the sum of all. Times are ``time.monotonic`` seconds and are handed in.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

NOTE_SECONDS = 10
MINUTE_SECONDS = 60
HOUR_SECONDS = 3600
DAY_SECONDS = 86400

REQUESTS = "greyd_requests_total"
PASSES = "greyd_greylist_delay_seconds_count"
"""First passes; what they waited for together is under ``WAITED``."""
WAITED = "greyd_greylist_delay_seconds_sum"
AUTO_WHITELISTED = "greyd_auto_whitelisted_clients_total"
STORE_ASKED = "greyd_store_duration_seconds_count"
STORE_SECONDS = "greyd_store_duration_seconds_sum"
STORE_ERRORS = "greyd_store_errors_total"
PROTOCOL_ERRORS = "greyd_protocol_errors_total"

ENTRIES = "greyd_whitelist_entries"
"""A gauge, so it is not noted."""

Series = tuple[str, ...]
"""A name, and the values of its labels in the order of their names."""

SERIES: tuple[Series, ...] = (
    *((REQUESTS, *reason.outcome) for reason in Reason),
    (PASSES,),
    (WAITED,),
    (AUTO_WHITELISTED,),
    (STORE_ASKED, "transact"),
    (STORE_SECONDS, "transact"),
    (STORE_ERRORS, "transact"),
    (PROTOCOL_ERRORS,),
)
"""What is noted."""


Totals = Mapping[Series, float]
"""What all samples are, by their series."""


def totals_of(families: Iterable[Metric]) -> Totals:
    """Return the samples of some metrics."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


class CountedPeriod(NamedTuple):
    """What was counted in some time."""

    seconds: float
    """How long that really was: shorter than asked for where greyd has not run so long."""
    counts: Totals

    def sum(self, series: Iterable[Series]) -> float:
        """Return what several series counted together."""
        return sum(self.counts[each] for each in series)


_Notes = deque[tuple[float, "array[float]"]]


class CounterHistory:
    """The counters of a day, one note a minute, and of the last minute some more."""

    def __init__(self, families: Callable[[], Iterable[Metric]], now: float) -> None:
        self._families = families
        self._recent: _Notes = deque(maxlen=MINUTE_SECONDS // NOTE_SECONDS + 1)
        self._notes: _Notes = deque(maxlen=DAY_SECONDS // MINUTE_SECONDS + 1)
        self._taken = 0
        self.note(now)

    def note(self, now: float, totals: Totals | None = None) -> None:
        """Note what the counters are; to be called every ``NOTE_SECONDS``."""
        self._recent.append((now, _noted(self.read() if totals is None else totals)))
        if self._taken % (MINUTE_SECONDS // NOTE_SECONDS) == 0:
            self._notes.append(self._recent[-1])
        self._taken += 1

    def read(self) -> Totals:
        """Return what the samples are now."""
        return totals_of(self._families())

    def last(self, seconds: float, now: float, totals: Totals) -> CountedPeriod:
        """Return what was counted in the last seconds, up to ``totals``, which are of ``now``."""
        notes = self._recent if seconds <= MINUTE_SECONDS else self._notes
        since, before = next((note for note in notes if note[0] >= now - seconds), notes[-1])
        return CountedPeriod(now - since, _between(before, _noted(totals)))

    def steps(
        self, seconds: float, number: int, now: float, totals: Totals
    ) -> Iterator[CountedPeriod]:
        """Return what was counted in each of the last periods of so many seconds, oldest first.

        Before the first note the counters were as they were then.
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
