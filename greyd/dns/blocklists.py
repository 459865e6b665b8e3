"""DNS lists of clients and domains: the address of ``7.2.0.192.zone`` says what they hold of one.

Source: RFC 5782. An answer outside of 127.0.0.0/8 comes from a name server that answers everything;
127.0.0.1 and 127.255.255.0/24 (Spamhaus: the question was wrong, or too many were asked) are errors
of the list. All these are no listings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greyd.dns.lookup import DnsError, Kind
from greyd.rules.hostnames import (
    MAX_NAME_BYTES,
    ascii_domain,
    askable_end,
    dotted,
    registered_domain,
)

if TYPE_CHECKING:
    from greyd.config.vocabulary import Zone
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address

LISTED_WEIGHT = 1.0
"""A client is listed where the weights of the lists that it stands on reach this."""

_LOOPBACK = 127
_NO_LISTING = 0x7F000001
_ERRORS = 0x7FFFFF
"""127.255.255.x, without its last octet."""


class ListError(DnsError):
    """The list answered, but not to the question."""


class Listing(NamedTuple):
    """A list that a client or a domain stands on."""

    zone: Zone
    code: int
    """The answer, as a number; of several the largest."""


async def look_up_address(lookup: Lookup, zone: Zone, address: Address) -> Listing | None:
    """Return a client's listing.

    Raises:
        DnsError: it is not known.
    """
    return await _look_up(lookup, zone, reversed_name(address))


def names_of_domain(zone: Zone, domain: bytes) -> set[bytes]:
    """Return what a list is asked for of a domain that a stranger has chosen.

    That is the longest end of it that can be asked for, and the registered domain, which is listed
    whatever stands before it. None can be where it has no two well-formed labels at its end: an
    address literal, say.
    """
    end = askable_end(ascii_domain(domain), MAX_NAME_BYTES - len(zone.name) - 1)
    return {end, registered_domain(end)} - {b""}


async def refuse(zone: Zone, domain: bytes) -> Listing | None:
    """Say that a list can't be asked for a domain.

    Raises:
        DnsError: always.
    """
    raise DnsError(f"{zone.name} can't be asked for {domain!r}")


async def look_up_domain(lookup: Lookup, zone: Zone, domain: bytes) -> Listing | None:
    """Return a domain's listing, see ``names_of_domain``.

    Raises:
        DnsError: it is not known.
    """
    return await _look_up(lookup, zone, domain)


async def _look_up(lookup: Lookup, zone: Zone, name: bytes) -> Listing | None:
    answer = await lookup.query(name + b"." + zone.name.encode(), Kind.A)
    codes = [int.from_bytes(value, "big") for value in answer.values]
    for code in codes:
        if code >> 24 != _LOOPBACK or code == _NO_LISTING or code >> 8 == _ERRORS:
            shown = ".".join(str(byte) for byte in code.to_bytes(4, "big"))
            raise ListError(f"{zone.name} answers {shown}, which is an error, not a listing")
    counting = [code for code in codes if _counts(zone, code)]
    return Listing(zone, max(counting)) if counting else None


def _counts(zone: Zone, code: int) -> bool:
    return not zone.codes or any(first <= code <= last for first, last in zone.codes)


def reversed_name(address: Address) -> bytes:
    """Return an address as it is asked for in a list (RFC 5782, 2.1 and 2.4)."""
    return b".".join(reversed(dotted(address).split(b".")))


def pointer_name(address: Address) -> bytes:
    """Return the name under which an address has its names (RFC 1035, 3.5; RFC 3596, 2.5)."""
    zone = b".in-addr.arpa" if address.bits == 32 else b".ip6.arpa"
    return reversed_name(address) + zone


def trust_of(listing: Listing) -> int:
    """Return the level of trust that a DNS whitelist tells: the last octet (dnswl.org's codes)."""
    return listing.code & 0xFF
