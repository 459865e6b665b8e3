"""What ``greyd doctor`` looks at, a module for each thing.

Each module gathers what there is to be seen, and has small functions that make findings of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class FindingState(StrEnum):
    """How something is, the best first."""

    OK = "ok"
    HINT = "hint"
    """Could be better, or otherwise; nothing is wrong."""
    NOT_CHECKED = "not checked"
    WARNING = "warning"
    """Works, and not as it should."""
    ERROR = "error"
    """Does not work."""


FAILED_STATES = frozenset({FindingState.WARNING, FindingState.ERROR})


class Finding(NamedTuple):
    """What was found out about one thing."""

    check: str
    """What was looked at: a group, a colon, and a name."""
    state: FindingState
    seen: str
    remedy: str = ""
    """The line to add or the command to run."""

    @property
    def group(self) -> str:
        """The group that it belongs to."""
        return self.check.partition(":")[0]


def ok(check: str, seen: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(check, FindingState.OK, seen)


def hint(check: str, seen: str, remedy: str = "") -> Finding:
    """Say that something could be otherwise."""
    return Finding(check, FindingState.HINT, seen, remedy)


def not_checked(check: str, why: str, remedy: str = "") -> Finding:
    """Say that something is not known, and why."""
    return Finding(check, FindingState.NOT_CHECKED, why, remedy)


def warning(check: str, seen: str, remedy: str = "") -> Finding:
    """Say that something is not as it should be."""
    return Finding(check, FindingState.WARNING, seen, remedy)


def error(check: str, seen: str, remedy: str = "") -> Finding:
    """Say that something does not work."""
    return Finding(check, FindingState.ERROR, seen, remedy)
