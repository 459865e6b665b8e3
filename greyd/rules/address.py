"""IP addresses of clients, and the networks whose addresses count as one client."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from greyd.config.settings import Settings


_MAPPED = 0xFFFF
"""``::ffff:0:0/96``: IPv4-mapped addresses (RFC 4291, 2.5.5.2)."""
_NAT64 = 0x64FF9B << 64
"""``64:ff9b::/96``: IPv4 hosts behind a translator (RFC 6052, 2.1)."""
_LOCAL_NAT64 = 0x64FF9B0001
"""``64:ff9b:1::/48``: IPv4 hosts behind a site's own translator. The position of the IPv4 address
depends on the site (RFC 8215, 3; RFC 6052, 2.2).
"""
_TEREDO = 0x20010000
"""``2001::/32``: Teredo hosts, whose addresses begin with that of their server (RFC 4380, 4)."""

_NOT_TRANSLATED = (
    (0x00000000, 8), (0x0A000000, 8), (0x64400000, 10), (0x7F000000, 8), (0xA9FE0000, 16),
    (0xAC100000, 12), (0xC0A80000, 16), (0xE0000000, 3),
)  # fmt: skip
"""IPv4 networks that NAT64 must not translate (RFC 6052, 3.1), as numbers and prefix lengths: this
host, private, shared, loopback, link-local, multicast and reserved. greyd does not translate them
either, so a client cannot pretend to be in a private network by the form of its address.
"""

_COLON = ord(":")


class Address(NamedTuple):
    """A client's IP address. A tuple, because each request creates one.

    An IPv6 address that represents an IPv4 client (see ``ipv4_within``) is stored as IPv4.
    """

    number: int
    bits: int
    """32 or 128."""
    text: bytes
    """The canonical form (RFC 5952)."""

    @property
    def packed(self) -> bytes:
        """The address in network byte order: 4 or 16 octets."""
        return self.number.to_bytes(self.bits // 8, "big")


def parse_address(text: bytes) -> Address | None:
    """Parse an IPv4 or IPv6 address; return None for any other text, e.g. a host name."""
    try:
        if _COLON not in text:
            number = int.from_bytes(inet_pton(AF_INET, text.decode("ascii")), "big")
            return Address(number, 32, text)
        number = int.from_bytes(inet_pton(AF_INET6, text.decode("ascii")), "big")
    except (OSError, ValueError):
        return None
    ipv4 = ipv4_within(number)
    if ipv4 is not None:
        return Address(ipv4, 32, address_text(ipv4, 32))
    return Address(number, 128, address_text(number, 128))


def is_address(text: bytes) -> bool:
    """Whether a text is an IPv4 or IPv6 address, as ``parse_address`` reads it."""
    try:
        inet_pton(AF_INET6 if _COLON in text else AF_INET, text.decode("ascii"))
    except (OSError, ValueError):
        return False
    return True


def ipv4_within(number: int) -> int | None:
    """Return the IPv4 address that an IPv6 address represents, as a number; None for others.

    IPv4-mapped addresses and those with NAT64's well-known prefix represent IPv4 hosts. Addresses
    of tunnels (6to4, Teredo) belong to IPv6 hosts. ``number`` is the IPv6 address.
    """
    prefix, ipv4 = number >> 32, number & 0xFFFFFFFF
    if prefix == _MAPPED:
        return ipv4
    if prefix == _NAT64 and not any(
        ipv4 >> (32 - length) == network >> (32 - length) for network, length in _NOT_TRANSLATED
    ):
        return ipv4
    return None


_INTERNAL = (
    (0x00000000, 8), (0x0A000000, 8), (0x64400000, 10), (0x7F000000, 8), (0xA9FE0000, 16),
    (0xAC100000, 12), (0xC0A80000, 16),
)  # fmt: skip
_INTERNAL_IPV6 = ((0, 128), (1, 128), (0xFC00 << 112, 7), (0xFE80 << 112, 10))
"""Loopback, private, shared, link-local: networks of the site itself, as numbers and lengths."""


def is_internal(address: Address) -> bool:
    """Whether an address is of the site itself: loopback, private, shared or link-local."""
    networks = _INTERNAL if address.bits == 32 else _INTERNAL_IPV6
    return any(
        address.number >> (address.bits - length) == network >> (address.bits - length)
        for network, length in networks
    )


def is_behind_local_nat64(address: Address) -> bool:
    """Whether an IPv6 address represents an IPv4 host in a form that only its site knows."""
    return address.bits == 128 and address.number >> 80 == _LOCAL_NAT64


def network_of(address: Address, settings: Settings) -> int:
    """Return the address, as a number, of the network that replaces the client in a triplet.

    ``--ipv4cidr`` and ``--ipv6cidr`` set the network's size; ``--lookup-by-host`` selects the
    client's address itself (postgrey's options).
    """
    if settings.lookup_by_host:
        return address.number
    free = address.bits - network_prefix(address.number, address.bits, settings)
    return address.number >> free << free


def network_prefix(number: int, bits: int, settings: Settings) -> int:
    """Return the prefix length of the network that replaces a client in a triplet.

    It is ``--ipv4cidr`` or ``--ipv6cidr``. It is longer where unrelated IPv6 hosts share a prefix:
    for hosts behind NAT64 it includes their IPv4 network, for Teredo hosts the whole address.
    """
    if bits == 32:
        return settings.ipv4cidr
    if number >> 96 == _TEREDO:
        return bits
    if number >> 32 == _NAT64 or number >> 80 == _LOCAL_NAT64:
        return max(settings.ipv6cidr, 96 + settings.ipv4cidr)
    return settings.ipv6cidr


def address_text(number: int, bits: int) -> bytes:
    """Return the text of an address that is given as a number, in canonical form (RFC 5952)."""
    packed = number.to_bytes(bits // 8, "big")
    return inet_ntop(AF_INET if bits == 32 else AF_INET6, packed).encode()
