"""The proven identity of a client: the domain that it sends for.

The identity is a further greylisting key, so that a provider may retry from another address. It
never exempts a request by itself. There are two proofs:

- ``spf``: the SPF record of the sender's domain (of the HELO name for the null sender) passes the
  client's address, and does not pass nearly every address;
- ``name``: the client name, which resolves to the client's address, and the HELO name belong to the
  same organisation, and the client name is not generic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.evidence import ProvenIdentity
from greyd.rules.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, normal_name, organisation_of

if TYPE_CHECKING:
    from greyd.dns.spf.check_host import SpfResult
    from greyd.rules.address import Address
    from greyd.rules.request import Request


def identity_from_spf(request: Request, spf: SpfResult | None) -> ProvenIdentity | None:
    """Return the identity that an SPF result proves; None if it proves no identity."""
    if spf is None or not spf.proves:
        return None
    organisation = organisation_of(spf.domain) or spf.domain
    sender_organisation = organisation_of(domain_of(request.sender or b""))
    return ProvenIdentity(organisation, "spf", sender_organisation == organisation)


def identity_from_name(request: Request, address: Address) -> ProvenIdentity | None:
    """Return the organisation of both client name and HELO name as the identity; None without."""
    name = normal_name(request.client_name)
    organisation = organisation_of(name)
    helo_organisation = organisation_of(normal_name(request.helo_name))
    if not organisation or helo_organisation != organisation or is_generic(name, address):
        return None
    sender_organisation = organisation_of(domain_of(request.sender or b""))
    return ProvenIdentity(organisation, "name", sender_organisation == organisation)
