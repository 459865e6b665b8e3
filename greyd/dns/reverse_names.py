"""The reversed names of addresses, in DNS lists and in the reverse zones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.rules.address import Address


def reversed_name(address: Address) -> bytes:
    """Return an address as it is asked for in a list (RFC 5782, 2.1 and 2.4)."""
    return b".".join(reversed(dotted(address).split(b".")))


def pointer_name(address: Address) -> bytes:
    """Return the name under which an address has its names (RFC 1035, 3.5; RFC 3596, 2.5)."""
    zone = b".in-addr.arpa" if address.bits == 32 else b".ip6.arpa"
    return reversed_name(address) + zone


def dotted(address: Address) -> bytes:
    """Return an address with a dot between its octets (IPv4) or hexadecimal digits (IPv6)."""
    if address.bits == 32:
        return b".".join(b"%d" % byte for byte in address.packed)
    return b".".join(bytes([digit]) for digit in address.packed.hex().encode())
