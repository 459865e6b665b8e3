"""Compares the shadow's decisions in a log with what became of the mail (``--shadow``)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from greyd.plurals import counted, noun
from greyd.rules.reasons import GREYLIST, PASS, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.maillog.shadow_lines import LoggedShadowDecision


class WaitingMail(Protocol):
    """A mail that has been greylisted, and has not passed yet."""

    shadow: str
    """The shadow's action at the first attempt; empty if it is unknown."""

    @property
    def is_first_attempt(self) -> bool:
        """Whether there has been only one attempt so far."""


@dataclass
class ShadowComparison:
    """What the shadow would have done with the mail of a log.

    A mail is one sender and recipient, from whatever networks. The shadow's decision on its first
    attempt counts. Mail whose first attempt the shadow has not decided is left out.
    """

    decided: int = 0
    """The number of the shadow's decisions in the log: those in which one of the two greylists."""
    delayed: Counter[str] = field(default_factory=Counter)
    """Mail that has been greylisted and has passed later, by the shadow's action: good mail."""
    lost: Counter[str] = field(default_factory=Counter)
    """Mail that never came back, by the shadow's action."""
    newly_delayed: int = 0
    """First contacts for the shadow that the server has passed at once."""

    def add(self, shadow: LoggedShadowDecision, pending: WaitingMail | None) -> None:
        """Add a decision of the shadow; ``pending`` is its mail, if that is waiting."""
        self.decided += 1
        decision = shadow.decision
        if shadow.answer == PASS:
            self.newly_delayed += (decision.action, decision.reason) == Reason.NEW.outcome
        elif pending is not None and pending.is_first_attempt and not pending.shadow:
            pending.shadow = decision.action

    def end(self, pending: WaitingMail, *, is_lost: bool) -> None:
        """Count a mail that has passed or never came back."""
        if pending.shadow:
            (self.lost if is_lost else self.delayed)[pending.shadow] += 1

    def sentences(self) -> Iterator[str]:
        """Yield the figures as sentences."""
        yield (
            f"{self.delayed[PASS]:,} of {counted(self.delayed.total(), 'delayed good mail')}"
            " would not have waited."
        )
        yield (
            f"{self.lost[PASS]:,} of {counted(self.lost.total(), 'mail')} that never came back"
            " would have been let in at once: nearly all are bots."
        )
        contacts = counted(self.newly_delayed, "first contact")
        verb = noun(self.newly_delayed, "passes", "pass")
        yield f"{contacts} that {verb} now would have had to wait."

    def dump(self) -> dict[str, int]:
        """Return the figures as JSON values."""
        return {
            "decisions": self.decided,
            "delayed": self.delayed.total(),
            "not_delayed": self.delayed[PASS],
            "never_returned": self.lost.total(),
            "let_in": self.lost[PASS],
            "kept_out": self.lost[GREYLIST],
            "newly_delayed": self.newly_delayed,
        }
