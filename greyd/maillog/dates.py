"""Finds a date of any usual form in the head of a log line.

``times.HEAD`` parses the usual heads of syslog; this module handles all others.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.maillog.times import TimeParser

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HEAD_BYTES = 2048
"""Maximum length of the part of a head that is searched for a date."""

_NAMES_OF_MONTHS = (
    # English, then differing names in other languages; journalctl writes those of the locale.
    "jan january janv janvier januar jänner jän ene enero gen gennaio янв",
    "feb february févr février februar fév febrero febbraio fev фев февр",
    "mar march mars märz mär mrz mrt marzo мар марта",
    "apr april avr avril abr abril aprile апр",
    "may mai mayo mag maggio mei maj май мая",
    "jun june juin juni junio giu giugno июн июня",
    "jul july juil juillet juli julio lug luglio июл июля",
    "aug august août ago agosto авг",
    "sep sept september septembre septiembre set settembre сен сент",
    "oct october octobre oktober okt octubre ott ottobre out окт",
    "nov november novembre noviembre ноя нояб",
    "dec december déc décembre dez dezember dic diciembre dicembre дек",
)
_MONTHS = {
    name.encode(): number
    for number, names in enumerate(_NAMES_OF_MONTHS, 1)
    for name in names.split()
}
_MONTH = rb"(?:%b)" % b"|".join(
    b"[%b%b]%b" % (name[:1].upper(), name[:1], name[1:]) if name[:1].isascii() else name
    for name in sorted(_MONTHS, key=len, reverse=True)
)

_TIME = rb"([0-2]?[0-9]):([0-5][0-9]):([0-6][0-9])([.,][0-9]{1,9})?(?: ?([AaPp])\.?[Mm]\.?\b)?"
_ZONE = rb"(?: ?(Z\b|UTC\b|GMT\b|[+-][0-2][0-9](?::?[0-5][0-9])?(?![\w:])))?"
_YEAR = rb"((?:19|20)[0-9]{2})"
_DAY = rb"([0-3]?[0-9])"
_SEPARATOR = rb"(?:,? (?:@ )?| {1,2}|[T_:-])"

_Parts = tuple[bytes | None, ...]


def _numbered(parts: _Parts) -> _Parts:
    return parts


def _month_first(parts: _Parts) -> _Parts:
    month, day, year, hour, minute, second, fraction, half, zone, last_year = parts
    return year or last_year, month, day, hour, minute, second, fraction, half, zone


def _day_first(parts: _Parts) -> _Parts:
    day, month, year, *others = parts
    return year, month, day, *others


def _slashed(parts: _Parts) -> _Parts:
    """Distinguish day/month/year from month/day/year; an ambiguous date counts as none."""
    return _slashed_in(None, parts)


def _slashed_in(is_day_first: bool | None, parts: _Parts) -> _Parts:
    """Distinguish them where the file's other lines show which one it has."""
    first, second, year, *others = parts
    if int(first or 0) > 12:
        is_day_first = True
    elif int(second or 0) > 12:
        is_day_first = False
    elif is_day_first is None and others[4] is not None:
        # A time with AM or PM.
        is_day_first = False
    if is_day_first is None:
        return (None,) * 9
    return (year, second, first, *others) if is_day_first else (year, first, second, *others)


def _compact(parts: _Parts) -> _Parts:
    *numbers, fraction, zone = parts
    return *numbers, fraction, None, zone


_CALENDAR_FORMS: tuple[tuple[bytes, Callable[[_Parts], _Parts]], ...] = (
    # 2026-11-24T18:05:35.1+01:00, 2026/11/24-18:05:35, 2026-11-24_18:05:35, 2026.11.24 18:05:35
    (_YEAR + rb"[-/.]([01]?[0-9])[-/.]" + _DAY + _SEPARATOR + _TIME + _ZONE, _numbered),
    # 20261124T180535Z
    (
        _YEAR + rb"([01][0-9])([0-3][0-9])T([0-2][0-9])([0-5][0-9])([0-6][0-9])([.,][0-9]{1,9})?"
        + _ZONE,
        _compact,
    ),
    # 2026 Nov 24 18:05:35
    (_YEAR + rb"[ /-](" + _MONTH + rb")\.?[ /-]{1,2}" + _DAY + _SEPARATOR + _TIME + _ZONE,
     _numbered),
    # 24/Nov/2026:18:05:35 +0100, Tue, 24 Nov 2026 18:05:35 +0100
    (
        _DAY + rb"\.?[ /-](" + _MONTH + rb")\.?[ /-]" + _YEAR + _SEPARATOR + _TIME + _ZONE,
        _day_first,
    ),
    # Nov 24 18:05:35, Nov 24 2026 18:05:35, Tue Nov 24 18:05:35 2026
    (
        rb"(" + _MONTH + rb")\.? {1,2}" + _DAY + rb",?(?: " + _YEAR + rb")?" + _SEPARATOR + _TIME
        + _ZONE + rb"(?: " + _YEAR + rb"(?=[\s\]:,|]|\Z))?",
        _month_first,
    ),
    # 11月 24 18:05:35, 2026年11月24日 18:05:35, 11월 24 18:05:35
    (
        rb"(?:" + _YEAR + "(?:年|년) ?)?([01]?[0-9])(?:月|월) {0,2}".encode() + _DAY
        + "(?:日|일)?".encode() + _SEPARATOR + _TIME + _ZONE,
        _numbered,
    ),
    # 24 Nov 18:05:35, as in journals of some languages
    (_DAY + rb"\.? (" + _MONTH + rb")\.?()" + _SEPARATOR + _TIME + _ZONE, _day_first),
    # 24.11.2026 18:05:35
    (_DAY + rb"\.([01]?[0-9])\." + _YEAR + _SEPARATOR + _TIME + _ZONE, _day_first),
    # 24/11/2026 18:05:35, 11/24/2026 6:05:35 PM
    (_DAY + rb"[/-]" + _DAY + rb"[/-]" + _YEAR + _SEPARATOR + _TIME + _ZONE, _slashed),
)  # fmt: skip

