"""What the whitelist linter reports."""

from __future__ import annotations

from typing import NamedTuple

from greyd.redaction import excerpt

ERROR, NOTE = "error", "note"


class LintFinding(NamedTuple):
    """Something about a line."""

    file: str
    line: int
    text: str
    """The line, as far as it counts; empty where it is about the file."""
    severity: str
    """``error`` or ``note``."""
    what: str
    remedy: str

    def __str__(self) -> str:
        note = "note: " if self.severity == NOTE else ""
        text = f'"{self.text}" – ' if self.text else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.file}:{self.line}: {note}{text}{self.what}{remedy}"


class Problem(NamedTuple):
    """What is found of an entry."""

    what: str
    remedy: str = ""
    severity: str = ERROR


def display_text(text: bytes) -> str:
    """Return a text shortened and fit for a terminal."""
    return excerpt(text[:80].decode(errors="backslashreplace"))
