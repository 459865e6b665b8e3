"""A fair-share scheduler for DNS lookups: no client network and no domain can occupy all of them.

A name server that never answers occupies a lookup for seconds, and a client chooses the domains,
and so the name servers, that are queried for it. Therefore each group may occupy only a fraction of
the free lookups; further lookups of the group are queued. The next lookup to start belongs to the
network with the fewest lookups in flight. So networks whose name servers answer overtake networks
whose name servers do not.

A lookup counts towards three groups: the client's network (IPv4 /24, IPv6 /48), the wide network
around it (/16, /32), and the registered domain of the queried name, even if that is a DNS list.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from greyd.config.settings import Settings
from greyd.rules.address import network_prefix
from greyd.rules.hostnames import registered_domain

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.rules.address import Address


MAX_QUEUED = 10_000
"""Maximum number of queued lookups; one more drops the last lookup of the network with the most."""

RESERVED_DIVISOR = 2
"""``1 / RESERVED_DIVISOR`` of the lookups is reserved for networks without a lookup in flight."""
NETWORK_DIVISOR = 10
"""A network may have ``1 / NETWORK_DIVISOR`` of the free, unreserved lookups in flight, and at
least one. While all 500 lookups are free, that is 25.
"""
MAX_BONUS = 4
"""Maximum bonus of a network. Each answered lookup raises the bonus by one, a time-out resets it to
0. A network may always have one lookup in flight, plus its bonus.
"""
MIN_FREE_FOR_BONUS = 100
"""The bonus applies only while more lookups than this are free."""
MIN_GROUP_LIMIT = 50
DOMAIN_DIVISOR = 4
WIDE_NETWORK_DIVISOR = 2
"""A wide network may have ``1 / WIDE_NETWORK_DIVISOR`` of the free lookups in flight, a domain
``1 / DOMAIN_DIVISOR``, and each at least ``MIN_GROUP_LIMIT``.
"""

MAX_INSPECTED = 32
"""Maximum number of a network's queued lookups to inspect for one whose groups have room."""
MIN_RETRIED = 8
"""Number of networks that may retry when a lookup ends, besides the lookup's own network."""

_NETWORK_SIZES = Settings(ipv4cidr=24, ipv6cidr=48)
_WIDE_PREFIX = {32: 16, 128: 32}
_DOMAIN = "domain"
_REVERSE_ZONES = (b".in-addr.arpa", b".ip6.arpa")
"""Names below these zones count towards no domain: they are always the client's own address."""

ShareKey = tuple[str, int | bytes]
"""Identifies a group of lookups: those of a network, a wide network or a domain."""
Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class ClientNetworks:
    """The networks that a client's lookups count towards."""

    network: ShareKey = ("nobody", 0)
    """The default is the group of all lookups without a client."""
    wide_network: ShareKey | None = None


NO_CLIENT = ClientNetworks()


def client_networks(address: Address) -> ClientNetworks:
    """Return the networks of a client."""
    number, bits = address.number, address.bits
    free = bits - network_prefix(number, bits, _NETWORK_SIZES)
    wide_free = bits - _WIDE_PREFIX[bits]
    return ClientNetworks(
        (f"IPv{4 if bits == 32 else 6}", number >> free), (f"wide{bits}", number >> wide_free)
    )


class QueuedLookup(Generic[Payload]):
    """A client's lookup, queued or in flight."""

    __slots__ = ("groups", "network", "payload")

    def __init__(self, payload: Payload, name: bytes, client: ClientNetworks) -> None:
        """Create the lookup of ``name`` for ``client``; the scheduler does not use ``payload``."""
        self.payload = payload
        self.network = client.network
        self.groups: list[ShareKey] = [] if client.wide_network is None else [client.wide_network]
        """The wide network and the domain, where the lookup has one."""
        if not name.endswith(_REVERSE_ZONES):
            self.groups.append((_DOMAIN, registered_domain(name) or name))


