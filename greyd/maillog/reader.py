"""Reads mail logs: the decisions of greyd and postgrey, and the lines of Postfix."""

from __future__ import annotations

import re
import stat
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.maillog.decisions import LoggedDecision, is_cut, parse_decision
from greyd.maillog.files import read_files
from greyd.maillog.heads import LogLine, is_postfix, mentions_decision
from greyd.maillog.shadow_lines import LoggedShadowDecision, parse_shadow_decision
from greyd.maillog.statistics import ReadStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from greyd.maillog.lines import Find

POSTFIX_SERVICES = (
    b"smtpd", b"qmgr", b"smtp", b"lmtp", b"local", b"virtual", b"pipe", b"error", b"discard",
)  # fmt: skip
"""The services of Postfix whose lines show attempts to deliver mail."""

_DECISION, _SHADOW, _REPEATED = b"action", b"shadow_reason", b"message repeated"

# A program is followed by its process number or a colon, in RFC 5424 by a space; in the journal it
# ends a field. A unit of systemd may stand in its place.
_POSTFIX = re.compile(
    rb"""postfix[^\s/\[:"]{0,50}(?:(?:/[^\s\[:"/]{1,50})?/(?:%b)(?:[:\[\]" ]|$)|\.service[:\["])"""
    % b"|".join(POSTFIX_SERVICES),
    re.MULTILINE,
)
_WANTED = re.compile(rb"postfix.*(?:/(?:%b)|\.service)\Z" % b"|".join(POSTFIX_SERVICES))


@lru_cache(1000)
def _is_wanted(program: bytes) -> bool:
    """Whether a program is a service of Postfix whose lines show attempts."""
    return _WANTED.match(program) is not None


class PostfixSwitch:
    """Whether Postfix's lines are wanted; a reader checks it for each of them."""

    def __init__(self) -> None:
        self.is_on = True


def read_decisions(
    paths: Sequence[str | Path],
    *,
    now: float | None = None,
    statistics: ReadStatistics | None = None,
) -> Iterator[LoggedDecision]:
    """Yield the decisions in logs, ordered by time.

    Args:
        paths: files; ``-`` is standard input.
        now: Unix time that completes dates without a year; by default the current time.
        statistics: receives the counts of bytes and of what was not read.

    Raises:
        MailLogError: no file can be read.
    """
    for each in read_entries(paths, now=now, statistics=statistics):
        if isinstance(each, LoggedDecision):
            yield each


def read_entries(
    paths: Sequence[str | Path],
    *,
    now: float | None = None,
    statistics: ReadStatistics | None = None,
    postfix: PostfixSwitch | None = None,
) -> Iterator[LoggedDecision | LoggedShadowDecision | LogLine]:
    """Yield the decisions in logs, those of greyd's shadow, and Postfix's lines if wanted.

    Raises:
        MailLogError: no file can be read.
    """
    statistics = statistics or ReadStatistics()
    yield from entries_in(read_files(paths, finder(postfix), now, statistics), statistics, postfix)


def entries_in(
    lines: Iterable[LogLine], statistics: ReadStatistics, postfix: PostfixSwitch | None = None
) -> Iterator[LoggedDecision | LoggedShadowDecision | LogLine]:
    """Yield the decisions in lines, those of greyd's shadow, and Postfix's lines if wanted."""
    for line in lines:
        decision = parse_decision(line.when, line.text)
        if decision is not None and (decision.recipient or not is_cut(decision, line.text)):
            yield decision
        elif decision is not None:
            statistics.add_unread(line.text)
        elif (shadow := parse_shadow_decision(line.when, line.text)) is not None:
            yield shadow
        elif is_postfix(line.program):
            if postfix and postfix.is_on and _is_wanted(line.program):
                yield line
        elif mentions_decision(line.text):
            statistics.add_unread(line.text)


def read_lines(
    paths: Sequence[str | Path],
    *,
    now: float | None = None,
    statistics: ReadStatistics | None = None,
) -> Iterator[LogLine]:
    """Yield the lines of Postfix's services, and those that may be decisions.

    The lines of all instances count, e.g. ``postfix/submission/smtpd`` and ``postfix-in/smtpd``.

    Raises:
        MailLogError: no file can be read.
    """
    for line in read_files(paths, finder(PostfixSwitch()), now, statistics or ReadStatistics()):
        if _is_wanted(line.program) or not is_postfix(line.program):
            yield line


def total_bytes(paths: Iterable[str | Path]) -> int | None:
    """Return the total size of files; None if one is not a regular file or cannot be read."""
    try:
        files = [Path(path).stat() for path in paths]
    except OSError:
        return None
    if not all(stat.S_ISREG(each.st_mode) for each in files):
        return None
    return sum(each.st_size for each in files)


class _BlockSearch:
    """Searches each part of a block only once, and remembers the next match."""

    def __init__(self, find: Callable[[bytes, int], int]) -> None:
        self._find = find
        self._block = b""
        self._next = -1

    def next(self, block: bytes, start: int) -> int:
        """Return the index of the next match at or after ``start``; -1 for none."""
        if block is not self._block or 0 <= self._next < start:
            self._block, self._next = block, self._find(block, start)
        return self._next


def finder(postfix: PostfixSwitch | None = None) -> Find:
    """Return a function that finds the next line of interest in a block."""
    searches = [
        _BlockSearch(partial(_find_bytes, _SHADOW)),
        _BlockSearch(partial(_find_bytes, _REPEATED)),
    ]

    def find_postfix(block: bytes, start: int) -> int:
        found = _POSTFIX.search(block, start) if postfix and postfix.is_on else None
        return found.start() if found else -1

    if postfix:
        searches.append(_BlockSearch(find_postfix))
    searched, next_decision, next_other = b"", -1, -1

    def find(block: bytes, start: int) -> int:
        nonlocal searched, next_decision, next_other
        if block is not searched or 0 <= next_decision < start:
            next_decision = block.find(_DECISION, start)
        if block is not searched or 0 <= next_other < start:
            places = [place for each in searches if (place := each.next(block, start)) >= 0]
            next_other = min(places, default=-1)
        searched = block
        if next_other < 0:
            return next_decision
        return min(next_decision, next_other) if next_decision >= 0 else next_other

    return find


def _find_bytes(wanted: bytes, block: bytes, start: int) -> int:
    return block.find(wanted, start)
