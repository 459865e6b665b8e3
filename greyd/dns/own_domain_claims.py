"""Signals of clients that claim a domain of this site, in HELO or as the sender.

Servers of the site itself, and machines of organisations whose mail it accepts, use these names
rightfully. They are recognised by their confirmed name, by SPF, by the address of the HELO name in
the site's own DNS, or by an internal address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.dns.helo_resolution import HeloResolution
from greyd.rules.address import is_internal
from greyd.rules.client_names.generic_hostnames import is_generic
from greyd.rules.hostnames import is_or_is_below, normal_name, organisation_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.dns.spf.check_host import SpfResult
    from greyd.rules.address import Address
    from greyd.rules.own_domains import OwnDomains
    from greyd.rules.request import Request

OWN_DOMAIN_SIGNALS = frozenset({"helo_own_domain", "sender_own_domain"})


def own_domain_signals(
    request: Request,
    address: Address,
    own_domains: OwnDomains,
    helo: HeloResolution | None,
    spf: SpfResult | None,
) -> Iterator[str]:
    """Yield ``helo_own_domain`` and ``sender_own_domain`` if the client shows them.

    Args:
        request: the request.
        address: the client's address.
        own_domains: the domains of this site.
        helo: what the HELO name resolves to; None if unknown.
        spf: the SPF result for the sender; None if unknown.
    """
    if is_internal(address):
        return
    recipient = request.recipient or b""
    claimed = own_domains.claimed_by_helo(request.helo_name or b"", recipient)
    # An unknown result is no signal: the HELO name may resolve to the client.
    is_other = helo not in {None, HeloResolution.CLIENT}
    if claimed and is_other and not _belongs(request, address, claimed, spf):
        yield "helo_own_domain"
    claimed = own_domains.claimed_by_sender(request.sender or b"", recipient)
    is_unproven = spf is not None and spf.result not in {"pass", "temperror"}
    if claimed and is_unproven and not _belongs(request, address, claimed, spf):
        yield "sender_own_domain"


def _belongs(request: Request, address: Address, domain: bytes, spf: SpfResult | None) -> bool:
    """Whether a client is proven to belong to the organisation of a domain."""
    organisation = organisation_of(domain) or domain
    if spf is not None and spf.proves and is_or_is_below(spf.domain, organisation):
        return True
    name = normal_name(request.client_name)
    return is_or_is_below(name, organisation) and not is_generic(name, address)
