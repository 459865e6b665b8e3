"""The requests of the last week, by quarter of an hour.

The slots begin at whole quarters of an hour by the machine's clock. They are the increase of the
metrics' counters, so with several workers they cover all of them. A slot in which the server did
not run does not exist: that is not the same as a slot without mail.

A slot is a row of whole numbers in JSON, so that a week fits into one record of the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from greyd.monitoring.activity.counter_history import PASSES, REQUESTS, WAITED
from greyd.rules.reasons import GREYLIST, Category, Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from greyd.monitoring.activity.counter_history import Totals

SLOT_SECONDS = 900
WEEK_SECONDS = 7 * 86400
MAX_SLOTS = (WEEK_SECONDS + 3600) // SLOT_SECONDS + 1
"""A week, and the hour before it, which is compared with the last hour."""

UNKNOWN = -1

_MAX_COUNT = 10**12
_MAX_TIME = 10**11


@dataclass(frozen=True, slots=True)
class ActivitySlot:
    """The counts of a quarter of an hour, or of several together."""

    start: int
    """In seconds since 1970."""
    seconds: int
    """How long the server ran in it."""
    passed: int = 0
    """Requests that passed at once or that passed before; without ``waited`` and ``faults``."""
    waited: int = 0
    """Mail that passed for the first time after its delay."""
    new: int = 0
    """First contacts, which are greylisted."""
    early: int = 0
    """Retries that came too early."""
    faults: int = 0
    """Requests that a fault kept greyd from deciding."""
    waited_seconds: int = 0
    """The sum of the times that ``waited`` waited."""
    waiting: int = UNKNOWN
    """The number of waiting triplets at the last scan of the store in this slot."""

    @property
    def requests(self) -> int:
        """The number of answered requests."""
        return self.passed + self.waited + self.greylisted + self.faults

    @property
    def greylisted(self) -> int:
        """The number of greylisted requests, without those that a fault deferred."""
        return self.new + self.early

    @classmethod
    def load(cls, row: Any) -> ActivitySlot:
        """Return the slot in a row.

        Raises:
            TypeError, ValueError: the row is not one of a slot.
        """
        if not isinstance(row, list) or len(row) != len(_NAMES) or set(map(type, row)) != {int}:
            raise TypeError
        slot = cls(*row)
        if slot.start % SLOT_SECONDS or not 0 <= slot.start < _MAX_TIME:
            raise ValueError
        if not 0 <= slot.seconds <= SLOT_SECONDS:
            raise ValueError
        if min(row[:-1]) < 0 or slot.waiting < UNKNOWN or max(row) > _MAX_COUNT:
            raise ValueError
        return slot


_NAMES = tuple(each.name for each in fields(ActivitySlot))
_row = attrgetter(*_NAMES)
_summands = attrgetter(*_NAMES[1:-1])


def summed(start: int, slots: Sequence[ActivitySlot]) -> ActivitySlot:
    """Return the sum of several slots; ``waiting`` is that of the last slot that has it."""
    if not slots:
        return ActivitySlot(start, 0)
    totals = map(sum, zip(*map(_summands, slots), strict=True))
    known = [slot.waiting for slot in slots if slot.waiting != UNKNOWN]
    return ActivitySlot(*(start, *totals, known[-1] if known else UNKNOWN))


def longer_slot(one: ActivitySlot, other: ActivitySlot) -> ActivitySlot:
    """Return the longer of two slots for the same time; ``waiting`` is a number if one has it."""
    shorter, longer = sorted((other, one), key=attrgetter("seconds", "requests"))
    return replace(longer, waiting=shorter.waiting) if longer.waiting == UNKNOWN else longer


class WeekHistory:
    """The slots of the last week. Times are wall-clock times, in seconds since 1970."""

    def __init__(self, now: float, totals: Totals) -> None:
        """Begin to count; ``totals`` are the values of the counters at ``now``."""
        self._slots: dict[int, ActivitySlot] = {}
        self._noted_at = now
        self._totals = _counted(totals)

    def note(self, now: float, totals: Totals, waiting: int | None = None) -> None:
        """Add what has been counted since the last call to the slot of ``now``.

        Args:
            now: the time.
            totals: the values of the counters at ``now``.
            waiting: the number of waiting triplets, if a scan has just counted them.
        """
        counted = _counted(totals)
        # The clock may have been set, and a counter may begin again when a worker is replaced.
        seconds = min(max(now - self._noted_at, 0), SLOT_SECONDS)
        increase = {
            name: max(round(counted[name]) - round(self._totals[name]), 0) for name in counted
        }
        start = int(now) // SLOT_SECONDS * SLOT_SECONDS
        slot = self._slots.get(start) or ActivitySlot(start, 0)
        self._slots[start] = replace(
            slot,
            seconds=min(slot.seconds + round(seconds), SLOT_SECONDS),
            waiting=slot.waiting if waiting is None else waiting,
            **{name: getattr(slot, name) + number for name, number in increase.items()},
        )
        self._noted_at, self._totals = now, counted
        self._drop_old(now)

    def _drop_old(self, now: float) -> None:
        oldest = now - MAX_SLOTS * SLOT_SECONDS
        if len(self._slots) > MAX_SLOTS or min(self._slots) < oldest:
            kept = sorted(start for start in self._slots if oldest <= start <= now)[-MAX_SLOTS:]
            self._slots = {start: self._slots[start] for start in kept}

    def slots(self) -> Mapping[int, ActivitySlot]:
        """Return the slots by their start."""
        return self._slots

    def merge(self, others: Iterable[ActivitySlot]) -> None:
        """Add the slots of another record; of two for the same time the longer one is kept."""
        for each in others:
            mine = self._slots.get(each.start)
            self._slots[each.start] = each if mine is None else longer_slot(mine, each)

    def add_waiting(self, others: Iterable[ActivitySlot]) -> None:
        """Add the numbers of waiting triplets that other workers have counted."""
        for each in others:
            mine = self._slots.get(each.start)
            if mine is not None and mine.waiting == UNKNOWN:
                self._slots[each.start] = replace(mine, waiting=each.waiting)

    def steps(self, now: float, step_seconds: int, count: int) -> Iterator[ActivitySlot]:
        """Yield sums over ``count`` steps, the oldest first; ``now`` is in the last one.

        Args:
            now: the time.
            step_seconds: the length of a step, a multiple of ``SLOT_SECONDS``.
            count: the number of steps.
        """
        last = int(now) // step_seconds * step_seconds
        starts = range(last - (count - 1) * step_seconds, last + 1, step_seconds)
        yield from (summed(start, self._within(start, step_seconds)) for start in starts)

    def _within(self, start: int, seconds: int) -> list[ActivitySlot]:
        quarters = range(start, start + seconds, SLOT_SECONDS)
        return [self._slots[each] for each in quarters if each in self._slots]

    def dump(self) -> bytes:
        """Return the slots as JSON."""
        return dump_slots(self._slots.values())


def dump_slots(slots: Iterable[ActivitySlot]) -> bytes:
    """Return slots as JSON, ordered by time."""
    rows = sorted(_row(each) for each in slots)
    return json.dumps(rows, separators=(",", ":")).encode()


def load_slots(text: bytes | None) -> Sequence[ActivitySlot]:
    """Return the slots in a record; invalid rows are left out, and so is an invalid record."""
    try:
        rows = json.loads(text or b"[]")
    except (ValueError, RecursionError):
        return ()
    if not isinstance(rows, list):
        return ()
    slots = []
    for row in rows[-MAX_SLOTS:]:
        try:
            slots.append(ActivitySlot.load(row))
        except (TypeError, ValueError):
            continue
    return slots


_GREYLISTED_BY_FAULT = [each for each in Reason if each.category is Category.FAULT]
_NEW = [each for each in Reason if each.category is Category.FIRST_CONTACT]
_EARLY = [each for each in Reason if each.category is Category.EARLY_RETRY]
_PASSED = [
    each for each in Reason if each.action != GREYLIST and each.category is not Category.FAULT
]


def _counted(totals: Totals) -> dict[str, float]:
    """Return the counters that slots have, by field."""

    def number(reasons: Sequence[Reason]) -> float:
        return sum(totals.get((REQUESTS, *each.outcome), 0.0) for each in reasons)

    waited = totals.get((PASSES,), 0.0)
    return {
        "passed": number(_PASSED) - waited,
        "waited": waited,
        "new": number(_NEW),
        "early": number(_EARLY),
        "faults": number(_GREYLISTED_BY_FAULT),
        "waited_seconds": totals.get((WAITED,), 0.0),
    }
