"""Reads the decisions in a log while it grows."""

from __future__ import annotations

import time
from itertools import chain
from typing import TYPE_CHECKING

from greyd.maillog.decisions import LoggedDecision
from greyd.maillog.lines import EXPORT, journal_lines, text_lines
from greyd.maillog.reader import entries_in, finder
from greyd.maillog.times import TimeParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from greyd.maillog.statistics import ReadStatistics

NEW_CLOCK_SECONDS = 6 * 3600
"""How long one time parser is used: it derives missing years from the time of its creation."""


def decisions_in(
    pieces: Iterable[bytes],
    statistics: ReadStatistics,
    *,
    clock: Callable[[], float] = time.time,
) -> Iterator[LoggedDecision]:
    """Yield the decisions in pieces of a log, each as soon as its line is complete.

    Args:
        pieces: the contents, text or ``journalctl -o export``, as they arrive.
        statistics: receives the counts of what was not read.
        clock: returns the Unix time, which completes dates without a year.
    """
    rest = iter(pieces)
    first = next((piece for piece in rest if piece), b"")
    if first.startswith(EXPORT):
        # The journal's times are complete.
        lines = journal_lines(chain([first], rest), finder(), TimeParser(clock()), statistics)
        yield from _only_decisions(lines, statistics)
        return
    rest = chain([first], rest)
    while True:
        part = _Part(rest, clock)
        lines = text_lines(part, finder(), TimeParser(clock()), statistics)
        yield from _only_decisions(lines, statistics)
        if part.is_last:
            return


def _only_decisions(
    lines: Iterable[object], statistics: ReadStatistics
) -> Iterator[LoggedDecision]:
    for each in entries_in(lines, statistics):  # type: ignore[arg-type]
        if isinstance(each, LoggedDecision):
            yield each


class _Part:
    """The pieces of a few hours, ending with a whole line."""

    def __init__(self, pieces: Iterator[bytes], clock: Callable[[], float]) -> None:
        self._pieces = pieces
        self._clock = clock
        self.is_last = False
        """Whether no more pieces follow."""

    def __iter__(self) -> Iterator[bytes]:
        ends_at = self._clock() + NEW_CLOCK_SECONDS
        for piece in self._pieces:
            yield piece
            if piece.endswith(b"\n") and self._clock() >= ends_at:
                return
        self.is_last = True
