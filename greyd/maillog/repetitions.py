"""Finds the line that ``last message repeated N times`` stands for, and the times of repetitions.

Two forms exist. rsyslog writes ``message repeated 4 times: [ … ]`` with the message and the time of
its last repetition. The BSDs' syslogd and older ones write only ``last message repeated 4 times``,
which refers to the previous line of the same host, and of the same program if it names one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.maillog.dates import after_date
from greyd.maillog.heads import MAX_REPETITIONS, parse_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.maillog.heads import LogLine
    from greyd.maillog.times import TimeParser

_LAST_MESSAGE = re.compile(rb"last message repeated ([0-9]{1,9}) times?")

_MAX_LINES_BACK = 500


@dataclass(frozen=True, slots=True)
class Repetition:
    """A line ``last message repeated N times``."""

    count: int
    source: bytes
    """The text between the date and these words: the host, and possibly the program."""


def repetition_of(text: bytes) -> Repetition | None:
    """Return the repetition that a line reports; None for any other line."""
    found = _LAST_MESSAGE.search(text)
    if found is None:
        return None
    count = min(max(int(found[1]), 1), MAX_REPETITIONS)
    return Repetition(count, after_date(text[: found.start()]).strip())


def line_before(repetition: Repetition, before: bytes, times: TimeParser) -> LogLine | None:
    """Return the line that is repeated; None if it is not wanted.

    Args:
        repetition: what follows the lines.
        before: the lines before it, each with its end.
        times: parses their dates.
    """
    source = repetition.source + b" " if repetition.source else b""
    for text in filter(None, reversed(before.rsplit(b"\n", _MAX_LINES_BACK))):
        if after_date(text).lstrip().startswith(source) and not repetition_of(text):
            return parse_line(text, times)
    return None


def repeated_times(first: float, last: float, count: int) -> Iterator[float]:
    """Yield the times of ``count`` repetitions after ``first``, the last one at ``last``.

    Only the last time is in the log; the others are spread evenly. ``first`` is 0 if it is unknown.
    """
    step = (last - first) / count if 0 < first < last else 0.0
    for left in range(count - 1, -1, -1):
        yield last - step * left
