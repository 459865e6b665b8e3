"""The proven identity of a client: the domain it sends for, as a greylisting key and never a pass.

A provider that retries from another address is still the same provider. There are two proofs:

- ``spf``: SPF of the sender's domain (for the null sender of the HELO name) passes this address,
  and does not pass everybody;
- ``name``: the client's name, which Postfix has confirmed forward, and its HELO name belong to the
  same organisation, and the name does not look like that of a provider's customer line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.rules.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, normal_name, organisation_of

if TYPE_CHECKING:
    from greyd.dns.spf.check_host import SpfResult
    from greyd.rules.address import Address
    from greyd.rules.request import Request


@dataclass(frozen=True, slots=True)
class ProvenIdentity:
    """The domain that a client sends for."""

    domain: bytes
    way: str
    """``spf`` or ``name``."""
    speaks_for_sender: bool
    """It is the domain, or the organisation, of the envelope sender."""


def identity_from_spf(request: Request, spf: SpfResult | None) -> ProvenIdentity | None:
    """Return the identity that SPF proves."""
    if spf is None or not spf.proves:
        return None
    return ProvenIdentity(spf.domain, "spf", spf.domain == domain_of(request.sender or b""))


def identity_from_name(request: Request, address: Address) -> ProvenIdentity | None:
    """Return the identity that the client's confirmed name and its HELO name share."""
    name = normal_name(request.client_name)
    organisation = organisation_of(name)
    helo_organisation = organisation_of(normal_name(request.helo_name))
    if not organisation or helo_organisation != organisation or is_generic(name, address):
        return None
    sender_organisation = organisation_of(domain_of(request.sender or b""))
    return ProvenIdentity(organisation, "name", sender_organisation == organisation)
