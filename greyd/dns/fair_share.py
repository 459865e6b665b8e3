"""A fair-share scheduler for DNS lookups: no client network and no domain can occupy them all.

A name server that never answers holds a lookup for seconds, and clients choose whose name servers
are queried. So each group may only hold a fraction of the free lookups, and further ones are
queued. The next lookup is of the network that holds the fewest: a network whose lookups are
answered frees its places at once and overtakes those that wait for silent servers.

A lookup counts towards its client's network (IPv4 /24, IPv6 /48), the surrounding wide network
(/16, /32), and the registered domain that is queried, even if that is a DNS list.
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
"""Queued lookups. Beyond that, the network with the most loses its last one."""

RESERVED_DIVISOR = 2
"""``1 / RESERVED_DIVISOR`` of the lookups is reserved for networks that hold none yet."""
NETWORK_DIVISOR = 10
"""A network may hold ``1 / NETWORK_DIVISOR`` of the free, unreserved lookups, and always one: 25 of
500 if it is the only network.
"""
MAX_BONUS = 4
"""A network may hold one lookup more for each of its last lookups that was answered, up to this. A
lookup that times out resets the bonus.
"""
MIN_FREE_FOR_BONUS = 100
"""With fewer lookups free, nobody gets a bonus."""
MIN_GROUP_LIMIT = 50
DOMAIN_DIVISOR = 4
WIDE_NETWORK_DIVISOR = 2
"""A domain or a wide network may hold ``MIN_GROUP_LIMIT`` lookups, or this fraction of those free
if that is more.
"""

MAX_INSPECTED = 32
"""Queued lookups of a network that are inspected for one whose domain is below its limit."""
MIN_RETRIED = 8
"""Networks that may try again when a lookup ends, besides those whose own share it was."""

_NETWORK_SIZES = Settings(ipv4cidr=24, ipv6cidr=48)
_WIDE_PREFIX = {32: 16, 128: 32}
_DOMAIN = "domain"
_REVERSE_ZONES = (b".in-addr.arpa", b".ip6.arpa")
"""Names below these belong to no domain's share: only a client's own address is looked up there."""

ShareKey = tuple[str, int | bytes]
"""The key of a group that lookups count towards: a network, a wide network or a domain."""
Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class ClientNetworks:
    """The groups that a client's lookups count towards."""

    network: ShareKey = ("nobody", 0)
    """Lookups without a client share one group."""
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
    """A lookup that a client waits for, queued or in flight."""

    __slots__ = ("groups", "network", "payload")

    def __init__(self, payload: Payload, name: bytes, client: ClientNetworks) -> None:
        """Describe the lookup of ``name`` for ``client``; ``payload`` is the caller's."""
        self.payload = payload
        self.network = client.network
        self.groups: list[ShareKey] = [] if client.wide_network is None else [client.wide_network]
        """The wide network and the domain, as far as it has them."""
        if not name.endswith(_REVERSE_ZONES):
            self.groups.append((_DOMAIN, registered_domain(name) or name))


class FairShareScheduler(Generic[Payload]):
    """Decides which queued lookup starts next."""

    def __init__(
        self, max_in_flight: int, on_drop: Callable[[QueuedLookup[Payload]], None]
    ) -> None:
        """Run ``max_in_flight`` lookups at a time; call ``on_drop`` with each that is dropped."""
        self._max_in_flight = max_in_flight
        self._on_drop = on_drop
        self._in_flight = 0
        self._lookup_counts: dict[ShareKey, int] = {}
        """Lookups in flight by group; a network that only waits has 0."""
        self._queued: dict[ShareKey, dict[QueuedLookup[Payload], None]] = {}
        """Queued lookups by network, in the order of inspection."""
        self._queued_count = 0
        self._ready: dict[ShareKey, None] = {}
        """Networks with queued lookups that may be able to start one."""
        self._blocked: dict[ShareKey, dict[ShareKey, None]] = {}
        """Networks with queued lookups, by the domain or wide network that is at its limit."""
        self._at_limit: dict[ShareKey, None] = {}
        """Networks with queued lookups that are at their own limit."""
        self._bonus: dict[ShareKey, int] = {}
        """Answered lookups in a row by network, up to ``MAX_BONUS``."""

    def enqueue(self, lookup: QueuedLookup[Payload]) -> None:
        """Queue a lookup; drop one of the network with the most if the queue is full."""
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
        """Return the next lookup, which counts as in flight from now; None if none may start."""
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
        """End a lookup in flight; any response counts as an answer."""
        network = lookup.network
        before = self._bonus.get(network, 0)
        self._bonus[network] = min(before + 1, MAX_BONUS) if is_answered else 0
        self._in_flight -= 1
        for key in (network, *lookup.groups):
            self._lookup_counts[key] -= 1
            self._forget_if_idle(key)
        for group in lookup.groups:
            self._unblock(group)
        # This network has room again; the limits of others may have grown, so some retry in turn.
        for each in [network, *islice(self._at_limit, MIN_RETRIED)]:
            if each in self._at_limit:
                del self._at_limit[each]
                self._ready[each] = None

    def cancel(self, lookup: QueuedLookup[Payload]) -> None:
        """Take a lookup out of the queue, if it is queued."""
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
        """Return a network's first lookup whose groups are below their limits.

        Lookups that cannot start move to the end; if none can, the network is blocked.
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
        """Let networks retry that a group has blocked: all of them if it holds nothing any more."""
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
