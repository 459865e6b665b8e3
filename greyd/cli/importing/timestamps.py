"""Parses the times in other programs' databases: Unix times, and dates as databases write them.

A date without an offset is in the local time of the program that wrote it, so the time zone is a
parameter.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_UNIX_TIME = re.compile(r"([0-9]{1,12})(\.[0-9]*)?")
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)", re.ASCII)
"""The form of MySQL before version 4.1: 20050617123456."""
_DATE = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)[ T]+(\d\d?):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?"
    r"\s*(?:(Z|UTC|GMT)|([+-])(\d\d):?(\d\d)?(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_OFFSET = re.compile(r"([+-])(\d\d?):?(\d\d)?", re.ASCII)


def parse_time(text: str, zone: tzinfo | None) -> int | None:
    """Parse a time; return Unix seconds, or None for any other text, e.g. 0000-00-00 00:00:00.

    ``zone`` is the time zone of dates without an offset; None: this machine's.
    """
    text = text.strip()
    if compact := _COMPACT.fullmatch(text):
        return _unix_time(compact.groups(), zone)
    if unix_time := _UNIX_TIME.fullmatch(text):
        return int(unix_time[1])
    date = _DATE.fullmatch(text)
    if date is None:
        return None
    if date[7]:
        zone = UTC
    elif date[8]:
        try:
            zone = _offset(date[8], date[9], date[10])
        except ValueError:
            return None
    return _unix_time(date.groups()[:6], zone)


def _unix_time(parts: tuple[str | None, ...], zone: tzinfo | None) -> int | None:
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    try:
        # A leap second counts as the last second of its minute.
        when = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=zone)
        return int(when.timestamp())
    except (ValueError, OverflowError):
        return None


def _offset(sign: str, hours: str, minutes: str | None) -> timezone:
    offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
    return timezone(-offset if sign == "-" else offset)


def parse_zone(text: str) -> tzinfo:
    """Parse a time zone: ``UTC``, an offset (``+01:00``), or a name (``Europe/Berlin``).

    Raises:
        ValueError: the text is not a time zone.
    """
    try:
        if offset := _OFFSET.fullmatch(text):
            return _offset(offset[1], offset[2], offset[3])
        return UTC if text.upper() in ("UTC", "GMT", "Z") else ZoneInfo(text)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise ValueError("a time zone, e.g. UTC, +01:00 or Europe/Berlin") from None
