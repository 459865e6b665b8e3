"""Times of log lines."""

from __future__ import annotations

import re
from calendar import isleap
from datetime import datetime

# Times ------------------------------------------------------------------------------------------


class TimeParser:
    """Reads the times of a file, each minute once."""

    _MAX_MINUTES = 100_000

    def __init__(self, now: float) -> None:
        self._now = now
        self._minutes: dict[bytes, float] = {}

    def time_of(
        self, minute: bytes, second: bytes, fraction: bytes | None, zone: bytes | None
    ) -> float:
        """Return a time in seconds since the epoch; 0 where there is no such day."""
        key = minute + zone if zone else minute
        began = self._minutes.get(key)
        if began is None:
            if len(self._minutes) >= self._MAX_MINUTES:
                self._minutes.clear()
            began = self._minutes[key] = self._read(minute.decode(), (zone or b"").decode())
        if not began:
            return 0.0
        return began + int(second) + (float(b"." + fraction[1:]) if fraction else 0.0)

    def _read(self, minute: str, zone: str) -> float:
        try:
            if minute[0].isdigit():
                return datetime.fromisoformat(minute.replace(" ", "T") + zone).timestamp()
            return self._without_year(minute)
        except (ValueError, OverflowError):
            return 0.0

    def _without_year(self, minute: str) -> float:
        """Return the time in the last year in which it is not later than the file, or a day."""
        # RFC 3164 has no zone: its times are this machine's, and so are those compared here.
        latest = datetime.fromtimestamp(self._now + 86400)  # noqa: DTZ006
        month = _MONTHS.index(minute[:3]) + 1
        day, clock = int(minute[4:6]), minute[-5:]
        for year in range(latest.year, latest.year - 9, -1):
            if month == 2 and day == 29 and not isleap(year):
                continue
            when = datetime(year, month, day, int(clock[:2]), int(clock[3:]))  # noqa: DTZ001
            if when <= latest:
                return when.timestamp()
        return 0.0


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


HEAD = re.compile(
    rb"([A-Z][a-z][a-z] [ 0-3]?[0-9] [0-2][0-9]:[0-5][0-9]"
    rb"|[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]):([0-6][0-9])([.,][0-9]{1,9})?"
    rb"(Z|[+-][0-2][0-9]:?[0-5][0-9])? "
    # The host, and the program with its number.
    rb"(?:[^\s{]\S{0,254} ([^\s\[:]{1,100})(?:\[[0-9]{0,10}\])?: )?"
).match
"""The head of a syslog line: its time, host and program."""


def iso_time(text: object) -> float:
    """Return the time that greyd's JSON and Docker's write, in seconds since the epoch."""
    if not isinstance(text, str) or (head := HEAD(text.encode() + b" ")) is None:
        return 0.0
    minute, second, fraction, zone, _ = head.groups()
    return TimeParser(0.0).time_of(minute, second, fraction, zone)
