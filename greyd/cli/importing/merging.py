"""What is known elsewhere, and how it is merged with what this store knows.

Pure rules. Of a triplet the earliest sight, the latest sight and the earliest pass stay, of a
client or an identity the greatest count and the latest time. So the order of imports does not
matter, and what is imported twice changes nothing.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from greyd.config.vocabulary import HOUR
from greyd.rules.greylist import has_passed
from greyd.rules.records import Client, Identity, Triplet
from greyd.rules.transaction import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.rules.entries import EntryKind
    from greyd.rules.transaction import Remembered, Rule

    Answer = tuple[EntryKind, "Outcome"]


class Outcome(Enum):
    """What becomes of an entry."""

    IMPORTED = "imported"
    MERGED = "merged"
    """It was known, and is now known better."""
    UNCHANGED = "unchanged"
    EXPIRED = "expired"
    NOT_TAKEN_OVER = "not taken over"


class Correspondence(NamedTuple):
    """That a user has written to somebody."""

    last_written: int

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d" % self

    @classmethod
    def load(cls, text: bytes) -> Correspondence | None:
        """Read a record; None for one that can't be read."""
        sight = Triplet.load(text)
        return cls(sight.first_seen) if sight else None


Known = Triplet | Client | Identity | Correspondence


class Found(NamedTuple):
    """An entry that was found elsewhere."""

    kind: EntryKind
    keys: tuple[bytes, ...]
    """Where it belongs here. Several where its key can be read in more than one way: the wrong
    ones are asked for by nobody. All have the same tag."""
    record: Known
    ttl_seconds: int = 0
    """Until it is forgotten there; 0 where that is to be reckoned from its times."""


class Refused(NamedTuple):
    """An entry for which there is no place here."""

    kind: EntryKind
    reason: str
    is_wrong: bool = False
    """Whether it would have been taken over if the server were set up for it."""


class Unreadable(NamedTuple):
    """Something that is no entry."""

    data: bytes
    """The beginning of it."""


Item = Found | Refused | Unreadable


def as_passed_here(triplet: Triplet, delay: int, settings: Settings) -> Triplet:
    """Return a triplet that was decided with ``delay``, so that here it has passed if it has there.

    Nobody who has waited once is to wait again because the delay here is longer: then the first
    sight is put so far back.
    """
    first, last, passed_at = triplet
    if passed_at is None:
        if last - first < delay:
            return triplet
        passed_at = max(first, first + delay)
    if not settings.delay_varies:
        first = min(first, last - settings.delay_seconds)
    return Triplet(first, last, passed_at)


def is_expired(record: Known, now: int, settings: Settings) -> bool:
    """Whether the rules would pass over a record as too old."""
    if abs(now - _last(record)) > settings.max_age_seconds:
        return True
    return (
        isinstance(record, Triplet)
        and not has_passed(record, settings.delay_seconds, settings)
        and now - record.first_seen > settings.retry_window_seconds
    )


def merging(found: Found, now: int, settings: Settings, *, dry_run: bool = False) -> Rule[Answer]:
    """Return the rule that merges an entry with what is remembered under its keys."""
    return partial(_merge_all, found, now, settings, dry_run)


def _merge_all(
    found: Found, now: int, settings: Settings, dry_run: bool, remembered: Remembered
) -> tuple[Answer, Sequence[Change]]:
    outcome, changes = Outcome.UNCHANGED, []
    for key, text in zip(found.keys, remembered, strict=True):
        before = None if text is None else type(found.record).load(text)
        if before is not None and is_expired(before, now, settings):
            before = None
        merged = found.record if before is None else _merge(before, found.record)
        if merged == before:
            continue
        if outcome is not Outcome.IMPORTED:
            outcome = Outcome.MERGED if before else Outcome.IMPORTED
        ttl_seconds = _ttl(merged, now, settings)
        if found.ttl_seconds:
            is_the_same = merged == found.record
            ttl_seconds = found.ttl_seconds if is_the_same else max(ttl_seconds, found.ttl_seconds)
        changes.append(Change(key, merged.dump(), ttl_seconds))
    return (found.kind, outcome), () if dry_run else changes


def _merge(one: Known, other: Known) -> Known:
    match one, other:
        case Triplet(), Triplet():
            passed = [each for each in (one.passed_at, other.passed_at) if each is not None]
            return Triplet(
                min(one.first_seen, other.first_seen),
                max(one.last_seen, other.last_seen),
                min(passed, default=None),
            )
        case Client(), Client():
            return Client(*map(max, one, other))
        case Identity(), Identity():
            first = min(one.first_counted, other.first_counted)
            successes, last = map(max, one[:2], other[:2])
            return Identity(successes, last, first)
        case _:
            return max(one, other, key=_last)


def _last(record: Known) -> int:
    return record[0] if isinstance(record, Correspondence) else record[1]


def _ttl(record: Known, now: int, settings: Settings) -> int:
    """Return how long a record is to live: as if it had been written when it was last seen."""
    seconds = settings.max_age_seconds
    if isinstance(record, Triplet) and not has_passed(record, settings.delay_seconds, settings):
        seconds = settings.retry_window_seconds
    seconds = max(seconds, 0)
    return min(max(seconds - (now - _last(record)), 0), seconds) + HOUR
