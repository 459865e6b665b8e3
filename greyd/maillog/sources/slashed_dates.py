"""Finds out whether a file's dates with slashes, such as 10/11/2026, begin with day or month.

A date with a number over 12 settles it. Without one, the order of the lines may: under the wrong
reading times go back, or lie in the future; and where a new day begins, the lines before and after
it are minutes apart under the right reading, and a month apart under the wrong one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BACK_SECONDS = 86400.0
"""How far times may go back in a file: clocks are set, and collectors mix machines."""

MAX_AHEAD_SECONDS = 86400.0
"""How far after the file's last change a line's time may be: it may be of another time zone."""

MAX_GAP_SECONDS = 2 * 3600.0
"""How far apart the last line of a day and the first one of the next day may be."""

MIN_MONTH_SECONDS = 20 * 86400.0

_SLASHED = re.compile(
    rb"^[^\w\n]{0,10}(?:[A-Z][a-z]{2,8},? )?"
    rb"([0-3]?[0-9])[/-]([0-3]?[0-9])[/-]((?:19|20)[0-9]{2})(?:,? (?:@ )?| {1,2}|[T_:-])"
    rb"([0-2]?[0-9]):([0-5][0-9]):([0-6][0-9])(?:[.,][0-9]{1,9})?(?: ?([AaPp])\.?[Mm])?",
    re.MULTILINE,
)


@dataclass(slots=True)
class _Reading:
    """The times of a file's lines under one of the two orders."""

    last: float = 0.0
    is_possible: bool = True
    gaps: list[float] = field(default_factory=list)
    """The differences between neighbouring lines of different dates."""

    def add(self, when: float, latest: float, *, is_new_date: bool) -> None:
        if self.last and is_new_date:
            self.gaps.append(when - self.last)
        is_too_early = self.last and when < self.last - MAX_BACK_SECONDS
        if not when or is_too_early or when > latest + MAX_AHEAD_SECONDS:
            self.is_possible = False
        self.last = max(self.last, when)

    @property
    def are_days(self) -> bool:
        """Whether each new date begins soon after the lines of the one before."""
        return bool(self.gaps) and all(0 <= each <= MAX_GAP_SECONDS for each in self.gaps)

    @property
    def are_months(self) -> bool:
        """Whether each new date is weeks away from the one before."""
        return bool(self.gaps) and all(each >= MIN_MONTH_SECONDS for each in self.gaps)


def slashed_date(text: bytes) -> str | None:
    """Return the first date such as 10/11/2026 or 10-11-2026 at the beginning of a line."""
    found = _SLASHED.search(text)
    return b"/".join(found.groups()[:3]).decode() if found else None


def is_day_first(pieces: Iterable[bytes], latest: float) -> bool | None:
    """Return whether the day comes first in a file's dates; None if nothing settles it.

    Args:
        pieces: the file's content.
        latest: the Unix time of the last possible line.
    """
    day_first, month_first = _Reading(), _Reading()
    last_date: tuple[bytes, ...] = ()
    has_half = False
    for found in (each for piece in pieces for each in _SLASHED.finditer(piece)):
        first, second, year, hour, minute, second_of_minute, half = found.groups()
        if (int(first) > 12) is not (int(second) > 12):
            return int(first) > 12
        hours = int(hour) if half is None else int(hour) % 12 + 12 * (half in b"Pp")
        has_half |= half is not None
        is_new_date, last_date = (first, second, year) != last_date, (first, second, year)
        for reading, month, day in ((day_first, second, first), (month_first, first, second)):
            when = _time(year, month, day, hours, minute, second_of_minute)
            reading.add(when, latest, is_new_date=is_new_date)
    if day_first.is_possible is not month_first.is_possible:
        return day_first.is_possible
    if day_first.are_days and month_first.are_months:
        return True
    # Where the clock has AM and PM, the month usually comes first.
    is_month_first = has_half or (month_first.are_days and day_first.are_months)
    return False if is_month_first else None


def _time(*parts: bytes | int) -> float:
    """Return the Unix time, in any zone: only differences count; 0 if the day does not exist."""
    try:
        return datetime(*map(int, parts), tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]
    except ValueError:
        return 0.0
