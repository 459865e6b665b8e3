"""DNS lists of clients and domains: the address of ``7.2.0.192.zone`` says what they hold of one.

Source: RFC 5782. An answer outside of 127.0.0.0/8 comes from a name server that answers everything;
127.0.0.1 and 127.255.255.0/24 (Spamhaus: the question was wrong, or too many were asked) are errors
of the list. All these are no listings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.reverse_names import reversed_name
from greyd.rules.hostnames import MAX_NAME_BYTES, ascii_domain, queryable_suffix, registered_domain

if TYPE_CHECKING:
    from greyd.config.vocabulary import Zone
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address


LISTED_WEIGHT = 1.0
"""A client is listed where the weights of the lists that it stands on reach this."""

_LOOPBACK = 127
_NOT_A_LISTING = 0x7F000001
_ERROR_CODES = 0x7FFFFF
"""127.255.255.x, without its last octet."""


class DnsListError(DnsError):
    """The list answered, but not to the question."""


class DnsListing(NamedTuple):
    """A list that a client or a domain stands on."""

    zone: Zone
    code: int
    """The answer, as a number; of several the largest."""


async def fetch_address_listing(lookup: Lookup, zone: Zone, address: Address) -> DnsListing | None:
    """Return a client's listing.

    Raises:
        DnsError: it is not known.
    """
    return await _fetch_listing(lookup, zone, reversed_name(address))


def queryable_names(zone: Zone, domain: bytes) -> set[bytes]:
    """Return what a list is asked for of a domain that a stranger has chosen.

    That is the longest end of it that can be asked for, and the registered domain, which is listed
    whatever stands before it. None can be where it has no two well-formed labels at its end: an
    address literal, say.
    """
    end = queryable_suffix(ascii_domain(domain), MAX_NAME_BYTES - len(zone.name) - 1)
    return {end, registered_domain(end)} - {b""}


async def fail_unqueryable(zone: Zone, domain: bytes) -> DnsListing | None:
    """Say that a list can't be asked for a domain.

    Raises:
        DnsError: always.
    """
    raise DnsError(f"{zone.name} can't be asked for {domain!r}")


async def fetch_domain_listing(lookup: Lookup, zone: Zone, domain: bytes) -> DnsListing | None:
    """Return a domain's listing, see ``queryable_names``.

    Raises:
        DnsError: it is not known.
    """
    return await _fetch_listing(lookup, zone, domain)


async def _fetch_listing(lookup: Lookup, zone: Zone, name: bytes) -> DnsListing | None:
    answer = await lookup.query(name + b"." + zone.name.encode(), RecordType.A)
    codes = [int.from_bytes(value, "big") for value in answer.values]
    for code in codes:
        if code >> 24 != _LOOPBACK or code == _NOT_A_LISTING or code >> 8 == _ERROR_CODES:
            shown = ".".join(str(byte) for byte in code.to_bytes(4, "big"))
            raise DnsListError(f"{zone.name} answers {shown}, which is an error, not a listing")
    counting = [code for code in codes if _is_counted(zone, code)]
    return DnsListing(zone, max(counting)) if counting else None


def _is_counted(zone: Zone, code: int) -> bool:
    return not zone.codes or any(first <= code <= last for first, last in zone.codes)


def trust_level(listing: DnsListing) -> int:
    """Return the level of trust that a DNS whitelist tells: the last octet (dnswl.org's codes)."""
    return listing.code & 0xFF
