"""For whom a client sends, as far as that is known for sure: a key for greylisting, never a pass.

A provider that tries again from another address is still the same provider, which is proved by:

- ``spf``: the domain of the sender (for the null sender that of the HELO) says by its SPF record
  that this address may send its mail, and does not say so of everybody;
- ``name``: the client's name, which Postfix has confirmed forward, belongs to a domain that its
  HELO belongs to as well, and does not look like one of a provider's customers' lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greyd.rules.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, normal_name, organisation_of

if TYPE_CHECKING:
    from greyd.dns.spf.evaluator import SpfResult
    from greyd.rules.address import Address
    from greyd.rules.request import Request


class ProvenIdentity(NamedTuple):
    """The domain that a client sends for."""

    domain: bytes
    way: str
    """``spf`` or ``name``."""
    speaks_for_sender: bool
    """It is the domain of the envelope sender, or of the same organisation."""


def identity_from_spf(request: Request, spf: SpfResult | None) -> ProvenIdentity | None:
    """Return the identity that SPF proves."""
    if spf is None or not spf.proves:
        return None
    return ProvenIdentity(spf.domain, "spf", spf.domain == domain_of(request.sender or b""))


def identity_from_name(request: Request, address: Address) -> ProvenIdentity | None:
    """Return the identity that the client's confirmed name and its HELO agree on."""
    name = normal_name(request.client_name)
    organisation = organisation_of(name)
    helos = organisation_of(normal_name(request.helo_name))
    if not organisation or helos != organisation or is_generic(name, address):
        return None
    sender = organisation_of(domain_of(request.sender or b""))
    return ProvenIdentity(organisation, "name", sender == organisation)
