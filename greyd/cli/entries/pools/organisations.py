"""Finds the organisation of a pool's networks by the names of hosts in them.

A triplet contains only the client's network, so the client's name is unknown. The networks of a
large provider belong to its mail servers, though, and these have names in its domain: the names of
a few addresses in each network are looked up. The organisation is known if these names, each
confirmed by a lookup of the name, are in two networks at least and all in one domain.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsError
from greyd.dns.reverse_names import resolve_name
from greyd.rules.address import parse_address
from greyd.rules.client_names.generic_hostnames import is_generic
from greyd.rules.hostnames import normal_name, organisation_of
from greyd.rules.networks import parse_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address

MAX_ADDRESSES = 20
"""The maximum number of addresses to look up for one listing."""

MAX_KNOWN_ADDRESSES = 1000
"""The maximum number of addresses to look up for all listings of ``--watch``."""

MAX_NETWORKS = 3
"""The maximum number of networks of a pool to look up."""

MIN_NAMED_NETWORKS = 2
"""The number of networks that must have names: a provider's pool has several."""

TIMEOUT_SECONDS = 1.0
"""The time limit of all lookups together."""

_SAMPLES = (1, 5)
"""The addresses of a network that are looked up, in tenths of its size."""


class UnknownReason(Enum):
    """Why a pool's organisation is unknown."""

    NO_ANSWER = "no answer from DNS"
    NOT_ASKED = "this command has reached its limit of DNS lookups"
    TOO_LARGE = "IPv6 networks are too large to look up the names of hosts in them"
    NO_NAMES = "hosts in these networks have no confirmed names"
    ONE_NETWORK = "hosts in only one of these networks have confirmed names"
    SEVERAL = "hosts in these networks have names of several organisations"
    GENERIC = "hosts in these networks have names of customers' lines or rented servers"


@dataclass(frozen=True, slots=True)
class _Host:
    address: Address
    name: bytes | None
    """The confirmed name; empty if it has none; None if DNS did not answer."""

    @property
    def organisation(self) -> bytes:
        return organisation_of(self.name or b"")


class NetworkOrganisations:
    """Looks up the names of hosts in networks, each address once."""

    def __init__(self, open_lookup: Callable[[], AbstractAsyncContextManager[Lookup]]) -> None:
        """Create it; ``open_lookup`` opens the resolver if it is needed."""
        self._open_lookup = open_lookup
        self._names: dict[Address, bytes | None] = {}

    async def find(self, pools: Sequence[Sequence[bytes]]) -> list[bytes | UnknownReason]:
        """Return the domain of each pool's organisation, or why it is unknown.

        Args:
            pools: the networks of each pool, in CIDR notation, or single addresses.
        """
        samples = [
            [found for each in networks if (found := sampled_addresses(each))][:MAX_NETWORKS]
            for networks in pools
        ]
        every = dict.fromkeys(a for pool in samples for network in pool for a in network)
        await self._look_up([each for each in every if each not in self._names][:MAX_ADDRESSES])
        return [self._organisation(each) for each in samples]

    def _organisation(self, samples: Sequence[Sequence[Address]]) -> bytes | UnknownReason:
        if not samples:
            return UnknownReason.TOO_LARGE
        if any(each not in self._names for network in samples for each in network):
            return UnknownReason.NOT_ASKED
        return _organisation_of(
            [[_Host(each, self._names[each]) for each in network] for network in samples]
        )

    async def _look_up(self, addresses: Sequence[Address]) -> None:
        """Add the names of addresses; those without an answer are not asked for again."""
        if not addresses or len(self._names) >= MAX_KNOWN_ADDRESSES:
            return
        self._names |= dict.fromkeys(addresses)
        async with self._open_lookup() as lookup:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await asyncio.gather(*(self._add_name(lookup, each) for each in addresses))

    async def _add_name(self, lookup: Lookup, address: Address) -> None:
        try:
            resolved = await resolve_name(lookup, address)
        except DnsError:
            return
        if resolved.confirmed or not resolved.unanswered:
            self._names[address] = normal_name(resolved.confirmed)


def sampled_addresses(network: bytes) -> list[Address]:
    """Return the addresses of a network to look up; none of an IPv6 network, which is too large.

    Args:
        network: a network in CIDR notation, or an address.
    """
    parsed = parse_network(network)
    if parsed is None:
        return []
    free = parsed.bits - parsed.prefix
    if not free:
        return _addresses([network.partition(b"/")[0]])
    if parsed.bits != 32:
        return []
    numbers = sorted({parsed.number + (tenths << free) // 10 for tenths in _SAMPLES})
    return _addresses(b"%d.%d.%d.%d" % tuple(each.to_bytes(4, "big")) for each in numbers)


def _addresses(texts: Iterable[bytes]) -> list[Address]:
    return [address for text in texts if (address := parse_address(text)) is not None]


def _organisation_of(networks: Sequence[Sequence[_Host]]) -> bytes | UnknownReason:
    """Return the organisation of a pool by the hosts in its networks, or why it is unknown."""
    hosts = [host for network in networks for host in network]
    named = [host for host in hosts if host.organisation]
    if any(is_generic(host.name or b"", host.address) for host in named):
        return UnknownReason.GENERIC
    if len({host.organisation for host in named}) > 1:
        return UnknownReason.SEVERAL
    named_count = sum(any(host.organisation for host in network) for network in networks)
    if named_count >= MIN_NAMED_NETWORKS:
        return named[0].organisation
    if any(host.name is None for host in hosts):
        return UnknownReason.NO_ANSWER
    return UnknownReason.ONE_NETWORK if named else UnknownReason.NO_NAMES