class FairShareScheduler(Generic[Payload]):
    """Decides which queued lookup starts next."""

    def __init__(
        self, max_in_flight: int, on_drop: Callable[[QueuedLookup[Payload]], None]
    ) -> None:
        """Create a scheduler.

        Args:
            max_in_flight: the maximum number of lookups in flight.
            on_drop: called with each lookup that a full queue drops.
        """
        self._max_in_flight = max_in_flight
        self._on_drop = on_drop
        self._in_flight = 0
        self._lookup_counts: dict[ShareKey, int] = {}
        """Number of lookups in flight by group; 0 for a network with queued lookups only."""
        self._queued: dict[ShareKey, dict[QueuedLookup[Payload], None]] = {}
        """Queued lookups by network, in the order in which they are inspected."""
        self._queued_count = 0
        self._ready: dict[ShareKey, None] = {}
        """Networks with queued lookups that may be able to start one."""
        self._blocked: dict[ShareKey, dict[ShareKey, None]] = {}
        """Networks with queued lookups, by the domain or wide network whose limit blocks them."""
        self._at_limit: dict[ShareKey, None] = {}
        """Networks with queued lookups whose own limit is reached."""
        self._bonus: dict[ShareKey, int] = {}
        """The current bonus by network, see ``MAX_BONUS``."""

    def enqueue(self, lookup: QueuedLookup[Payload]) -> None:
        """Queue a lookup; if the queue is full, drop the last one of the network with the most."""
        network = lookup.network
        self._queued.setdefault(network, {})[lookup] = None
        self._queued_count += 1
        self._lookup_counts.setdefault(network, 0)
        if network not in self._at_limit:
            self._ready[network] = None
        if self._queued_count > MAX_QUEUED:
            network = max(self._queued, key=lambda each: len(self._queued[each]))
            last = next(reversed(self._queued[network]))
            self.cancel(last)
            self._on_drop(last)

    def start_next(self) -> QueuedLookup[Payload] | None:
        """Dequeue the next lookup and count it as in flight; return None if no lookup may start."""
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
        """End a lookup in flight; ``is_answered`` is true for any response, errors included."""
        network = lookup.network
        before = self._bonus.get(network, 0)
        self._bonus[network] = min(before + 1, MAX_BONUS) if is_answered else 0
        self._in_flight -= 1
        for key in (network, *lookup.groups):
            self._lookup_counts[key] -= 1
            self._forget_if_idle(key)
        for group in lookup.groups:
            self._unblock(group)
        # This network has room again. One more free lookup may also raise the limits of other
        # networks, so a few of these retry in turn.
        for each in [network, *islice(self._at_limit, MIN_RETRIED)]:
            if each in self._at_limit:
                del self._at_limit[each]
                self._ready[each] = None

    def cancel(self, lookup: QueuedLookup[Payload]) -> None:
        """Remove a lookup from the queue; no effect if it is not queued."""
        lookups = self._queued.get(lookup.network, {})
        if lookup not in lookups:
            return
        del lookups[lookup]
        self._queued_count -= 1
        if not lookups:
            del self._queued[lookup.network]
            self._ready.pop(lookup.network, None)
            self._at_limit.pop(lookup.network, None)
            self._forget_if_idle(lookup.network)

    @property
    def _free_count(self) -> int:
        return self._max_in_flight - self._in_flight

    def _limit_of(self, network: ShareKey) -> int:
        bonus = self._bonus.get(network, 0) if self._free_count > MIN_FREE_FOR_BONUS else 0
        return max(
            1 + bonus,
            (self._free_count - self._max_in_flight // RESERVED_DIVISOR) // NETWORK_DIVISOR,
        )

    def _first_startable(self, network: ShareKey) -> QueuedLookup[Payload] | None:
        """Return the first of a network's queued lookups whose groups have room, or None.

        Inspected lookups without room move to the end of the queue. If no lookup can start, the
        network is blocked until one of the groups has room.
        """
        lookups = self._queued[network]
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
        divisor = DOMAIN_DIVISOR if group[0] == _DOMAIN else WIDE_NETWORK_DIVISOR
        return max(MIN_GROUP_LIMIT, self._free_count // divisor) - self._lookup_counts.get(group, 0)

    def _unblock(self, group: ShareKey) -> None:
        """Let networks that a group blocked retry: all if the group is idle, else a few."""
        networks, room = self._blocked.get(group), self._room_in(group)
        if networks is None or room <= 0:
            return
        count = room + MIN_RETRIED if group in self._lookup_counts else len(networks)
        for network in list(islice(networks, count)):
            del networks[network]
            if network in self._queued:
                self._ready[network] = None
        if not networks:
            del self._blocked[group]

    def _forget_if_idle(self, key: ShareKey) -> None:
        if not self._lookup_counts.get(key) and key not in self._queued:
            self._lookup_counts.pop(key, None)
            self._bonus.pop(key, None)