_EPOCH = rb"(?<![^\s\[\"'<])([12][0-9]{9})([.,][0-9]{1,9}|[0-9]{3}(?:[0-9]{3})?)?(?![\w.:-])"
_TAI64 = rb"@(4[0-9a-f]{15})([0-9a-f]{8})?\b"

_DATE = re.compile(
    b"|".join([rb"(?<![\w.])(?:%b)" % form for form, _ in _CALENDAR_FORMS] + [_EPOCH, _TAI64])
)
_SIZES = [re.compile(form).groups for form, _ in _CALENDAR_FORMS]
_STARTS_WITH_DATE = re.compile(rb"\s*(?:[A-Z][a-z]{2,8}\.?,? +)?(?:%b)" % _DATE.pattern)


def find_date(text: bytes, times: TimeParser) -> float:
    """Return the Unix time of the first date in a text; 0 if it has none."""
    for found in _DATE.finditer(text[:MAX_HEAD_BYTES]):
        if when := _time_of(found, times):
            return when
    return 0.0


def after_date(text: bytes) -> bytes:
    """Return what follows the first date in a text; the whole text if it has no date."""
    found = _DATE.search(text[:MAX_HEAD_BYTES])
    return text[found.end() :] if found else text


def has_date(text: bytes) -> bool:
    """Whether a text has a date, wherever it is."""
    return _DATE.search(text[:MAX_HEAD_BYTES]) is not None


def starts_with_date(text: bytes) -> bool:
    """Whether a text begins with a date, possibly after the name of a weekday."""
    return _STARTS_WITH_DATE.match(text[:MAX_HEAD_BYTES]) is not None


def time_of_value(value: object) -> float:
    """Return the Unix time of a JSON value: a date, or seconds since 1970, or parts of them."""
    if isinstance(value, bool):
        return 0.0
    if isinstance(value, int | float):
        return _seconds(float(value))
    if not isinstance(value, str) or len(value) > MAX_HEAD_BYTES:
        return 0.0
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return _seconds(float(text))
    return find_date(text.encode(errors="replace"), TimeParser(0.0))


def _seconds(number: float) -> float:
    """Convert a number of seconds, milliseconds, microseconds or nanoseconds to seconds."""
    for unit in (1, 1e3, 1e6, 1e9):
        if 1e8 < number / unit < 4e9:
            return number / unit
    return 0.0


def _time_of(found: re.Match[bytes], times: TimeParser) -> float:
    groups, start = found.groups(), 0
    for size, (_, in_order) in zip(_SIZES, _CALENDAR_FORMS, strict=True):
        parts = groups[start : start + size]
        if any(parts):
            if in_order is _slashed:
                return _calendar_time(_slashed_in(times.is_day_first, parts), times)
            return _calendar_time(in_order(parts), times)
        start += size
    epoch, fraction, tai, _ = groups[start:]
    if tai:
        # 2^62 is 1970 in TAI, ten seconds before UTC; multilog and s6-log count no leap seconds.
        return float(int(tai, 16) - (1 << 62) - 10)
    seconds = float(epoch or 0)
    if fraction and fraction[:1] in b".,":
        return seconds + float(b"." + fraction[1:])
    return seconds + int(fraction) / 10 ** len(fraction) if fraction else seconds


def _calendar_time(parts: _Parts, times: TimeParser) -> float:
    year, month, day, hour, minute, second, fraction, half, zone = parts
    if not (month and day and hour and minute and second):
        return 0.0
    number = _MONTHS.get(month.lower()) or (int(month) if month.isdigit() else 0)
    hours = int(hour)
    if half:
        hours = hours % 12 + (12 if half in b"Pp" else 0)
    when = (int(day), hours, int(minute))
    if year:
        text = b"%b-%02d-%02d %02d:%02d" % (year, number, *when)
    elif 1 <= number <= 12:
        text = b"%b %2d %02d:%02d" % (TimeParser.month_name(number), *when)
    else:
        return 0.0
    return times.time_of(text, second, fraction, _offset(zone))


def _offset(zone: bytes | None) -> bytes | None:
    if zone in (b"UTC", b"GMT"):
        return b"Z"
    # Python's parser needs the minutes.
    return zone + b":00" if zone and len(zone) == 3 else zone
