"""Parses durations that people write; formats durations and percentages for people.

Each option of the server and of the commands that takes a time accepts the same durations: with a
unit (``300ms``, ``90s``, ``5m``, ``1.5h``, ``2d``, ``2w``), or with several (``1h30m``).
A bare number has postgrey's unit: seconds for ``--delay``, days for ``--max-age`` and
``--retry-window``.
"""

from __future__ import annotations

import re

from greyd.config.numbers import MAX_NUMBER, parse_integer, require_not_negative
from greyd.config.vocabulary import DAY, DELAYS, HOUR

_MICROSECONDS = 1_000_000
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": HOUR, "d": DAY, "w": 7 * DAY}
"""The seconds of each unit."""
# ASCII: without it, a long s ("\u017f") would be a unit.
_PART = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?(ms|s|min|m|h|d|w)", re.ASCII | re.IGNORECASE)
_SEVERAL = re.compile(rf"(?:{_PART.pattern}){{1,6}}", re.ASCII | re.IGNORECASE)
_SPACES = re.compile(r"(?<=[0-9])\s+(?=[a-z])|(?<=[a-z])\s+(?=[0-9])", re.IGNORECASE)
_A_CENTURY = 36_525 * DAY
"""The longest lifetime that stores support, in seconds."""


def parse_duration(text: str) -> int:
    """Return a duration in whole seconds: ``90``, ``90s``, ``10m``, ``1.5h``, ``1h 30m``.

    Raises:
        ValueError: the text is not a duration; the message describes the expected form.
    """
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return int(text)
    seconds = _whole_seconds(text)
    if seconds is None:
        raise ValueError("a duration, such as 90s, 10m, 2h or 1d")
    return seconds


def _whole_seconds(text: str) -> int | None:
    """Return the seconds of a duration with units; None for other texts, or with a fraction."""
    microseconds = _microseconds(text)
    if microseconds is None or microseconds % _MICROSECONDS:
        return None
    return microseconds // _MICROSECONDS


def _microseconds(text: str) -> int | None:
    """Return the microseconds of a duration with units; None for other texts."""
    # Spaces only between a number and a unit: "1 0" is not a number.
    written = _SPACES.sub("", text.strip())
    if not _SEVERAL.fullmatch(written):
        return None
    return sum(
        round(int(whole + fraction.ljust(6, "0")) * _UNITS[unit.lower()])
        for whole, fraction, unit in _PART.findall(written)
    )


# Options ------------------------------------------------------------------------------------------


def parse_delay(text: str) -> int | tuple[int, ...]:
    """Return one delay in seconds, or four in the order of ``DELAYS``."""
    numbers = tuple(parse_delay_seconds(each) for each in text.split(","))
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) != len(DELAYS) or min(numbers) < 0:
        raise ValueError(f"a number of seconds, or {len(DELAYS)} of them: {','.join(DELAYS)}")
    return numbers


def parse_delay_seconds(text: str) -> int:
    """Return the seconds of a duration; a bare number is in seconds, and may be negative."""
    return _seconds(text, 1, "a whole number of seconds, or a duration such as 90s, 5m or 1h")


def parse_days(text: str) -> int:
    """Return the seconds of a duration, at most a century; a bare number is in days."""
    what = "a whole number of days, or a duration such as 12h, 35d or 5w"
    return min(require_not_negative(_seconds(text, DAY, what)), _A_CENTURY)


def parse_retry_window(text: str) -> int:
    """Return a retry window in seconds; a bare number is in days, as for postgrey."""
    what = "a number of days, or a duration such as 6h, 90m or 2d"
    if not re.fullmatch(r"[0-9]{1,10}", text) and _whole_seconds(text) is None:
        raise ValueError(what)
    return min(_seconds(text, DAY, what), _A_CENTURY)


def _seconds(text: str, bare_unit_seconds: int, what: str) -> int:
    """Return the seconds of a duration; ``what`` describes the expected form in the error."""
    seconds = _whole_seconds(text)
    if seconds is None:
        try:
            seconds = parse_integer(text) * bare_unit_seconds
        except ValueError:
            raise ValueError(what) from None
    elif seconds > MAX_NUMBER:
        raise ValueError(what)
    return seconds


def parse_seconds(text: str) -> float:
    """Return the seconds of a short duration, at most a day: ``0.3``, ``300ms``, ``1m 30s``."""
    microseconds = _microseconds(text)
    try:
        seconds = float(text) if microseconds is None else microseconds / _MICROSECONDS
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= DAY:
        raise ValueError("seconds, more than 0, or a duration such as 300ms or 2s")
    return seconds


def is_zero_duration(text: str) -> bool:
    """Whether a text is a zero duration, with or without a unit."""
    return bool(re.fullmatch(r"[-+]?0[0_]*", text)) or _microseconds(text) == 0


# Output -------------------------------------------------------------------------------------------


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units, kept on one line by no-break spaces."""
    left = round(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}\u00a0{unit}")
    return "\u00a0".join(parts[:2]) or "0\u00a0s"


def format_breakable_duration(seconds: float) -> str:
    """Return a duration in its two largest units, with spaces at which a line may break."""
    return format_duration(seconds).replace("\u00a0", " ")


def format_percentage(part: float, whole: float) -> str:
    """Return ``part`` as a percentage of ``whole``; a dash if ``whole`` is 0."""
    return f"{100 * part / whole:.1f}\u00a0%" if whole else "–"
