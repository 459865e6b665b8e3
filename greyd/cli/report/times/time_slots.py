"""Counts decisions per quarter of an hour; adds them up to hours, days and weeks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.report.kinds import DecisionKind, no_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SLOT_SECONDS = 900
MAX_SLOTS = 200_000
"""The maximum number of quarters of an hour that are counted: five and a half years."""

_MONDAY = 4 * 86400
"""Unix time of the first Monday, 5 January 1970, as the epoch began on a Thursday."""


@dataclass(frozen=True, slots=True)
class TimeSlot:
    """The counts of decisions in a period."""

    start: float
    """Unix time."""
    counts: Sequence[int]
    """The counts, indexed by ``DecisionKind``."""


class SlotCounter:
    """Counts decisions by quarter of an hour."""

    def __init__(self) -> None:
        self._slots: dict[int, list[int]] = {}

    def add(self, when: float, kind: DecisionKind) -> None:
        """Count a decision; at ``MAX_SLOTS``, ignore decisions in further quarters."""
        number = int(when) // SLOT_SECONDS
        counts = self._slots.get(number)
        if counts is None:
            if self.is_full:
                return
            counts = self._slots[number] = no_counts()
        counts[kind] += 1

    @property
    def is_full(self) -> bool:
        """Whether the maximum number of quarters is reached."""
        return len(self._slots) >= MAX_SLOTS

    def slots(self) -> list[TimeSlot]:
        """Return the quarters of an hour that contain a decision, ordered by time."""
        return [
            TimeSlot(number * SLOT_SECONDS, counts)
            for number, counts in sorted(self._slots.items())
        ]


def by_hour_of_day(slots: Iterable[TimeSlot]) -> list[list[int]]:
    """Return 24 lists of counts by ``DecisionKind``, one for each hour of the day, local time."""
    hours = [no_counts() for _ in range(24)]
    for slot in slots:
        _add(hours[time.localtime(slot.start).tm_hour], slot.counts)
    return hours


def over_time(
    slots: Sequence[TimeSlot], max_count: int, steps: Iterable[int]
) -> tuple[int, list[TimeSlot]]:
    """Combine slots into longer ones, without gaps.

    Longer slots begin at local midnight or whole steps after it; weeks begin on Monday.

    Args:
        slots: quarters of an hour.
        max_count: the maximum number of longer slots.
        steps: possible lengths in seconds, the shortest first; the last may exceed ``max_count``.

    Returns:
        The first step that gives at most ``max_count`` slots, and these slots ordered by time.
    """
    for step in steps:
        longer = _in_steps(slots, step)
        if len(longer) <= max_count:
            break
    return step, longer


def _in_steps(slots: Sequence[TimeSlot], step: int) -> list[TimeSlot]:
    found: dict[int, list[int]] = {}
    for slot in slots:
        _add(found.setdefault(_local_seconds(slot.start) // step, no_counts()), slot.counts)
    if not found:
        return []
    # Years may lie between two decisions; their empty hours are of no use.
    first, last = min(found), max(found)
    numbers = range(first, last + 1) if last - first < MAX_SLOTS else sorted(found)
    nothing = no_counts()
    return [TimeSlot(_epoch_seconds(each * step), found.get(each, nothing)) for each in numbers]


def _local_seconds(when: float) -> int:
    """Return the local time in seconds since Monday, 5 January 1970, 00:00."""
    return int(when) + time.localtime(when).tm_gmtoff - _MONDAY


def _epoch_seconds(local_seconds: int) -> float:
    """Convert seconds since the first Monday, local time, into Unix time."""
    local = local_seconds + _MONDAY
    guess = local - time.localtime(local).tm_gmtoff
    return local - time.localtime(guess).tm_gmtoff


def _add(sums: list[int], counts: Sequence[int]) -> None:
    for place, count in enumerate(counts):
        sums[place] += count
