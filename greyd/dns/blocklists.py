"""DNS blocklists and whitelists (RFC 5782): ``7.2.0.192.ZONE`` exists if 192.0.2.7 is listed.

Only answers in 127.0.0.0/8 are listings. An answer outside it comes from a name server that answers
every query. 127.0.0.1 and 127.255.255.0/24 are error codes of the list (Spamhaus).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.reverse_names import reversed_name
from greyd.rules.hostnames import MAX_NAME_BYTES, queryable_suffix, registered_domain
from greyd.rules.internationalised_names import ascii_domain

if TYPE_CHECKING:
    from greyd.config.vocabulary import Zone
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address


LISTED_WEIGHT = 1.0
"""The minimum sum of weights, over the zones that list a client, for the client to be listed."""

_LOOPBACK = 127
_NOT_A_LISTING = 0x7F000001
_ERROR_PREFIX = 0x7FFFFF
"""127.255.255.0/24, without the last byte."""


class DnsListError(DnsError):
    """A list has answered with an error code instead of a listing."""


@dataclass(frozen=True, slots=True)
class DnsListing:
    """The entry of a client or domain in a DNS list."""

    zone: Zone
    code: int
    """The A record as a 32-bit number; the largest one of several."""
    domain: bytes = b""
    """The listed domain; empty for an address."""


async def fetch_address_listing(lookup: Lookup, zone: Zone, address: Address) -> DnsListing | None:
    """Return the listing of an address in a zone; None if the zone does not list it.

    Raises:
        DnsError: the query failed, or the list answered with an error code.
    """
    return await _fetch_listing(lookup, zone, reversed_name(address))


async def fetch_domain_listing(lookup: Lookup, zone: Zone, domain: bytes) -> DnsListing | None:
    """Return the listing of a domain in a zone; None if the zone does not list it.

    ``domain`` is one of ``queryable_names``.

    Raises:
        DnsError: the query failed, or the list answered with an error code.
    """
    listing = await _fetch_listing(lookup, zone, domain)
    return listing and replace(listing, domain=domain)


def queryable_names(zone: Zone, domain: bytes) -> set[bytes]:
    """Return the names to look up in a zone for a domain from a request, which may be invalid.

    These are the longest suffix that is valid in a query, and the registered domain, because lists
    contain registered domains. The set is empty if the domain does not end with two valid labels,
    e.g. if it is an address literal.
    """
    suffix = queryable_suffix(ascii_domain(domain), MAX_NAME_BYTES - len(zone.name) - 1)
    return {suffix, registered_domain(suffix)} - {b""}


async def _fetch_listing(lookup: Lookup, zone: Zone, name: bytes) -> DnsListing | None:
    answer = await lookup.query(name + b"." + zone.name.encode(), RecordType.A)
    codes = [int.from_bytes(value, "big") for value in answer.values]
    for code in codes:
        if code >> 24 != _LOOPBACK or code == _NOT_A_LISTING or code >> 8 == _ERROR_PREFIX:
            text = ".".join(str(byte) for byte in code.to_bytes(4, "big"))
            raise DnsListError(f"{zone.name} answers {text}, which is an error, not a listing")
    counted = [code for code in codes if _is_counted(zone, code)]
    return DnsListing(zone, max(counted)) if counted else None


def _is_counted(zone: Zone, code: int) -> bool:
    return not zone.codes or any(first <= code <= last for first, last in zone.codes)


def trust_level(listing: DnsListing) -> int:
    """Return the trust level in a DNS whitelist's answer: its last byte (dnswl.org)."""
    return listing.code & 0xFF
