"""Who may have how many lookups in flight: a share for each client network and each domain.

A name server that never answers holds a lookup for seconds, and a stranger chooses who is asked. So
nobody gets more than a part of what is free just then, and the others wait their turn. The next is
the client network that holds fewest: who gets answers gives its place back at once, and passes all
those who wait for silence.

A lookup counts for its client's network (IPv4 /24, IPv6 /48), the wider network around that (/16,
/32) and the registered domain that is asked, be it a list's.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from greyd.config.settings import Settings
from greyd.rules.address import network_prefix
from greyd.rules.hostnames import registered_domain

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.rules.address import Address

MAX_WAITING = 10_000
"""Lookups that wait for their turn. Beyond that the network with most of them loses its last."""

RESERVED_PART = 2
"""One in so many lookups is for networks that hold none: they always find room soon."""
NETWORK_PART = 10
"""A network may hold more than one while it holds less than one in so many of the others that are
free: 25 of 500 where it is the only one.
"""
MAX_TRUSTED = 4
"""One more, at the most, for each of its lookups that was answered since it began to ask: who gets
answers soon has them all. Silence takes that away.
"""
MIN_FREE_FOR_TRUSTED = 100
"""Where fewer are free, nobody gets more for that."""
MIN_OF_GROUP = 50
DOMAIN_PART = 4
WIDE_PART = 2
"""A domain or a wide network may hold ``MIN_OF_GROUP``, and one in so many of those free."""

MAX_LOOKED_AT = 32
"""Of a network's lookups, when one is sought whose domain does not hold too many."""
MIN_WOKEN = 8
"""Networks that try again when a lookup ends, beside those that have just got room by that."""

_SHARED = Settings(ipv4cidr=24, ipv6cidr=48)
_WIDE = {32: 16, 128: 32}
_DOMAIN = "domain"
_OF_ADDRESSES = (b".in-addr.arpa", b".ip6.arpa")
"""Where names of addresses are: only a client's own is asked for."""

Key = tuple[str, int | bytes]
"""A network or a domain."""
What = TypeVar("What")


class Client(NamedTuple):
    """For whom is asked."""

    network: Key = ("nobody", 0)
    """Where nobody is known: somebody like the others."""
    wide: Key | None = None


NOBODY = Client()


def client_of(address: Address) -> Client:
    """Return whose share a client has."""
    number, bits = address.number, address.bits
    free = bits - network_prefix(number, bits, _SHARED)
    wide = bits - _WIDE[bits]
    return Client((f"IPv{4 if bits == 32 else 6}", number >> free), (f"wide{bits}", number >> wide))


class Ticket(Generic[What]):
    """A client's wish for a lookup."""

    __slots__ = ("groups", "network", "what")

    def __init__(self, what: What, name: bytes, client: Client) -> None:
        """Wish for ``what``, which asks for a name."""
        self.what = what
        self.network = client.network
        self.groups: list[Key] = [] if client.wide is None else [client.wide]
        """The wide network, and the domain."""
        if not name.endswith(_OF_ADDRESSES):
            self.groups.append((_DOMAIN, registered_domain(name) or name))


