"""Counts mail that never came back, and ranks it by how likely it was wanted."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.report.clients import UNKNOWN_NAMES, ClientGroups
from greyd.cli.report.log_report import LostMail
from greyd.cli.sketches import LargestTotals
from greyd.rules.address import parse_address
from greyd.rules.client_names.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, is_or_is_below, normal_name

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DOMAINS = 200_000
"""The maximum number of stored sender domains whose mail has passed."""

_NAME_SCORE, _RETRY_SCORE, _DOMAIN_SCORE, _OWN_HOST_SCORE, _IDENTITY_SCORE = 2, 3, 4, 6, 8
"""The score of each sign that a mail was wanted."""


@dataclass(slots=True)
class PendingTriplet:
    """A waiting triplet, linked to the triplets of the same mail from other networks."""

    network: bytes
    first: float
    last: float
    tries: int
    client_name: bytes
    client_address: bytes
    sender: bytes
    recipient: bytes
    identity: bytes
    other: PendingTriplet | None = None
    shadow: str = ""
    """The shadow's action at the first attempt; empty if it is unknown."""

    @property
    def is_first_attempt(self) -> bool:
        """Whether there has been only one attempt so far."""
        return self.tries == 1 and self.other is None

    def all(self) -> Iterator[PendingTriplet]:
        """Yield this triplet and the linked ones."""
        each: PendingTriplet | None = self
        while each is not None:
            yield each
            each = each.other


class LostMailRanking:
    """Counts lost mail, and keeps the mails that are most likely to have been wanted."""

    def __init__(self, clients: ClientGroups, size: int) -> None:
        """Keep at most ``size`` mails."""
        self._clients = clients
        self._size = size
        self._ranked: list[tuple[int, float, int, LostMail]] = []
        self._passed_domains: set[bytes] = set()
        self.triplets = 0
        self.verified = 0
        """The number of triplets of clients with a verified name."""
        self.domains, self.recipients = LargestTotals(), LargestTotals()

    def note_passed(self, sender: bytes) -> None:
        """Store the domain of a sender whose mail has passed for a kind in ``EARNED``."""
        if not self.is_full:
            self._passed_domains.add(domain_of(sender))

    @property
    def is_full(self) -> bool:
        """Whether the limit of stored domains is reached."""
        return len(self._passed_domains) >= MAX_DOMAINS

    def add(self, pending: PendingTriplet, networks: int) -> None:
        """Count a mail that never came back; ``networks`` is the number of its triplets."""
        self.triplets += networks
        name = pending.client_name
        self.verified += networks if name not in UNKNOWN_NAMES else 0
        self.domains.add(self._clients.organisation(name) or b"unknown", count=networks)
        self.recipients.add(pending.recipient.lower(), count=networks)
        self._rank(pending, networks)

    def top(self) -> list[LostMail]:
        """Return the kept mails, the most likely to have been wanted first."""
        return [mail for *_, mail in sorted(self._ranked, reverse=True)]

    def _rank(self, pending: PendingTriplet, networks: int) -> None:
        score, hints = self._judge(pending, networks)
        last = max(each.last for each in pending.all())
        is_full = len(self._ranked) >= self._size
        if is_full and (score, last) <= self._ranked[0][:2]:
            return
        name = normal_name(pending.client_name)
        address = parse_address(pending.client_address)
        has_name = pending.client_name not in UNKNOWN_NAMES
        is_verified = has_name and address is not None and not is_generic(name, address)
        if has_name and not is_verified:
            score -= _NAME_SCORE
        mail = LostMail(
            first=pending.first,
            last=last,
            tries=sum(each.tries for each in pending.all()),
            networks=networks,
            client_name=pending.client_name,
            client_address=pending.client_address,
            sender=pending.sender,
            recipient=pending.recipient,
            identity=pending.identity,
            is_verified=is_verified,
            hints=hints,
        )
        # The count of triplets breaks ties, so that heapq never compares mails.
        ranked = (score, last, self.triplets, mail)
        if is_full:
            heapq.heappushpop(self._ranked, ranked)
        else:
            heapq.heappush(self._ranked, ranked)

    def _judge(self, pending: PendingTriplet, networks: int) -> tuple[int, tuple[str, ...]]:
        """Return a score of how likely a mail was wanted, and the signs for it."""
        hints = []
        score = _NAME_SCORE if pending.client_name not in UNKNOWN_NAMES else 0
        domain = domain_of(pending.sender)
        if pending.identity:
            hints.append(f"identity {pending.identity.decode('ascii', 'replace')}")
            score += _IDENTITY_SCORE
        own = self._clients.organisation(domain)
        if own and is_or_is_below(normal_name(pending.client_name), own):
            hints.append("the sender's own host")
            score += _OWN_HOST_SCORE
        if domain in self._passed_domains:
            hints.append("other mail of the domain passed")
            score += _DOMAIN_SCORE
        if networks > 1 or pending.tries > 1:
            hints.append("came from several networks" if networks > 1 else "tried again")
            score += _RETRY_SCORE
        return score, tuple(hints)
