"""Adds up the statistics of several servers, and computes the increase of one server's counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from greyd.monitoring.stats import PERIODS, START, Counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greyd.monitoring.stats import ServerStats

_MIN_SECONDS = 1
"""Minimum period to compute a rate from: a server may have started just now."""


@dataclass(frozen=True, slots=True)
class CombinedCounts:
    """The counts of several servers in a period."""

    counts: Counts
    """The sums of the counts; ``seconds`` is the longest of the servers' periods."""
    rates: Mapping[tuple[str, str], float]
    """Requests per second by action and reason: the sums of the servers' rates."""

    @property
    def rate(self) -> float:
        """The number of requests per second."""
        return sum(self.rates.values())

    def dump(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        shown = self.counts.dump()
        for each in shown["outcomes"]:
            each["per_second"] = round(self.rates.get((each["action"], each["reason"]), 0), 6)
        return {**shown, "per_second": round(self.rate, 6)}


def combined_periods(servers: Iterable[ServerStats]) -> dict[str, CombinedCounts]:
    """Return the sums of all servers for each period; empty without servers."""
    stats = list(servers)
    return {
        name: combined_counts([each.periods[name] for each in stats])
        for name in (*PERIODS, START)
        if stats
    }


def combined_counts(several: Sequence[Counts]) -> CombinedCounts:
    """Return the sums of the counts of one or more servers."""
    outcomes: Counter[tuple[str, str]] = Counter()
    rates: Counter[tuple[str, str]] = Counter()
    for counts in several:
        for outcome, number in counts.outcomes.items():
            outcomes[outcome] += number
            rates[outcome] += number / max(counts.seconds, _MIN_SECONDS)  # type: ignore[assignment]
    sums: dict[str, Any] = {
        name: sum(getattr(counts, name) for counts in several) for name in _counters()
    }
    longest = max(counts.seconds for counts in several)
    return CombinedCounts(Counts(seconds=longest, outcomes=dict(outcomes), **sums), dict(rates))


def counts_between(before: ServerStats, after: ServerStats) -> Counts | None:
    """Return a server's counts between two of its documents; None if it restarted between them."""
    earlier, later = before.periods[START], after.periods[START]
    numbers: dict[str, Any] = {
        name: getattr(later, name) - getattr(earlier, name) for name in _counters()
    }
    outcomes = {
        outcome: number - earlier.outcomes.get(outcome, 0)
        for outcome, number in later.outcomes.items()
    }
    seconds = after.time - before.time
    if seconds <= 0 or min([*outcomes.values(), *numbers.values()], default=0) < 0:
        return None
    return Counts(seconds=seconds, outcomes=outcomes, **numbers)


def _counters() -> list[str]:
    """Return the names of those fields of ``Counts`` whose values are numbers to add up."""
    return [each.name for each in fields(Counts) if each.name not in ("seconds", "outcomes")]
