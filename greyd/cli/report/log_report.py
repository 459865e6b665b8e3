"""The data of a report, for its text, HTML page and JSON document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.cli.not_read import NotRead
from greyd.cli.report.times.time_slots import TimeSlot, by_hour_of_day, over_time
from greyd.escaping import printable
from greyd.rules.reasons import GREYLIST

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from greyd.cli.report.shadow import ShadowComparison
    from greyd.cli.sketches import DistinctCount, Total


@dataclass(frozen=True, slots=True)
class DelayStatistics:
    """Statistics of the waits of mail at its first pass, in seconds."""

    count: int
    mean: float
    percentiles: Mapping[int, int]
    longest: int
    classes: Sequence[int]
    """The number of mails in each class of ``DELAY_BORDERS``; the last class is above them."""


@dataclass(frozen=True, slots=True)
class FirstContacts:
    """The triplets whose first attempt is in the log, counted by outcome."""

    count: int
    waited: int
    """Triplets that passed after the delay."""
    passed_otherwise: int
    """Triplets whose mail passed from another network, or by an exemption of any kind."""
    never_returned: int
    """Triplets that had not passed ``due_seconds`` or more after their first attempt."""
    too_young: int
    """Triplets with an unknown outcome: first seen too shortly before the end of the log."""


@dataclass(frozen=True, slots=True)
class LostMail:
    """A mail that never came back."""

    first: float
    last: float
    tries: int
    networks: int
    """The number of client networks that the mail came from."""
    client_name: bytes
    client_address: bytes
    sender: bytes
    recipient: bytes
    identity: bytes
    is_verified: bool
    """Whether DNS verifies the client's name, and the name is not a generic one."""
    hints: tuple[str, ...]
    """Signs that the recipient may have wanted the mail."""

    def all_hints(self) -> list[str]:
        """Return all signs that the mail may have been wanted, including a verified name."""
        return [*(["verified name"] if self.is_verified else []), *self.hints]


@dataclass(frozen=True, slots=True)
class SenderPool:
    """A provider that retries from several networks, each of which has to wait again."""

    name: bytes
    """The registered domain that the names or the identities of its clients have in common."""
    mails: int
    """The number of pairs of sender and recipient that came from several networks."""
    max_networks: int
    passed: int
    """The number of mails that passed."""
    longest_seconds: int
    """The longest time from a first attempt to the pass; 0 if no mail passed."""


@dataclass(frozen=True, slots=True)
class WhitelistCandidate:
    """A provider whose mail need not wait."""

    client: bytes
    """The provider's registered domain, as the tables show it."""
    entry: bytes
    """The narrowest domain that all names of its clients share."""
    reason: str
    command: str
    """The command that adds the entry."""

    def dump(self) -> dict[str, str]:
        """Return the fields as JSON values."""
        return {
            "client": printable(self.client),
            "entry": printable(self.entry),
            "reason": self.reason,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """All figures of a report."""

    first: float
    """Unix time of the first decision with a date; 0 if none has a date."""
    last: float
    requests: int
    undated: int
    outcomes: Sequence[tuple[tuple[str, str], int]]
    """Pairs of action and reason with their counts, the most frequent first."""
    clients: DistinctCount
    senders: DistinctCount
    recipients: DistinctCount
    first_contacts: FirstContacts
    delays: DelayStatistics | None
    due_seconds: int
    """The time after its first attempt from which a mail counts as lost."""
    lost: Sequence[LostMail]
    """Lost mail, the most likely to have been wanted first."""
    lost_verified: int
    """The number of all lost triplets of clients with a verified name, even if not in ``lost``."""
    lost_domains: Sequence[Total]
    lost_recipients: Sequence[Total]
    waits: Sequence[Total]
    """The waits of each client, the longest total first."""
    early: Sequence[Total]
    """The early retries of each client, the highest count first."""
    networks: Mapping[bytes, bytes]
    """The networks among the names in ``waits`` and ``early``, each in CIDR notation."""
    pools: Sequence[SenderPool]
    candidates: Sequence[WhitelistCandidate]
    """Providers to whitelist."""
    slots: Sequence[TimeSlot]
    """The quarters of an hour that contain a decision."""
    shadow: ShadowComparison | None
    """What the shadow would have done; None if the log has no decision of a shadow."""
    approximations: Sequence[str]
    """A line for each inexact figure, with the reason."""
    not_read: NotRead = field(default_factory=NotRead)
    """Lines and files that are missing from the report."""

    def client_name(self, client: Total) -> bytes:
        """Return the name of a client to show, e.g. for a whitelist: a domain or a network."""
        return self.networks.get(client.name, client.name)

    def greylisted(self) -> int:
        """Return the number of greylisted requests."""
        return sum(count for (action, _), count in self.outcomes if action == GREYLIST)

    def by_hour(self) -> list[TimeSlot]:
        """Return the decisions by hour of the day, local time; ``start`` of each slot is 0."""
        return [TimeSlot(0, counts) for counts in by_hour_of_day(self.slots)]

    def over_time(self, max_count: int, steps: Iterable[int]) -> tuple[int, list[TimeSlot]]:
        """Return a slot length in seconds, and the slots; see ``time_slots.over_time``."""
        return over_time(self.slots, max_count, steps)
