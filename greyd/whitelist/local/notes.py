"""The comments that ``greyd whitelist add`` writes above an entry: date, user and reason.

The line ``# 2026-11-27 alice@mx1: retries from many addresses`` is a comment for postgrey too.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

MAX_REASON_CHARACTERS = 200

_NOTE = re.compile(r"#\s*(?P<date>\d{4}-\d\d-\d\d) (?P<by>\S+@\S+?)(?:: (?P<reason>.*))?")


@dataclass(frozen=True, slots=True)
class EntryNote:
    """Who added an entry, when, and why; empty texts for what is unknown."""

    date: str = ""
    """``YYYY-MM-DD``, in the machine's time zone."""
    by: str = ""
    """``USER@HOST``."""
    reason: str = ""
    """The reason, or the comment that somebody wrote by hand."""

    @property
    def is_generated(self) -> bool:
        """Whether ``greyd whitelist add`` wrote the comment."""
        return bool(self.date)


def note_line(now: float, by: str, reason: str) -> str:
    """Return the comment line for a new entry."""
    when = time.strftime("%Y-%m-%d", time.localtime(now))
    text = one_line(reason)
    return f"# {when} {by}: {text}" if text else f"# {when} {by}"


def one_line(reason: str) -> str:
    """Return a reason without line breaks and control characters, cut to its maximum length."""
    words = "".join(each if each.isprintable() else " " for each in reason).split()
    text = " ".join(words)
    if len(text) > MAX_REASON_CHARACTERS:
        text = text[: MAX_REASON_CHARACTERS - 1] + "…"
    return text


def note_of(lines: list[bytes], number: int) -> EntryNote:
    """Return the note of the entry on a line: its comment, or that on the line above.

    Args:
        lines: the lines of the file.
        number: the entry's line number, starting at 1.
    """
    _, sign, comment = lines[number - 1].partition(b"#")
    if not sign and number > 1:
        above = lines[number - 2].strip()
        comment = above if above.startswith(b"#") else b""
    return _parsed(comment.strip())


def _parsed(comment: bytes) -> EntryNote:
    text = comment.decode(errors="replace")
    if found := _NOTE.fullmatch(text):
        return EntryNote(found["date"], found["by"], found["reason"] or "")
    return EntryNote(reason=text.lstrip("# "))
