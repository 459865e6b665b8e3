"""The rules for a single triplet: whether it passes or has passed, and how long it has waited."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from greyd.rules.records import Triplet
from greyd.rules.retention import load_current, ttl_for
from greyd.rules.transaction import Change

if TYPE_CHECKING:
    from greyd.config.settings import Settings

CLOCK_SKEW = 5
"""Seconds by which the clocks of servers on one store may differ without affecting decisions."""


class TripletOutcome(NamedTuple):
    """The outcome for one of a request's triplets. A tuple, because each request creates one."""

    passes: bool
    passed_before: bool
    waited: int
    change: Change

    @property
    def passes_first(self) -> bool:
        """Whether the triplet passes for the first time."""
        return self.passes and not self.passed_before


def by_merit(outcome: TripletOutcome) -> tuple[bool, int]:
    """Return a sort key: a triplet that passes is better, then one that has waited longer."""
    return outcome.passes, outcome.waited


def as_passed(outcome: TripletOutcome, now: int, settings: Settings) -> TripletOutcome:
    """Return the outcome as passed now, if the triplet alone would not pass yet."""
    if outcome.passes:
        return outcome
    triplet = Triplet(now - outcome.waited, now, now)
    change = Change(outcome.change.key, triplet.dump(), ttl_for(settings.max_age_seconds))
    return TripletOutcome(True, outcome.passed_before, outcome.waited, change)


def triplet_outcome(
    key: bytes, text: bytes | None, now: int, delay: int, settings: Settings
) -> TripletOutcome:
    """Return the outcome for a triplet seen at ``now``; ``text`` is its record."""
    before = load_current(Triplet, text, now, settings)
    if before is not None and before.passed_at is not None:
        now = not_behind(before.last_seen, now)
    passed_before, first_seen = _history(before, now, delay, settings)
    released_at = before.released_at if before and first_seen <= before.first_seen else None
    waited = now - first_seen
    # A longer delay, by worse evidence, does not revoke an earlier pass.
    passes = waited >= delay or (passed_before and settings.keeps_passes) or released_at is not None
    passed_at = None
    if passes:
        passed_at = before.passed_at if before and passed_before else now
    triplet = Triplet(first_seen, now, passed_at, released_at)
    seconds = settings.max_age_seconds if passes else settings.retry_window_seconds
    return TripletOutcome(
        passes, passed_before, waited, Change(key, triplet.dump(), ttl_for(seconds))
    )


def _history(before: Triplet | None, now: int, delay: int, settings: Settings) -> tuple[bool, int]:
    """Return whether a triplet has passed before, and when it was first seen.

    A triplet that has not passed within the retry window counts as first seen now.
    """
    if before is None:
        return False, now
    passed_before = has_passed(before, delay, settings)
    if not passed_before and now - awaited_since(before) > settings.retry_window_seconds:
        return False, now
    # If the clock has been set back, the triplet must not wait longer because of that.
    return passed_before, min(before.first_seen, now)


def awaited_since(triplet: Triplet) -> int:
    """Return the start of the retry window of an unpassed triplet; a release renews it."""
    return triplet.first_seen if triplet.released_at is None else triplet.released_at


def has_passed(triplet: Triplet, delay: int, settings: Settings) -> bool:
    """Whether a triplet has passed, according to its record.

    It has passed if it was last seen at least this delay after it was first seen (postgrey's
    behaviour). If decisions need evidence, it has passed if its record has the time of the pass, or
    if it was last seen at least the longest delay after it was first seen. The same is true of a
    released triplet, which passes before its delay is over.
    """
    seen_for = triplet.last_seen - triplet.first_seen
    if not settings.keeps_passes:
        return seen_for >= delay or (
            triplet.released_at is not None and triplet.passed_at is not None
        )
    return triplet.passed_at is not None or seen_for >= settings.longest_delay_seconds


class ReleaseOutcome(Enum):
    """The outcome of a release."""

    RELEASED = "released"
    """The triplet waited; its next attempt passes."""
    ALREADY_RELEASED = "already released"
    """An earlier release already lets its next attempt pass."""
    DELAY_OVER = "delay over"
    """It has waited for the longest delay: its next attempt passes without a release."""
    NOT_WAITING = "not waiting"
    """It has passed, has expired or does not exist."""


def release(
    key: bytes, text: bytes | None, now: int, settings: Settings
) -> tuple[ReleaseOutcome, tuple[Change, ...]]:
    """Return the outcome of releasing a triplet, which then passes when next seen, and the change.

    Only the time of the release is added to the record, which keeps the time when the triplet was
    first seen, so the header states how long the mail really waited. A release renews the retry
    window.
    """
    triplet = load_current(Triplet, text, now, settings)
    if triplet is None or has_passed(triplet, settings.delay_seconds, settings):
        return ReleaseOutcome.NOT_WAITING, ()
    if now - awaited_since(triplet) > settings.retry_window_seconds:
        return ReleaseOutcome.NOT_WAITING, ()
    if triplet.released_at is not None:
        return ReleaseOutcome.ALREADY_RELEASED, ()
    if now - triplet.first_seen >= settings.longest_delay_seconds + CLOCK_SKEW:
        return ReleaseOutcome.DELAY_OVER, ()
    released = triplet._replace(released_at=now)
    change = Change(key, released.dump(), ttl_for(settings.retry_window_seconds))
    return ReleaseOutcome.RELEASED, (change,)


def not_behind(seen: int, now: int) -> int:
    """Return ``now``, or ``seen`` if that is up to ``CLOCK_SKEW`` later, by another server's clock.

    Otherwise a triplet that has just passed on that server would be too early on this one, and
    would pass for the first time twice.
    """
    return seen if 0 < seen - now <= CLOCK_SKEW else now
