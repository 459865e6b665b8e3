"""Marks of spamware that a client shows by its names: what an administrator would else reject for.

Each is the subject of one of Postfix's restrictions (``reject_unknown_reverse_client_hostname`` and
its relatives); here it only makes a client wait. Nothing is held against a client that Postfix did
not tell: an attribute that is absent is no mark.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from greyd.dns.lookup import RecordType
from greyd.rules.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, is_fqdn, is_literal, normal_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address
    from greyd.rules.request import Request


def signals_without_dns(request: Request, address: Address) -> Iterator[str]:
    """Yield the marks that need no DNS."""
    name = (request.client_name or b"").lower()
    if name == b"unknown" and request.reverse_client_name is not None:
        unknown = request.reverse_client_name.lower() == b"unknown"
        yield "no_ptr" if unknown else "ptr_mismatch"
    helo = normal_name(request.helo_name)
    if request.helo_name is not None and not (is_fqdn(helo) or is_literal(helo)):
        yield "helo_not_fqdn"
    known = (request.reverse_client_name or b"").lower() if name == b"unknown" else name
    if known and known != b"unknown" and is_generic(known, address):
        yield "generic_name"


async def helo_no_address(lookup: Lookup, request: Request) -> bool:
    """Whether the HELO's name has neither an address nor mail exchangers.

    Raises:
        DnsError: it is not known.
    """
    helo = normal_name(request.helo_name)
    return is_fqdn(helo) and not await _has_any(
        lookup, helo, RecordType.A, RecordType.AAAA, RecordType.MX
    )


async def sender_no_mx(lookup: Lookup, request: Request) -> bool:
    """Whether the sender's domain takes no mail: no exchangers and no address, or a null MX.

    Raises:
        DnsError: it is not known.
    """
    domain = domain_of(request.sender or b"")
    if not domain or domain.startswith(b"["):
        return False
    exchangers = (await lookup.query(domain, RecordType.MX)).values
    if exchangers:
        # RFC 7505: a null MX says that the domain takes no mail.
        return exchangers == (b"",)
    return not await _has_any(lookup, domain, RecordType.A, RecordType.AAAA)


async def _has_any(lookup: Lookup, name: bytes, *kinds: RecordType) -> bool:
    """Whether a name has records of any of these kinds; one answer that says so is enough."""
    answers = await asyncio.gather(
        *(lookup.query(name, kind) for kind in kinds), return_exceptions=True
    )
    failure: BaseException | None = None
    for answer in answers:
        if isinstance(answer, BaseException):
            failure = answer
        elif answer.values:
            return True
    if failure is not None:
        raise failure
    return False