class FairShare(Generic[What]):
    """Says which lookup begins next."""

    def __init__(self, most: int, dropped: Callable[[Ticket[What]], None]) -> None:
        """Let ``most`` be in flight; ``dropped`` is called where there is no room to wait."""
        self._most = most
        self._dropped = dropped
        self._in_flight = 0
        self._held: dict[Key, int] = {}
        """By network, wide network and domain; of those in flight or waiting."""
        self._waiting: dict[Key, dict[Ticket[What], None]] = {}
        """By network, in the order in which they are looked at."""
        self._waiting_count = 0
        self._ready: dict[Key, None] = {}
        """Networks that wait, as far as nothing is known that keeps them from being next."""
        self._stuck: dict[Key, dict[Key, None]] = {}
        """Networks that wait for a domain or a wide network to hold less, by that."""
        self._resting: dict[Key, None] = {}
        """Networks that wait, and hold as much as they may."""
        self._answered: dict[Key, int] = {}
        """Lookups of a network that were answered, ``MAX_TRUSTED`` at the most."""

    def enter(self, ticket: Ticket[What]) -> None:
        """Let a lookup wait; where too many do, one is dropped of the network with most of them."""
        network = ticket.network
        self._waiting.setdefault(network, {})[ticket] = None
        self._waiting_count += 1
        self._held.setdefault(network, 0)
        if network not in self._resting:
            self._ready[network] = None
        if self._waiting_count > MAX_WAITING:
            network = max(self._waiting, key=lambda each: len(self._waiting[each]))
            last = next(reversed(self._waiting[network]))
            self.withdraw(last)
            self._dropped(last)

    def take(self) -> Ticket[What] | None:
        """Return the next that may begin, which is in flight from now on; None where none may."""
        while self._ready and self._in_flight < self._most:
            network = min(self._ready, key=self._held.__getitem__)
            if self._held[network] >= self._most_of(network):
                del self._ready[network]
                self._resting[network] = None
            elif ticket := self._first_of(network):
                self.withdraw(ticket)
                self._in_flight += 1
                for key in (network, *ticket.groups):
                    self._held[key] = self._held.get(key, 0) + 1
                return ticket
        return None

    def leave(self, ticket: Ticket[What], *, is_answered: bool) -> None:
        """Note that a lookup has ended: with an answer, of whatever kind, or in silence."""
        network = ticket.network
        before = self._answered.get(network, 0)
        self._answered[network] = min(before + 1, MAX_TRUSTED) if is_answered else 0
        self._in_flight -= 1
        for key in (network, *ticket.groups):
            self._held[key] -= 1
            self._forget(key)
        for group in ticket.groups:
            self._wake(group)
        # Its own share has room again; that of others may have grown, and will be tried in turn.
        for each in [network, *islice(self._resting, MIN_WOKEN)]:
            if each in self._resting:
                del self._resting[each]
                self._ready[each] = None

    def withdraw(self, ticket: Ticket[What]) -> None:
        """Let one wait no more, if it does."""
        tickets = self._waiting.get(ticket.network, {})
        if ticket not in tickets:
            return
        del tickets[ticket]
        self._waiting_count -= 1
        if not tickets:
            del self._waiting[ticket.network]
            self._ready.pop(ticket.network, None)
            self._resting.pop(ticket.network, None)
            self._forget(ticket.network)

    @property
    def _free(self) -> int:
        return self._most - self._in_flight

    def _most_of(self, network: Key) -> int:
        trusted = self._answered.get(network, 0) if self._free > MIN_FREE_FOR_TRUSTED else 0
        return max(1 + trusted, (self._free - self._most // RESERVED_PART) // NETWORK_PART)

    def _first_of(self, network: Key) -> Ticket[What] | None:
        """Return a network's first lookup of a domain that does not hold too many.

        Where there is none the network is stuck. Those in vain go to the end of its line.
        """
        tickets = self._waiting[network]
        for ticket in list(islice(tickets, MAX_LOOKED_AT)):
            full = next((each for each in ticket.groups if self._room_of(each) <= 0), None)
            if full is None:
                return ticket
            del tickets[ticket]
            tickets[ticket] = None
            self._stuck.setdefault(full, {})[network] = None
        del self._ready[network]
        return None

    def _room_of(self, group: Key) -> int:
        part = DOMAIN_PART if group[0] == _DOMAIN else WIDE_PART
        return max(MIN_OF_GROUP, self._free // part) - self._held.get(group, 0)

    def _wake(self, group: Key) -> None:
        """Let networks try again that wait for a domain; all of them where it holds nothing."""
        networks, room = self._stuck.get(group), self._room_of(group)
        if networks is None or room <= 0:
            return
        count = room + MIN_WOKEN if group in self._held else len(networks)
        for network in list(islice(networks, count)):
            del networks[network]
            if network in self._waiting:
                self._ready[network] = None
        if not networks:
            del self._stuck[group]

    def _forget(self, key: Key) -> None:
        if not self._held.get(key) and key not in self._waiting:
            self._held.pop(key, None)
            self._answered.pop(key, None)
