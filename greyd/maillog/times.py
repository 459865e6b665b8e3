"""Parses the times of log lines: RFC 3164 and ISO 8601."""

from __future__ import annotations

import re
from calendar import isleap
from datetime import datetime


class TimeParser:
    """Parses the times of one file; caches minutes, because a log has many lines per minute."""

    _MAX_MINUTES = 100_000

    def __init__(self, latest: float, *, is_day_first: bool | None = None) -> None:
        """Create a parser.

        Args:
            latest: the Unix time of the last possible line, from which it derives missing years.
            is_day_first: whether 10/11/2026 is in November; None if that is unknown.
        """
        self._latest = latest
        self.is_day_first = is_day_first
        self._minutes: dict[bytes, float] = {}

    def time_of(
        self, minute: bytes, second: bytes, fraction: bytes | None, zone: bytes | None
    ) -> float:
        """Return the Unix time for groups that ``HEAD`` matched; 0 if the day does not exist."""
        key = minute + zone if zone else minute
        start = self._minutes.get(key)
        if start is None:
            if len(self._minutes) >= self._MAX_MINUTES:
                self._minutes.clear()
            start = self._minutes[key] = self._parse(minute.decode(), (zone or b"").decode())
        if not start:
            return 0.0
        return start + int(second) + (float(b"." + fraction[1:]) if fraction else 0.0)

    @staticmethod
    def month_name(number: int) -> bytes:
        """Return the name of a month, 1 to 12, as ``time_of`` expects it."""
        return _MONTHS[number - 1].encode()

    def _parse(self, minute: str, zone: str) -> float:
        try:
            if minute[0].isdigit():
                return datetime.fromisoformat(minute.replace(" ", "T") + zone).timestamp()
            return self._without_year(minute)
        except (ValueError, OverflowError):
            return 0.0

    def _without_year(self, minute: str) -> float:
        """Return the Unix time in the last year that puts it at most a day after ``latest``."""
        # An RFC 3164 time has no time zone and is local; so it is compared with a local time.
        latest = datetime.fromtimestamp(self._latest + 86400)  # noqa: DTZ006
        month = _MONTHS.index(minute[:3]) + 1
        day, hour = int(minute[4:6]), int(minute[-5:-3])
        for year in range(latest.year, latest.year - 9, -1):
            if month == 2 and day == 29 and not isleap(year):
                continue
            when = datetime(year, month, day, hour, int(minute[-2:]))  # noqa: DTZ001
            if when <= latest:
                return when.timestamp()
        return 0.0


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


HEAD = re.compile(
    rb"([A-Z][a-z][a-z] [ 0-3]?[0-9] [0-2][0-9]:[0-5][0-9]"
    rb"|[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]):([0-6][0-9])([.,][0-9]{1,9})?"
    rb"(Z|[+-][0-2][0-9]:?[0-5][0-9])? "
    # The host, and the program with its process number.
    rb"(?:(?!UTC |GMT )[^\s{]\S{0,254} ([^\s\[:]{1,100})(?:\[[0-9]{0,10}\])?: )?"
).match
"""Matches the head of a syslog line: time, host and program."""


def parse_iso_time(text: object) -> float:
    """Return the Unix time of an ISO 8601 string, as greyd and Docker write it; 0 if invalid."""
    if not isinstance(text, str) or (head := HEAD(text.encode(errors="replace") + b" ")) is None:
        return 0.0
    minute, second, fraction, zone, _ = head.groups()
    return TimeParser(0.0).time_of(minute, second, fraction, zone)
