"""A report's record: all that its text, its page and its JSON document show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.report.time_slots import TimeSlot, by_hour_of_day, over_time
from greyd.rules.reasons import GREYLIST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greyd.cli.sketches import DistinctCount, Total


@dataclass(frozen=True, slots=True)
class DelayStatistics:
    """How long mail waited that passed for the first time, in seconds."""

    count: int
    mean: float
    percentiles: Mapping[int, int]
    longest: int
    classes: Sequence[int]
    """Mails up to each border of ``DELAY_BORDERS``, above the border before; then all others."""


@dataclass(frozen=True, slots=True)
class FirstContacts:
    """The triplets whose first attempt is in the log, by how they ended."""

    count: int
    waited: int
    """Passed after the delay."""
    passed_otherwise: int
    """Passed from another network, or because client, sender or recipient is exempt."""
    never_returned: int
    """Had enough time to return, and did not."""
    too_young: int
    """Not yet decided: first seen too shortly before the end of the log."""


@dataclass(frozen=True, slots=True)
class LostMail:
    """A mail that never came back."""

    first: float
    last: float
    tries: int
    networks: int
    """Client networks that it came from."""
    client_name: bytes
    client_address: bytes
    sender: bytes
    recipient: bytes
    identity: bytes
    is_verified: bool
    """DNS verifies the client's name, and the name is not a generic one."""
    hints: tuple[str, ...]
    """Why it may have been wanted."""

    def all_hints(self) -> list[str]:
        """Return why it may have been wanted, a verified name included."""
        return [*(["verified name"] if self.is_verified else []), *self.hints]


@dataclass(frozen=True, slots=True)
class SenderPool:
    """A provider that retries from other networks, so that each network waits anew."""

    name: bytes
    """The registered domain of all its clients' names."""
    mails: int
    """Pairs of sender and recipient that came from several networks."""
    max_networks: int
    passed: int
    """Mails that passed."""
    longest_seconds: int
    """From a first attempt to the pass; 0 if no mail passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What a log's decisions add up to."""

    first: float
    """Time of the first decision that has a date; 0 if none has."""
    last: float
    requests: int
    undated: int
    outcomes: Sequence[tuple[tuple[str, str], int]]
    """Action and reason, and how often; the most frequent first."""
    clients: DistinctCount
    senders: DistinctCount
    recipients: DistinctCount
    first_contacts: FirstContacts
    delays: DelayStatistics | None
    due_seconds: int
    """How long after its first attempt a mail counts as lost."""
    lost: Sequence[LostMail]
    """The most likely wanted first."""
    lost_verified: int
    """Lost triplets of clients with a verified name, also those not in ``lost``."""
    lost_domains: Sequence[Total]
    lost_recipients: Sequence[Total]
    waits: Sequence[Total]
    """Waits by client, the longest total first."""
    early: Sequence[Total]
    """Early retries by client, the most first."""
    pools: Sequence[SenderPool]
    slots: Sequence[TimeSlot]
    """Quarters of an hour that have a decision."""
    approximations: Sequence[str]
    """What is not exact, and why."""

    def greylisted(self) -> int:
        """Return how many requests were greylisted."""
        return sum(count for (action, _), count in self.outcomes if action == GREYLIST)

    def by_hour(self) -> list[TimeSlot]:
        """Return the decisions by hour of the day, local time; each slot starts at 0."""
        return [TimeSlot(0, counts) for counts in by_hour_of_day(self.slots)]

    def over_time(self, max_count: int, steps: Iterable[int]) -> tuple[int, list[TimeSlot]]:
        """Return a length in seconds and the slots of that length; see ``time_slots``."""
        return over_time(self.slots, max_count, steps)
