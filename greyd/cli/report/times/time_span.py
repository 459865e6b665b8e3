"""The period of a report, from ``--since`` and ``--until``."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from greyd.cli.errors import CommandError
from greyd.config.durations import parse_duration


@dataclass(frozen=True)
class TimeSpan:
    """A period between two Unix times; 0 for no limit."""

    since: float = 0.0
    until: float = 0.0

    @classmethod
    def from_options(cls, since: str | None, until: str | None, now: float) -> TimeSpan:
        """Parse the two options.

        Raises:
            CommandError: an option is not a time, or ``--until`` is not after ``--since``.
        """
        span = cls(_epoch_seconds("--since", since, now), _epoch_seconds("--until", until, now))
        if span.since and span.until and span.since >= span.until:
            raise CommandError(f"--since={since} is not before --until={until}")
        return span

    def __contains__(self, when: float) -> bool:
        """Whether the period includes a time."""
        return self.since <= when and (not self.until or when < self.until)

    def __bool__(self) -> bool:
        """Whether the period has a limit."""
        return bool(self.since or self.until)


def _epoch_seconds(option: str, text: str | None, now: float) -> float:
    """Parse an option's value into Unix time; 0 if the option is not given."""
    if not text:
        return 0.0
    # A day begins at local midnight, even if the offset from UTC was different on that day. So
    # the date is computed without a time zone.
    today = datetime.fromtimestamp(now)  # noqa: DTZ006
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
    days_ago = {"today": 0, "yesterday": 1}.get(text.strip().lower())
    if days_ago is not None:
        return (midnight - timedelta(days=days_ago)).timestamp()
    with contextlib.suppress(ValueError):
        return now - parse_duration(text)
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option}={text}: write today, yesterday, a date (2026-11-24, '2026-11-24 18:00')"
            " or how long ago (7d, 12h)"
        ) from None
