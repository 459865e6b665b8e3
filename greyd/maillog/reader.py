"""Read mail logs: the lines of some programs, or the decisions of greyd and postgrey."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.maillog.decisions import LoggedDecision, parse_decision
from greyd.maillog.files import read_files
from greyd.maillog.lines import LogLine, ReadStatistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def read_decisions(
    paths: Sequence[str | Path], *, now: float | None = None, tally: ReadStatistics | None = None
) -> Iterator[LoggedDecision]:
    """Yield the decisions in logs, in the order of their times.

    Args:
        paths: files; ``-`` is standard input.
        now: which year it is where standard input does not say; by default the clock's.
        tally: counts what is read.

    Raises:
        MailLogError: a file can't be read.
    """
    for when, _, text in read_files(paths, _find_action, now, tally or ReadStatistics()):
        if (decision := parse_decision(when, text)) is not None:
            yield decision


def program_pattern(program: bytes) -> bytes:
    """Return a pattern of the names under which a program logs."""
    head, slash, tail = program.partition(b"/")
    if not slash:
        return re.escape(program)
    return re.escape(head) + rb"[^\s/\[:]{0,50}(?:/[^\s\[:]{1,50})?/" + re.escape(tail)


def _find_action(block: bytes, start: int) -> int:
    return block.find(b"action", start)


# Files ------------------------------------------------------------------------------------------


def total_bytes(paths: Iterable[str | Path]) -> int | None:
    """Return how many octets some files have to read; None where that can't be known."""
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
    tally: ReadStatistics | None = None,
) -> Iterator[LogLine]:
    """Yield the lines of some programs, and those that may be decisions but name no program.

    A program with a slash stands for all instances of that service: ``postfix/smtpd`` also for
    ``postfix/submission/smtpd`` and ``postfix-in/smtpd``.

    Raises:
        MailLogError: a file can't be read.
    """
    names = b"|".join(map(program_pattern, programs))
    wanted = re.compile(rb"(?:%b)\Z" % names)
    # A program stands before its number or a colon, in the journal at the end of a field.
    near = re.compile(rb"""(?:%b)(?:[:\["]|$)|action(?:=|\\?")""" % names, re.MULTILINE)

    def find(block: bytes, start: int) -> int:
        found = near.search(block, start)
        return found.start() if found else -1

    for line in read_files(paths, find, now, tally or ReadStatistics()):
        if wanted.match(line.program) if line.program else b"action" in line.text:
            yield line
