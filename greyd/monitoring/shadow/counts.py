"""The shadow's counts in a period, and sentences about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.monitoring.activity.counter_history import (
    SHADOW_COMPARED,
    SHADOW_DELAYED_MAIL,
    SHADOW_FIRST_CONTACTS,
    SHADOW_SKIPPED,
)
from greyd.plurals import counted
from greyd.policy.shadow_decision import DelayInShadow
from greyd.rules.reasons import ACTIONS, GREYLIST, PASS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class ShadowCounts:
    """How the shadow's decisions compare with the server's, see docs/shadow.md."""

    shadow_requests: int = 0
    """The number of compared requests."""
    shadow_only_passes: int = 0
    """Requests that the server has greylisted and the shadow would have passed."""
    shadow_only_greylists: int = 0
    """Requests that the server has passed and the shadow would have greylisted."""
    shadow_first_contacts: int = 0
    """First contacts that the server has greylisted."""
    shadow_first_contacts_passed: int = 0
    """Those of them that the shadow would have passed."""
    shadow_delayed_mails: int = 0
    """Mail that has come back and passed after its delay: good mail."""
    shadow_not_delayed_mails: int = 0
    """The part of it that the shadow would not have delayed."""
    shadow_skipped: int = 0
    """Requests that the shadow has not decided, because too many waited for it."""

    @property
    def let_in(self) -> int:
        """First contacts that the shadow would have passed, and that have not come back."""
        return max(self.shadow_first_contacts_passed - self.shadow_not_delayed_mails, 0)

    def sentences(self) -> Iterator[str]:
        """Yield sentences about the counts; none without a compared request."""
        if not self.shadow_requests:
            return
        yield (
            f"{self.shadow_not_delayed_mails:,} of {self.shadow_delayed_mails:,} delayed good mails"
            " would not have waited"
        )
        yield (
            f"{self.let_in:,} of {self.shadow_first_contacts:,} first contacts would have passed at"
            " once, and have not come back: bots, or mail still waiting"
        )
        yield (
            f"{self.shadow_only_greylists:,} of {self.shadow_requests:,} requests pass now and"
            " would have been greylisted"
        )
        if self.shadow_skipped:
            yield f"{counted(self.shadow_skipped, 'request was', 'requests were')} skipped"


def shadow_counts(totals: Mapping[tuple[str, ...], float]) -> ShadowCounts:
    """Return the shadow's counts of a period, from the increase of each counter."""

    def number(*series: str) -> int:
        return round(totals.get(series, 0))

    return ShadowCounts(
        sum(number(SHADOW_COMPARED, answer, shadow) for answer in ACTIONS for shadow in ACTIONS),
        number(SHADOW_COMPARED, GREYLIST, PASS),
        number(SHADOW_COMPARED, PASS, GREYLIST),
        sum(number(SHADOW_FIRST_CONTACTS, action) for action in ACTIONS),
        number(SHADOW_FIRST_CONTACTS, PASS),
        sum(number(SHADOW_DELAYED_MAIL, delay.value) for delay in DelayInShadow),
        number(SHADOW_DELAYED_MAIL, DelayInShadow.NOT_DELAYED.value),
        number(SHADOW_SKIPPED),
    )
