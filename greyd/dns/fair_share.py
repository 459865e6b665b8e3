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

RESERVED_DIVISOR = 2
"""One in so many lookups is for networks that hold none: they always find room soon."""
NETWORK_DIVISOR = 10
"""A network may hold more than one while it holds less than one in so many of the others that are
free: 25 of 500 where it is the only one.
"""
MAX_BONUS = 4
"""One more, at the most, for each of its lookups that was answered since it began to ask: who gets
answers soon has them all. Silence takes that away.
"""
MIN_FREE_FOR_BONUS = 100
"""Where fewer are free, nobody gets more for that."""
MIN_GROUP_LIMIT = 50
DOMAIN_DIVISOR = 4
WIDE_NETWORK_DIVISOR = 2
"""A domain or a wide network may hold ``MIN_OF_GROUP``, and one in so many of those free."""

MAX_INSPECTED = 32
"""Of a network's lookups, when one is sought whose domain does not hold too many."""
MIN_RETRIED = 8
"""Networks that try again when a lookup ends, beside those that have just got room by that."""

_NETWORK_SIZES = Settings(ipv4cidr=24, ipv6cidr=48)
_WIDE_PREFIX = {32: 16, 128: 32}
_DOMAIN = "domain"
_REVERSE_ZONES = (b".in-addr.arpa", b".ip6.arpa")
"""Where names of addresses are: only a client's own is asked for."""

ShareKey = tuple[str, int | bytes]
"""A network or a domain."""
Payload = TypeVar("Payload")


class ClientNetworks(NamedTuple):
    """For whom is asked."""

    network: ShareKey = ("nobody", 0)
    """Where nobody is known: somebody like the others."""
    wide_network: ShareKey | None = None


NO_CLIENT = ClientNetworks()


def client_networks(address: Address) -> ClientNetworks:
    """Return whose share a client has."""
    number, bits = address.number, address.bits
    free = bits - network_prefix(number, bits, _NETWORK_SIZES)
    wide_network = bits - _WIDE_PREFIX[bits]
    return ClientNetworks(
        (f"IPv{4 if bits == 32 else 6}", number >> free), (f"wide{bits}", number >> wide_network)
    )


class QueuedLookup(Generic[Payload]):
    """A client's wish for a lookup."""

    __slots__ = ("groups", "network", "payload")

    def __init__(self, payload: Payload, name: bytes, client: ClientNetworks) -> None:
        """Wish for ``payload``, which asks for a name."""
        self.payload = payload
        self.network = client.network
        self.groups: list[ShareKey] = [] if client.wide_network is None else [client.wide_network]
        """The wide network, and the domain."""
        if not name.endswith(_REVERSE_ZONES):
            self.groups.append((_DOMAIN, registered_domain(name) or name))


