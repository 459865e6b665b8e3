"""Reads mail logs: the decisions of greyd and postgrey, or all lines of some programs."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.maillog.decisions import LoggedDecision, parse_decision
from greyd.maillog.files import read_files
from greyd.maillog.lines import LogLine, ReadStatistics
from greyd.maillog.shadow_lines import (
    LoggedShadowDecision,
    decision_finder,
    parse_shadow_decision,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


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
        statistics: receives the counts of bytes and skipped lines.

    Raises:
        MailLogError: a file cannot be read.
    """
    for line in read_files(paths, _find_action, now, statistics or ReadStatistics()):
        if (decision := parse_decision(line.when, line.text)) is not None:
            yield decision


def read_decisions_with_shadow(
    paths: Sequence[str | Path], *, statistics: ReadStatistics | None = None
) -> Iterator[LoggedDecision | LoggedShadowDecision]:
    """Yield the decisions in logs as ``read_decisions`` does, and those of greyd's shadow."""
    for line in read_files(paths, decision_finder(), None, statistics or ReadStatistics()):
        decision = parse_decision(line.when, line.text)
        if decision is not None:
            yield decision
        elif (shadow := parse_shadow_decision(line.when, line.text)) is not None:
            yield shadow


def program_pattern(program: bytes) -> bytes:
    """Return a regular expression for the names that a program's instances log under."""
    head, slash, tail = program.partition(b"/")
    if not slash:
        return re.escape(program)
    return re.escape(head) + rb"[^\s/\[:]{0,50}(?:/[^\s\[:]{1,50})?/" + re.escape(tail)


def _find_action(block: bytes, start: int) -> int:
    return block.find(b"action", start)


def total_bytes(paths: Iterable[str | Path]) -> int | None:
    """Return the total size of files; None if one is not a regular file or cannot be read."""
    try:
        files = [Path(path).stat() for path in paths]
    except OSError:
        return None
    if not all(stat.S_ISREG(each.st_mode) for each in files):
        return None
    return sum(each.st_size for each in files)


def read_lines(
    paths: Sequence[str | Path],
    *,
    programs: Iterable[bytes],
    now: float | None = None,
    statistics: ReadStatistics | None = None,
) -> Iterator[LogLine]:
    """Yield the lines of some programs, and lines without a program that may be decisions.

    A program with a slash stands for all instances of that service, e.g. ``postfix/smtpd`` also for
    ``postfix/submission/smtpd`` and ``postfix-in/smtpd``.

    Raises:
        MailLogError: a file cannot be read.
    """
    names = b"|".join(map(program_pattern, programs))
    wanted = re.compile(rb"(?:%b)\Z" % names)
    # A program is followed by its process number or a colon; in the journal it ends a field.
    near = re.compile(rb"""(?:%b)(?:[:\["]|$)|action(?:=|\\?")""" % names, re.MULTILINE)

    def find(block: bytes, start: int) -> int:
        found = near.search(block, start)
        return found.start() if found else -1

    for line in read_files(paths, find, now, statistics or ReadStatistics()):
        if wanted.match(line.program) if line.program else b"action" in line.text:
            yield line
