"""Converts addresses to names in reverse zones and DNS lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.rules.address import Address


def dotted(address: Address) -> bytes:
    """Return an address as dotted bytes (IPv4) or dotted hexadecimal digits (IPv6)."""
    if address.bits == 32:
        return b".".join(b"%d" % byte for byte in address.packed)
    return b".".join(bytes([digit]) for digit in address.packed.hex().encode())


def reversed_name(address: Address) -> bytes:
    """Return an address's name in a DNS list, without the zone (RFC 5782, 2.1 and 2.4)."""
    return b".".join(reversed(dotted(address).split(b".")))


def pointer_name(address: Address) -> bytes:
    """Return the name of an address's PTR records (RFC 1035, 3.5; RFC 3596, 2.5)."""
    zone = b".in-addr.arpa" if address.bits == 32 else b".ip6.arpa"
    return reversed_name(address) + zone
