"""A decision of the shadow, beside the server's decision on the same request."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from greyd.rules.reasons import GREYLIST, Category, Reason
from greyd.rules.records import Triplet

if TYPE_CHECKING:
    from greyd.policy.events import DecisionEvent, Transaction


class DelayInShadow(StrEnum):
    """What the shadow would have done with mail that has passed after its delay."""

    NOT_DELAYED = "not delayed"
    """It would have passed at the first attempt."""
    DELAYED = "delayed"
    """It would have had to wait as well."""
    STILL_WAITING = "still waiting"
    """It would have to wait longer."""


class ShadowDecision(NamedTuple):
    """The two decisions on a request. A tuple, because nearly every request creates one."""

    real: DecisionEvent
    """The decision that the server has sent."""
    shadow: DecisionEvent
    """The decision that the shadow would have sent."""

    @property
    def actions(self) -> tuple[str, str] | None:
        """The actions of the server and of the shadow; None if a fault made one of them pass.

        In mode ``learn``, the server's action is the one of mode ``on``.
        """
        real, shadow = self.real.reason, self.shadow.reason
        if Category.FAULT in (real.category, shadow.category):
            return None
        return action_in_mode_on(real), action_in_mode_on(shadow)

    @property
    def is_first_contact(self) -> bool:
        """Whether the server has greylisted the triplet for the first time."""
        reason, transaction = self.real.reason, self.real.transaction
        if reason is Reason.LEARNING and transaction and transaction.decision:
            reason = transaction.decision.reason
        return reason is Reason.NEW

    @property
    def delay(self) -> DelayInShadow | None:
        """What the shadow would have done; None unless the mail has passed after its delay."""
        if not self.real.waited_seconds or self.shadow.reason.category is Category.FAULT:
            return None
        if action_in_mode_on(self.shadow.reason) == GREYLIST:
            return DelayInShadow.STILL_WAITING
        has_waited = self.shadow.waited_seconds or _has_waited_before(self.shadow.transaction)
        return DelayInShadow.DELAYED if has_waited else DelayInShadow.NOT_DELAYED


def _has_waited_before(transaction: Transaction | None) -> bool:
    """Whether the network's triplet waited before it passed, at an earlier attempt."""
    if transaction is None or transaction.decision is None:
        return False
    text = transaction.remembered[0]  # The network's triplet is always the first key.
    triplet = Triplet.load(text) if text else None
    return triplet is not None and (triplet.passed_at or 0) > triplet.first_seen


def action_in_mode_on(reason: Reason) -> str:
    """Return the action of a decision, or the one that mode ``learn`` has suppressed."""
    return GREYLIST if reason is Reason.LEARNING else reason.action
