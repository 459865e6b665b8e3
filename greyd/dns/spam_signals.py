"""Signs of spam software (signals) in the names that a client uses.

Some signals correspond to a restriction of Postfix, e.g.
``reject_unknown_reverse_client_hostname``, but only delay the client's mail. An attribute that
Postfix did not send causes no signal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.dns.helo_resolution import HeloResolution
from greyd.dns.lookup import RecordType, UnqueryableNameError, has_records
from greyd.rules.address import is_behind_local_nat64, is_internal, parse_address
from greyd.rules.client_names.generic_hostnames import is_generic
from greyd.rules.hostnames import (
    domain_of,
    is_fqdn,
    is_literal,
    normal_name,
    organisation_of,
)

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
    if is_literal(helo) and (signal := _literal_signal(helo, address)):
        yield signal
    if (request.protocol_name or b"").upper() == b"SMTP":
        yield "plain_helo"
    known_name = (request.reverse_client_name or b"").lower() if name == b"unknown" else name
    if known_name and known_name != b"unknown" and is_generic(known_name, address):
        yield "generic_name"


def _literal_signal(literal: bytes, address: Address) -> str | None:
    """Return the signal of an address literal; None for the client's own (RFC 5321, 4.1.3).

    A mail server behind NAT may know only its private address. So that is a weak signal: bots
    behind NAT send the same.
    """
    denoted = parse_address(literal[1:-1].removeprefix(b"ipv6:"))
    if denoted is None:
        return "helo_wrong_literal"
    if denoted.bits == 32 and is_behind_local_nat64(address):
        return None  # the client's IPv4 address is unknown
    if denoted[:2] == address[:2]:
        return None
    return "helo_private_literal" if is_internal(denoted) else "helo_wrong_literal"


def helo_signal(
    resolution: HeloResolution | None, request: Request, address: Address
) -> str | None:
    """Return the signal of what the HELO name resolves to; None if it shows none.

    A HELO name of the client's own organisation may resolve to any address: the hosts of a pool
    often share one name, which resolves to another address than they send from.
    """
    if resolution is None:
        return None
    if resolution is HeloResolution.OTHER and _is_name_of_own_organisation(request, address):
        return None
    return _HELO_SIGNALS.get(resolution)


def _is_name_of_own_organisation(request: Request, address: Address) -> bool:
    """Whether HELO name and confirmed client name, which is not generic, share the organisation."""
    name = normal_name(request.client_name)
    organisation = organisation_of(name)
    same = bool(organisation) and organisation == organisation_of(normal_name(request.helo_name))
    return same and not is_generic(name, address)


_HELO_SIGNALS = {
    HeloResolution.NOTHING: "helo_no_address",
    HeloResolution.OTHER: "helo_other_address",
}
HELO_SIGNALS = frozenset(_HELO_SIGNALS.values())
"""The signals that need the resolution of the HELO name."""


async def sender_no_mx(lookup: Lookup, request: Request) -> bool:
    """Whether the sender's domain accepts no mail: no MX and no address, or a null MX.

    Raises:
        DnsError: the MX query failed, or an address query failed and the other found no records.
    """
    domain = domain_of(request.sender or b"")
    if not domain or domain.startswith(b"["):
        return False
    try:
        exchangers = (await lookup.query(domain, RecordType.MX)).values
    except UnqueryableNameError:
        # No query has failed, and no domain for mail has such a name.
        return True
    if exchangers:
        # RFC 7505: a null MX says that the domain accepts no mail.
        return exchangers == (b"",)
    return not await has_records(lookup, domain, RecordType.A, RecordType.AAAA)
