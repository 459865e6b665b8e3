"""Converts addresses to names in reverse zones and DNS lists, and looks up their host names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsError, RecordType

if TYPE_CHECKING:
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address

MAX_NAMES = 5
"""Maximum number of names of an address that are looked up."""


@dataclass(frozen=True, slots=True)
class ResolvedName:
    """The names that DNS has for an address."""

    confirmed: bytes
    """The name that resolves back to the address; empty if none does."""
    names: tuple[bytes, ...]
    """All names of the address."""
    unanswered: tuple[bytes, ...] = ()
    """The names whose addresses DNS did not return: one of them may be confirmed."""


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


async def resolve_name(lookup: Lookup, address: Address) -> ResolvedName:
    """Return the host names of an address, and the one that is confirmed, as Postfix does.

    Raises:
        DnsError: the names of the address are unknown.
    """
    names = (await lookup.query(pointer_name(address), RecordType.PTR)).values[:MAX_NAMES]
    kind = RecordType.A if address.bits == 32 else RecordType.AAAA
    unanswered = []
    for name in names:
        try:
            if address.packed in (await lookup.query(name, kind)).values:
                return ResolvedName(name, names)
        except DnsError:
            unanswered.append(name)
    return ResolvedName(b"", names, tuple(unanswered))
