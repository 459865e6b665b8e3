"""IP networks in CIDR notation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from socket import AF_INET6, inet_pton
from typing import TYPE_CHECKING

from greyd.rules.address import Address, ipv4_within, network_prefix, parse_address

if TYPE_CHECKING:
    from greyd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Network:
    """An IPv4 or IPv6 network."""

    number: int
    """The network's address as a number."""
    prefix: int
    bits: int
    """32 or 128."""

    def contains(self, address: Address) -> bool:
        """Whether an address belongs to the network."""
        free = self.bits - self.prefix
        return self.bits == address.bits and self.number >> free == address.number >> free


def parse_network(text: bytes) -> Network | None:
    """Parse an address or a network in CIDR notation; return None for any other text.

    A network of IPv6 addresses that represent IPv4 hosts becomes the IPv4 network.
    """
    host, slash, length = text.partition(b"/")
    if host.startswith(b"[") and host.endswith(b"]") and b":" in host and not slash:
        host = host[1:-1]
    if slash and not re.fullmatch(rb"[0-9]{1,3}", length):
        return None
    bits = 128 if b":" in host else 32
    prefix = int(length) if slash else bits
    if prefix > bits:
        return None
    if bits == 32:
        address = parse_address(host)
        return _masked(address.number, prefix, 32) if address else None
    try:
        number = int.from_bytes(inet_pton(AF_INET6, host.decode("ascii")), "big")
    except (OSError, ValueError):
        return None
    ipv4 = ipv4_within(number)
    # NAT64's whole prefix stays IPv6: as IPv4 it would match all clients. The whitelist reports it.
    if ipv4 is not None and prefix >= (96 if number >> 32 == 0xFFFF else 97):
        return _masked(ipv4, prefix - 96, 32)
    return _masked(number, prefix, 128)


def with_prefix_length(name: bytes, settings: Settings) -> bytes:
    """Return the client network of a triplet's key in CIDR notation, e.g. ``192.0.2.0/24``.

    An identity's domain, a host's address (``--lookup-by-host``), and an address that is not a
    network of this size (its key was written with other settings) are returned unchanged.

    Args:
        name: the network as the key contains it, without its prefix length.
        settings: the server's settings, which have the prefix lengths.
    """
    network = None if b"/" in name else parse_network(name)
    if network is None or settings.lookup_by_host:
        return name
    prefix = min(network_prefix(network.number, network.bits, settings), network.bits)
    free = network.bits - prefix
    if not free or network.number >> free << free != network.number:
        return name
    return b"%b/%d" % (name, prefix)


def _masked(number: int, prefix: int, bits: int) -> Network:
    free = bits - prefix
    return Network(number >> free << free, prefix, bits)