class FairShareScheduler(Generic[Payload]):
    """Says which lookup begins next."""

    def __init__(
        self, max_in_flight: int, on_drop: Callable[[QueuedLookup[Payload]], None]
    ) -> None:
        """Run ``max_in_flight`` lookups at a time; call ``on_drop`` with each that is dropped."""
        self._max_in_flight = max_in_flight
        self._on_drop = on_drop
        self._in_flight = 0
        self._lookup_counts: dict[ShareKey, int] = {}
        """By network, wide network and domain; of those in flight or waiting."""
        self._waiting: dict[ShareKey, dict[QueuedLookup[Payload], None]] = {}
        """By network, in the order in which they are looked at."""
        self._waiting_count = 0
        self._ready: dict[ShareKey, None] = {}
        """Networks that wait, as far as nothing is known that keeps them from being next."""
        self._blocked: dict[ShareKey, dict[ShareKey, None]] = {}
        """Networks that wait for a domain or a wide network to hold less, by that."""
        self._at_limit: dict[ShareKey, None] = {}
        """Networks that wait, and hold as much as they may."""
        self._bonus: dict[ShareKey, int] = {}
        """Lookups of a network that were answered, ``MAX_TRUSTED`` at the most."""

    def enqueue(self, lookup: QueuedLookup[Payload]) -> None:
        """Let a lookup wait; where too many do, one is dropped of the network with most of them."""
        network = lookup.network
        self._waiting.setdefault(network, {})[lookup] = None
        self._waiting_count += 1
        self._lookup_counts.setdefault(network, 0)
        if network not in self._at_limit:
            self._ready[network] = None
        if self._waiting_count > MAX_WAITING:
            network = max(self._waiting, key=lambda each: len(self._waiting[each]))
            last = next(reversed(self._waiting[network]))
            self.cancel(last)
            self._on_drop(last)

    def start_next(self) -> QueuedLookup[Payload] | None:
        """Return the next that may begin, which is in flight from now on; None where none may."""
        while self._ready and self._in_flight < self._max_in_flight:
            network = min(self._ready, key=self._lookup_counts.__getitem__)
            if self._lookup_counts[network] >= self._limit_of(network):
                del self._ready[network]
                self._at_limit[network] = None
            elif lookup := self._first_startable(network):
                self.cancel(lookup)
                self._in_flight += 1
                for key in (network, *lookup.groups):
                    self._lookup_counts[key] = self._lookup_counts.get(key, 0) + 1
                return lookup
        return None

    def finish(self, lookup: QueuedLookup[Payload], *, is_answered: bool) -> None:
        """Note that a lookup has ended: with an answer, of whatever kind, or in silence."""
        network = lookup.network
        before = self._bonus.get(network, 0)
        self._bonus[network] = min(before + 1, MAX_BONUS) if is_answered else 0
        self._in_flight -= 1
        for key in (network, *lookup.groups):
            self._lookup_counts[key] -= 1
            self._forget_if_idle(key)
        for group in lookup.groups:
            self._unblock(group)
        # Its own share has room again; that of others may have grown, and will be tried in turn.
        for each in [network, *islice(self._at_limit, MIN_RETRIED)]:
            if each in self._at_limit:
                del self._at_limit[each]
                self._ready[each] = None

    def cancel(self, lookup: QueuedLookup[Payload]) -> None:
        """Let one wait no more, if it does."""
        lookups = self._waiting.get(lookup.network, {})
        if lookup not in lookups:
            return
        del lookups[lookup]
        self._waiting_count -= 1
        if not lookups:
            del self._waiting[lookup.network]
            self._ready.pop(lookup.network, None)
            self._at_limit.pop(lookup.network, None)
            self._forget_if_idle(lookup.network)

    @property
    def _free_count(self) -> int:
        return self._max_in_flight - self._in_flight

    def _limit_of(self, network: ShareKey) -> int:
        trusted = self._bonus.get(network, 0) if self._free_count > MIN_FREE_FOR_BONUS else 0
        return max(
            1 + trusted,
            (self._free_count - self._max_in_flight // RESERVED_DIVISOR) // NETWORK_DIVISOR,
        )

    def _first_startable(self, network: ShareKey) -> QueuedLookup[Payload] | None:
        """Return a network's first lookup of a domain that does not hold too many.

        Where there is none the network is stuck. Those in vain go to the end of its line.
        """
        lookups = self._waiting[network]
        for lookup in list(islice(lookups, MAX_INSPECTED)):
            full = next((each for each in lookup.groups if self._room_in(each) <= 0), None)
            if full is None:
                return lookup
            del lookups[lookup]
            lookups[lookup] = None
            self._blocked.setdefault(full, {})[network] = None
        del self._ready[network]
        return None

    def _room_in(self, group: ShareKey) -> int:
        part = DOMAIN_DIVISOR if group[0] == _DOMAIN else WIDE_NETWORK_DIVISOR
        return max(MIN_GROUP_LIMIT, self._free_count // part) - self._lookup_counts.get(group, 0)

    def _unblock(self, group: ShareKey) -> None:
        """Let networks try again that wait for a domain; all of them where it holds nothing."""
        networks, room = self._blocked.get(group), self._room_in(group)
        if networks is None or room <= 0:
            return
        count = room + MIN_RETRIED if group in self._lookup_counts else len(networks)
        for network in list(islice(networks, count)):
            del networks[network]
            if network in self._waiting:
                self._ready[network] = None
        if not networks:
            del self._blocked[group]

    def _forget_if_idle(self, key: ShareKey) -> None:
        if not self._lookup_counts.get(key) and key not in self._waiting:
            self._lookup_counts.pop(key, None)
            self._bonus.pop(key, None)
