"""Counts the answers from DNS, without which a simulation with ``--dns`` is worthless."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.dns.lookup import Lookup, RecordType

if TYPE_CHECKING:
    from greyd.dns.lookup import DnsAnswer
    from greyd.rules.address import Address


MIN_CLIENTS = 10
"""Fewer clients may all be unknown to a DNS that works."""

_NAME_TYPES = (RecordType.TXT, RecordType.MX)
"""The types that are queried for the names of senders and clients, and not for lists."""


@dataclass(slots=True)
class DnsCounts:
    """What the DNS knew, and the results of looking clients up."""

    known_names: int = 0
    """Answers about the names of senders and clients that exist."""
    name_answers: int = 0
    """All answers about such names."""
    other_answers: int = 0
    clients: int = 0
    """Clients looked up, by address, name and domain of the sender."""
    unanswered_clients: int = 0
    """Those of them for which a query failed or was not answered in time."""

    @property
    def is_silent(self) -> bool:
        """Whether clients were looked up, and the DNS knew nothing about any of them."""
        if self.name_answers:
            return self.known_names == 0 and self.clients >= MIN_CLIENTS
        return self.unanswered_clients > 0 and self.other_answers == 0


class CountingLookup(Lookup):
    """Passes queries on, and counts those that are answered."""

    def __init__(self, lookup: Lookup, counts: DnsCounts) -> None:
        self._lookup = lookup
        self._counts = counts

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name; raises what the wrapped lookup raises."""
        answer = await self._lookup.query(name, record_type)
        if record_type in _NAME_TYPES:
            self._counts.name_answers += 1
            self._counts.known_names += answer.exists
        else:
            self._counts.other_answers += 1
        return answer

    def for_client(self, address: Address) -> Lookup:
        """Return a lookup whose queries count towards the share of a client's network."""
        return CountingLookup(self._lookup.for_client(address), self._counts)
