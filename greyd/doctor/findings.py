"""The result of a check: its state, the facts, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class ConfigChange:
    """A change to a configuration that fixes a finding; ``postfix.fix.edits`` has the kinds."""

    __slots__ = ()


class FindingState(StrEnum):
    """The state of the checked subject, from best to worst."""

    OK = "ok"
    HINT = "hint"
    """The subject works; another setting may be better."""
    NOT_CHECKED = "not checked"
    WARNING = "warning"
    """The subject works, but has a fault."""
    ERROR = "error"
    """The subject does not work."""


FAILED_STATES = frozenset({FindingState.WARNING, FindingState.ERROR})
"""States that make ``greyd doctor`` exit with status 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    """The name of the check: its group, a colon, and the subject."""
    state: FindingState
    seen: str
    """The facts found, or the reason why they are unknown."""
    remedy: str = ""
    """A command to run, or a line to add."""
    edits: tuple[ConfigChange, ...] = ()
    """The changes to Postfix's configuration that fix the finding, if they are certain."""
    commands: tuple[str, ...] = field(default=(), compare=False)
    """Lines to paste into a shell that fix the finding."""

    @property
    def group(self) -> str:
        """The group of the check."""
        return self.check.partition(":")[0]


def ok(check: str, seen: str) -> Finding:
    """Return a finding that reports no fault."""
    return Finding(check, FindingState.OK, seen)


def hint(check: str, seen: str, remedy: str = "") -> Finding:
    """Return a finding that another setting may be better."""
    return Finding(check, FindingState.HINT, seen, remedy)


def not_checked(check: str, reason: str, remedy: str = "") -> Finding:
    """Return a finding that the facts are unknown for a reason."""
    return Finding(check, FindingState.NOT_CHECKED, reason, remedy)


def warning(
    check: str, seen: str, remedy: str = "", edits: tuple[ConfigChange, ...] = ()
) -> Finding:
    """Return a finding that the subject works, but has a fault."""
    return Finding(check, FindingState.WARNING, seen, remedy, edits)


def error(check: str, seen: str, remedy: str = "", edits: tuple[ConfigChange, ...] = ()) -> Finding:
    """Return a finding that the subject does not work."""
    return Finding(check, FindingState.ERROR, seen, remedy, edits)
