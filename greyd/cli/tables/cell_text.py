"""Formats the values of a table's cells as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.tables.column import Kind
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable, printable_text
from greyd.terminal import format_time, format_timestamp

if TYPE_CHECKING:
    from greyd.cli.tables.column import Value

NO_VALUE = "-"
"""Shown where a cell has no value, so that every line in a pipe has all fields."""

_UNITS = ((1, "s"), (60, "min"), (3600, "h"), (86400, "d"))
_MAX_DAYS_AWAY = 99


def format_value(value: Value, kind: Kind, now: float | None) -> str:
    """Return a value as text without control characters.

    Args:
        value: the value; bytes and text may come from the network.
        kind: what the value is.
        now: the time, in seconds since 1970, for relative times; None for absolute ones.
    """
    if isinstance(value, bytes):
        return printable(value) or NO_VALUE
    if isinstance(value, str):
        return safe_text(value)
    if value is None or (kind in (Kind.TIME, Kind.DUE, Kind.CLOCK) and not value):
        return NO_VALUE
    match kind:
        case Kind.TIME if now is not None:
            return relative_time(value, now)
        case Kind.DUE if now is not None:
            return relative_time(max(value, now), now)
        case Kind.TIME | Kind.DUE | Kind.CLOCK:
            return format_timestamp(value)
        case Kind.DURATION:
            return format_breakable_duration(value)
    return f"{value:,}"


def relative_time(when: float, now: float) -> str:
    """Return the distance of a time from now: ``in 4 min``, ``3 h ago``, ``now``.

    Times more than 99 days away are dates. The result has at most ten characters.
    """
    distance = abs(round(when - now))
    if distance > _MAX_DAYS_AWAY * 86400:
        return format_time("%Y-%m-%d", when)
    size, unit = max(each for each in _UNITS if distance >= each[0] or each[0] == 1)
    if not distance:
        return "now"
    # Rounded down, as on a clock: "3 h ago" until the fourth hour is over.
    away = f"{distance // size} {unit}"
    return f"in {away}" if when > now else f"{away} ago"


def safe_text(text: str) -> str:
    """Return text with control and formatting characters escaped, except line ends."""
    text = text.replace("\u00a0", " ")
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\n" else printable_text(each) for each in text
    )
