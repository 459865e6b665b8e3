"""Signs in the store that waiting mail is spam: what else its client's network has sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from greyd.cli.tables.column import Meaning
from greyd.rules.address import network_prefix
from greyd.rules.entries import EntryKind, EntryState
from greyd.rules.hostnames import domain_of, organisation_of
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.config.settings import Settings
    from greyd.rules.entries import StoredEntry

MAX_NETWORKS = 200_000
"""The maximum number of client networks that are counted; other networks get no sign."""

_MAX_SENDERS = 100
"""The maximum number of sender domains that are counted for a network."""

_MANY_SENDERS = 3
"""This many sender domains from one unknown network are a sign of spam."""


class SpamLikelihood(IntEnum):
    """How likely a waiting mail is spam; the most likely first."""

    SPAM = 0
    UNKNOWN = 1
    WANTED = 2

    @property
    def meaning(self) -> Meaning:
        """What the colour of a mail stands for."""
        return (Meaning.BAD, Meaning.PLAIN, Meaning.GOOD)[self]


@dataclass(frozen=True, slots=True)
class SpamSign:
    """A likelihood and its reason."""

    likelihood: SpamLikelihood
    text: str


@dataclass
class NetworkHistory:
    """Counts what each client network, or identity, has sent."""

    settings: Settings
    is_complete: bool = True
    """Whether all networks were counted."""
    _proved: set[bytes] = field(default_factory=set)
    _lost: Counter[bytes] = field(default_factory=Counter)
    _senders: dict[bytes, set[bytes]] = field(default_factory=dict)

    def add_all(self, entries: Iterable[StoredEntry]) -> None:
        """Count entries of the store."""
        for entry in entries:
            self._add(entry)

    def _add(self, entry: StoredEntry) -> None:
        if entry.kind is EntryKind.CORRESPONDENCE or entry.is_hidden:
            return
        network = self._network(entry)
        if network not in self._senders and len(self._senders) >= MAX_NETWORKS:
            self.is_complete = False
            return
        senders = self._senders.setdefault(network, set())
        if not entry.kind.is_triplet or entry.state is EntryState.PASSED:
            self._proved.add(network)
            return
        self._lost[network] += entry.state is EntryState.NEVER_RETURNED
        if entry.names.sender and len(senders) < _MAX_SENDERS:
            domain = domain_of(entry.names.sender)
            senders.add(organisation_of(domain) or domain)

    def sign_of(self, entry: StoredEntry) -> SpamSign:
        """Return the sign that a waiting triplet is spam, or that it is wanted."""
        network = self._network(entry)
        if network in self._proved:
            return SpamSign(SpamLikelihood.WANTED, "known network")
        if lost := self._lost[network]:
            return SpamSign(SpamLikelihood.SPAM, f"spam? {lost:,} never returned")
        if (number := len(self._senders.get(network, ()))) >= _MANY_SENDERS:
            least = "+" if number >= _MAX_SENDERS else ""
            return SpamSign(SpamLikelihood.SPAM, f"spam? {number}{least} sender domains")
        return SpamSign(SpamLikelihood.UNKNOWN, "new network")

    def _network(self, entry: StoredEntry) -> bytes:
        """Return what identifies the network of an entry: its number, or an identity's domain."""
        network = parse_network(entry.names.network)
        if network is None or self.settings.lookup_by_host:
            return entry.names.network
        prefix = min(network_prefix(network.number, network.bits, self.settings), network.bits)
        return b"%d/%d" % (network.number >> (network.bits - prefix), network.bits)
