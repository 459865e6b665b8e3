"""Computes the usual numbers at this hour of the day from the slots of the last week."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.monitoring.activity.week import SLOT_SECONDS, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.monitoring.activity.week import ActivitySlot

DAYS = 7
"""Number of days to compare with."""

MIN_COVERAGE = 0.8
"""The share of the hour that a day's slots must cover for the day to count."""

SIMILAR_FACTOR = 2.0
"""A number is as usual if it is at most this many times larger or smaller than the usual one."""

MIN_COMPARED = 20
"""Two numbers below this are as usual: small numbers vary by chance."""

_MAX_NUMBER = 10**15
_HOUR = 3600
_DAY = 86400


@dataclass(frozen=True, slots=True)
class UsualHour:
    """The medians of the same hour on the last days."""

    day_count: int
    """The number of days that are compared; 0 if there is none yet."""
    requests: float = 0
    greylisted: float = 0
    first_contacts: float = 0
    waiting: float | None = None
    """The number of waiting triplets at this time; None if it is unknown for every day."""

    @classmethod
    def load(cls, given: Any) -> UsualHour | None:
        """Return the usual hour in a JSON value; None for null.

        Raises:
            KeyError, TypeError, ValueError: the value does not have the form of one.
        """
        if given is None:
            return None
        requests, greylisted, first_contacts = (
            _number(given[name]) for name in ("requests", "greylisted", "first_contacts")
        )
        waiting = None if given["waiting"] is None else _number(given["waiting"])
        return cls(int(_number(given["day_count"])), requests, greylisted, first_contacts, waiting)


@dataclass(frozen=True, slots=True)
class HourCounts:
    """The counts of an hour, scaled up if the server ran in most of it."""

    requests: float
    greylisted: float
    first_contacts: float


def usual_hour(slots: Mapping[int, ActivitySlot], now: float) -> UsualHour:
    """Return what is usual in the hour before ``now``: the medians of the last days.

    Args:
        slots: the slots of the last week by start.
        now: the time in seconds since 1970.
    """
    hours = [hour_before(slots, now - day * _DAY) for day in range(1, DAYS + 1)]
    known = [each for each in hours if each is not None]
    if not known:
        return UsualHour(0)
    waiting = [
        slot.waiting
        for day in range(1, DAYS + 1)
        if (slot := slots.get(_start_of(now - day * _DAY))) and slot.waiting != UNKNOWN
    ]
    return UsualHour(
        len(known),
        statistics.median(each.requests for each in known),
        statistics.median(each.greylisted for each in known),
        statistics.median(each.first_contacts for each in known),
        statistics.median(waiting) if waiting else None,
    )


def hour_before(slots: Mapping[int, ActivitySlot], end: float) -> HourCounts | None:
    """Return the counts of the hour that ends at ``end``; None if too little of it is known.

    The first and the last slot count in proportion to their part of the hour.
    """
    seconds = requests = greylisted = new = 0.0
    start = _start_of(end - _HOUR)
    while start < end:
        slot = slots.get(start)
        if slot is not None:
            overlap = min(start + SLOT_SECONDS, end) - max(start, end - _HOUR)
            share = overlap / SLOT_SECONDS
            seconds += slot.seconds * share
            requests += slot.requests * share
            greylisted += slot.greylisted * share
            new += slot.new * share
        start += SLOT_SECONDS
    if seconds < MIN_COVERAGE * _HOUR:
        return None
    scale = _HOUR / seconds
    return HourCounts(requests * scale, greylisted * scale, new * scale)


def _start_of(when: float) -> int:
    return int(when) // SLOT_SECONDS * SLOT_SECONDS


def is_usual(number: float, usual: float) -> bool:
    """Whether a number is about as large as the usual one."""
    if max(number, usual) < MIN_COMPARED:
        return True
    return usual <= SIMILAR_FACTOR * number and number <= SIMILAR_FACTOR * usual


def _number(given: Any) -> float:
    number = float(given)
    if not 0 <= number <= _MAX_NUMBER:
        raise ValueError
    return number
