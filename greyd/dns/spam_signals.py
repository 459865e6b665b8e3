"""Signs of spam software (signals) in the names that a client uses.

Each signal corresponds to a restriction of Postfix, e.g.
``reject_unknown_reverse_client_hostname``, but only delays the client's mail. An attribute that
Postfix did not send causes no signal.
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
    """Yield the signals that need no query, by the names of ``--signals``."""
    name = (request.client_name or b"").lower()
    if name == b"unknown" and request.reverse_client_name is not None:
        has_ptr = request.reverse_client_name.lower() != b"unknown"
        yield "ptr_mismatch" if has_ptr else "no_ptr"
    helo = normal_name(request.helo_name)
    if request.helo_name is not None and not (is_fqdn(helo) or is_literal(helo)):
        yield "helo_not_fqdn"
    known_name = (request.reverse_client_name or b"").lower() if name == b"unknown" else name
    if known_name and known_name != b"unknown" and is_generic(known_name, address):
        yield "generic_name"


async def helo_no_address(lookup: Lookup, request: Request) -> bool:
    """Whether the HELO name is a host name without A, AAAA and MX records.

    Raises:
        DnsError: a query failed, and the others found no records.
    """
    helo = normal_name(request.helo_name)
    return is_fqdn(helo) and not await _has_any(
        lookup, helo, RecordType.A, RecordType.AAAA, RecordType.MX
    )


async def sender_no_mx(lookup: Lookup, request: Request) -> bool:
    """Whether the sender's domain accepts no mail: no MX and no address, or a null MX.

    Raises:
        DnsError: the MX query failed, or an address query failed and the other found no records.
    """
    domain = domain_of(request.sender or b"")
    if not domain or domain.startswith(b"["):
        return False
    exchangers = (await lookup.query(domain, RecordType.MX)).values
    if exchangers:
        # RFC 7505: a null MX says that the domain accepts no mail.
        return exchangers == (b"",)
    return not await _has_any(lookup, domain, RecordType.A, RecordType.AAAA)


async def _has_any(lookup: Lookup, name: bytes, *record_types: RecordType) -> bool:
    """Whether a name has records of any of these types.

    Raises:
        DnsError: a query failed, and the others found no records.
    """
    answers = await asyncio.gather(
        *(lookup.query(name, each) for each in record_types), return_exceptions=True
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
