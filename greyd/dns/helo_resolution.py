"""Resolves the HELO name of a client."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsError, RecordType, has_records
from greyd.rules.hostnames import is_fqdn, normal_name

if TYPE_CHECKING:
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address
    from greyd.rules.request import Request


class HeloResolution(Enum):
    """What a HELO name resolves to."""

    CLIENT = "client"
    """The client's address is one of its addresses."""
    OTHER = "other"
    """It has addresses of the client's family (IPv4 or IPv6), and none is the client's."""
    INCOMPARABLE = "incomparable"
    """It has an MX record or addresses of the other family only."""
    NOTHING = "nothing"
    """It has neither addresses nor an MX record."""


async def resolve_helo(lookup: Lookup, request: Request, address: Address) -> HeloResolution | None:
    """Return what the HELO name resolves to; None if it is no host name.

    The confirmed client name resolves to the client, so the same HELO name needs no query.

    Raises:
        DnsError: a query failed, and the others found no records.
    """
    helo = normal_name(request.helo_name)
    if not is_fqdn(helo):
        return None
    if helo == normal_name(request.client_name):
        return HeloResolution.CLIENT
    own, other = RecordType.A, RecordType.AAAA
    if address.bits == 128:
        own, other = other, own
    addresses: tuple[bytes, ...] = ()
    failure: DnsError | None = None
    try:
        addresses = (await lookup.query(helo, own)).values
    except DnsError as error:
        failure = error
    if address.packed in addresses:
        return HeloResolution.CLIENT
    if addresses:
        return HeloResolution.OTHER
    if await has_records(lookup, helo, other, RecordType.MX):
        return HeloResolution.INCOMPARABLE
    if failure is not None:
        raise failure
    return HeloResolution.NOTHING
