"""DNS blocklists and whitelists (RFC 5782): ``7.2.0.192.ZONE`` exists if 192.0.2.7 is listed.

Only answers in 127.0.0.0/8 are listings. An answer outside it comes from a name server that answers
every query. Some answers inside it are errors, see ``greyd.dns.lists.families``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from greyd.config.list_keys import PLACEHOLDER
from greyd.config.secrets import MAX_LIST_KEY_CHARACTERS
from greyd.dns.lists.families import LOOPBACK, code_text, family_of, is_in
from greyd.dns.lookup import DnsError, RecordType
from greyd.dns.reverse_names import reversed_name
from greyd.rules.hostnames import MAX_NAME_BYTES, queryable_suffix, registered_domain
from greyd.rules.names.internationalised import ascii_domain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from greyd.config.vocabulary import Zone
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address


LISTED_WEIGHT = 1
"""The minimum sum of weights, over the zones that list a client, for the client to be listed."""


class DnsListError(DnsError):
    """A list has answered with an error code instead of a listing."""


@dataclass(frozen=True, slots=True)
class DnsListing:
    """The entry of a client or domain in a DNS list."""

    zone: Zone
    code: int
    """The A record as a 32-bit number; the largest one of several."""
    domain: bytes = b""
    """The listed domain; empty for a listed address."""


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
    return None if listing is None else replace(listing, domain=domain)


def queryable_names(zone: Zone, domain: bytes) -> set[bytes]:
    """Return the names to look up in a zone for a domain from a request, which may be invalid.

    These are the longest suffix that is valid in a query, and the registered domain, because lists
    contain registered domains. The set is empty if the domain does not end with two valid labels,
    e.g. if it is an address literal.
    """
    zone_bytes = len(zone.name) + (MAX_LIST_KEY_CHARACTERS if PLACEHOLDER in zone.name else 0)
    suffix = queryable_suffix(ascii_domain(domain), MAX_NAME_BYTES - zone_bytes - 1)
    return {suffix, registered_domain(suffix)} - {b""}


async def _fetch_listing(lookup: Lookup, zone: Zone, name: bytes) -> DnsListing | None:
    family = family_of(zone.name)
    answer = await lookup.query(name + b"." + zone.name.encode(), RecordType.A)
    codes = [int.from_bytes(value, "big") for value in answer.values]
    for code in codes:
        if not is_in(code, (LOOPBACK,)) or family.is_error(code):
            text = code_text(code)
            raise DnsListError(f"{zone.name} answers {text}, which is an error, not a listing")
    is_counted = (lambda code: is_in(code, zone.codes)) if zone.codes else family.is_counted
    counted = [code for code in codes if is_counted(code)]
    return DnsListing(zone, max(counted)) if counted else None


def is_listed(listings: Iterable[DnsListing]) -> bool:
    """Whether the weights of the zones in ``listings`` add up to ``LISTED_WEIGHT``, exactly.

    A zone counts once, even if it lists several domains.
    """
    # Sums of floats depend on their order: 0.7 + 0.2 + 0.1 is less than 1.
    weights = {each.zone.name: Fraction(repr(each.zone.weight)) for each in listings}
    return sum(weights.values()) >= LISTED_WEIGHT


def trust_level(listing: DnsListing) -> int:
    """Return the trust level in a DNS whitelist's answer: its last byte (dnswl.org)."""
    return listing.code & 0xFF
