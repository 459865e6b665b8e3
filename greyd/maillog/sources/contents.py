"""Describes the content of a log in which a report found nothing."""

from __future__ import annotations

import re
from collections import Counter

from greyd.escaping import printable

_TAG = re.compile(
    rb"(?:\A|[\s>|\"])(?!MESSAGE)([A-Za-z][A-Za-z0-9_./@-]{0,60})(?:\[[0-9]{1,10}\]:|:) "
)
_RFC5424 = re.compile(rb"[0-9T:.+Z-]{19,35} \S{1,255} ([A-Za-z][\w./@-]{0,60}) (?:[0-9]{1,10}|-) ")
_IDENTIFIER = re.compile(rb"SYSLOG_IDENTIFIER\"? ?[=:] ?\"?([\w./@-]{1,60})")

_MAX_PROGRAMS = 4
_MAX_EXAMPLE_BYTES = 160
_MAX_CONTROL_SHARE = 0.1
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def describe(sample: bytes) -> str:
    """Return what the beginning of a file contains, as the end of a sentence."""
    if not sample:
        return "the file is empty"
    if len(_CONTROL.findall(sample)) > _MAX_CONTROL_SHARE * len(sample):
        return "it contains binary data, not text"
    lines = [each for each in sample.splitlines() if each.strip()]
    programs = Counter(program for each in lines if (program := _program(each)))
    text = f"its first {len(lines):,} lines are" if len(lines) > 1 else "its first line is"
    if programs:
        names = ", ".join(
            f"{printable(name)} ({count:,})" for name, count in programs.most_common(_MAX_PROGRAMS)
        )
        return f"{text} from {names}"
    first = lines[0] if lines else b""
    cut = " …" if len(first) > _MAX_EXAMPLE_BYTES else ""
    return f"{text} of unknown programs, e.g. {printable(first[:_MAX_EXAMPLE_BYTES])}{cut}"


def _program(line: bytes) -> bytes:
    for pattern in (_IDENTIFIER, _RFC5424, _TAG):
        if found := pattern.search(line[:500]):
            return found[1]
    return b""
