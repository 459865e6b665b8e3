"""The answers of the last hour by the minute, for sparklines and bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.monitoring.activity.counter_history import HOUR_SECONDS, MINUTE_SECONDS, REQUESTS
from greyd.rules.reasons import GREYLIST, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.monitoring.activity.counter_history import CountedPeriod

MINUTES = HOUR_SECONDS // MINUTE_SECONDS
"""The number of minutes whose answers are counted one by one."""

_MAX_COUNT = 10**15


@dataclass(frozen=True, slots=True)
class MinuteCounts:
    """The answers in each of the last ``MINUTES`` minutes, the oldest first."""

    passed: tuple[int, ...]
    greylisted: tuple[int, ...]

    @classmethod
    def of(cls, periods: Iterable[CountedPeriod]) -> MinuteCounts:
        """Return the counts of periods of a minute."""
        counted = [period.counts for period in periods]
        passed, greylisted = (
            tuple(
                round(sum(counts.get((REQUESTS, *each.outcome), 0) for each in reasons))
                for counts in counted
            )
            for reasons in (_PASSES, _GREYLISTS)
        )
        return cls(passed, greylisted)

    @classmethod
    def load(cls, given: Any) -> MinuteCounts | None:
        """Return the counts in a JSON value; None for null, and for a server without them.

        Raises:
            KeyError, TypeError, ValueError: the value does not have the form of counts.
        """
        if given is None:
            return None
        passed, greylisted = (
            tuple(map(_count, given[name][-MINUTES:])) for name in ("passed", "greylisted")
        )
        if not len(passed) == len(greylisted) == MINUTES:
            raise ValueError
        return cls(passed, greylisted)


_GREYLISTS = tuple(each for each in Reason if each.action == GREYLIST)
_PASSES = tuple(each for each in Reason if each.action != GREYLIST)


def _count(given: Any) -> int:
    number = int(given)
    if abs(number) > _MAX_COUNT:
        raise ValueError
    return max(number, 0)
