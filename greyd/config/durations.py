"""Parses durations that people write; formats durations and percentages for people."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_WRITTEN = re.compile(r"([0-9]{1,9})\s*([a-z]*)", re.IGNORECASE)


def parse_duration(text: str) -> int:
    """Return the seconds of a duration: ``90``, ``90s``, ``10m``, ``2h``, ``1d``, ``2w``.

    Raises:
        ValueError: the text is not a duration; the message describes the expected form.
    """
    written = _WRITTEN.fullmatch(text.strip())
    if written is None or written[2].lower() not in {*_UNITS, ""}:
        raise ValueError("a duration, such as 90s, 10m, 2h or 1d")
    return int(written[1]) * _UNITS[written[2].lower() or "s"]


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
