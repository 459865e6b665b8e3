"""Resolves the HELO name of a client."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from greyd.dns.lookup import RecordType
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
    answers = await asyncio.gather(
        *(lookup.query(helo, each) for each in (own, other, RecordType.MX)),
        return_exceptions=True,
    )
    found = [() if isinstance(each, BaseException) else each.values for each in answers]
    if address.packed in found[0]:
        return HeloResolution.CLIENT
    if found[0]:
        return HeloResolution.OTHER
    if any(found):
        return HeloResolution.INCOMPARABLE
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return HeloResolution.NOTHING
