"""The findings of the whitelist linter."""

from __future__ import annotations

from dataclasses import dataclass

from greyd.whitelist.list_names import CLIENTS, NEVER_AUTO, OVERRIDE, RECIPIENTS, SENDERS

ERROR, NOTE = "error", "note"

EVERYTHING = {
    CLIENTS: "lets every client pass",
    RECIPIENTS: "lets mail to every recipient pass",
    SENDERS: "lets every sender with an SPF record pass",
    NEVER_AUTO: "matches every client",
    OVERRIDE: "exempts every client from the lists",
}
"""The description of an entry that matches everything, by the list's name."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with an entry, and its remedy."""

    description: str
    remedy: str
    severity: str = ERROR


@dataclass(frozen=True, slots=True)
class LintFinding:
    """A problem with a line of a whitelist file, and its remedy."""

    file: str
    line: int
    text: str
    """The entry as ``display_text``; empty if the problem concerns the whole file."""
    severity: str
    """``error`` or ``note``."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        note = "note: " if self.severity == NOTE else ""
        text = f'"{self.text}" – ' if self.text else ""
        return f"{self.file}:{self.line}: {note}{text}{self.problem}; {self.remedy}"
