"""The kinds of decisions that a report counts over time."""

from __future__ import annotations

from enum import IntEnum

from greyd.rules.reasons import OUTCOMES, Category


class DecisionKind(IntEnum):
    """A kind of decision; its value is its index in a list of counts."""

    NEW = 0
    """Greylisted: first contact."""
    EARLY = 1
    """Greylisted: the retry came too early."""
    WAITED = 2
    """The triplet passed for the first time, after its delay."""
    KNOWN = 3
    """The triplet has passed before."""
    AUTO_WHITELISTED = 4
    WHITELISTED = 5
    OTHER = 6

    @property
    def key(self) -> str:
        """The name of the kind in JSON."""
        return self.name.lower()


GREYLISTED = (DecisionKind.NEW, DecisionKind.EARLY)

EARNED = frozenset({DecisionKind.WAITED, DecisionKind.KNOWN, DecisionKind.AUTO_WHITELISTED})
"""Kinds of passes that earlier attempts or messages have earned."""

_BY_CATEGORY = {
    Category.FIRST_CONTACT: DecisionKind.NEW,
    Category.EARLY_RETRY: DecisionKind.EARLY,
    Category.KNOWN: DecisionKind.KNOWN,
    Category.AUTO_WHITELISTED: DecisionKind.AUTO_WHITELISTED,
    Category.EXEMPT: DecisionKind.WHITELISTED,
    Category.OTHER: DecisionKind.OTHER,
    Category.FAULT: DecisionKind.OTHER,
}
_BY_OUTCOME = {outcome: _BY_CATEGORY[reason.category] for outcome, reason in OUTCOMES.items()}


def kind_of(action: str, reason: str, delay_seconds: int | None) -> DecisionKind:
    """Return the kind of a logged decision; ``OTHER`` for an unknown reason.

    Args:
        action: ``pass`` or ``greylist``.
        reason: the reason in the log.
        delay_seconds: how long the mail waited; only its first pass has a delay.
    """
    kind = _BY_OUTCOME.get((action, reason), DecisionKind.OTHER)
    if kind is DecisionKind.KNOWN and delay_seconds is not None:
        return DecisionKind.WAITED
    return kind


def no_counts() -> list[int]:
    """Return a list of counts by kind, all zero."""
    return [0] * len(DecisionKind)
