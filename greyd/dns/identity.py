"""The proven identity of a client: the organisation that it sends for.

The identity is a further greylisting key, so that a provider may retry from another address. It
never exempts a request by itself. There are two proofs:

- ``spf``: the SPF record of the sender's domain (of the HELO name for the null sender) passes the
  client's address, and does not pass nearly every address;
- ``name``: the client name resolves to the client's address, and is not generic. It speaks for
  senders only if the HELO name belongs to the same organisation.

The organisation is the registered domain by the whole public suffix list. So the bounce domain of
each message (``b4711.mail.example.com``) is the same identity, and the customers of a provider in
the private section of the list (``shop.github.io``) are different ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.rules.client_names.customers import may_be_customer
from greyd.rules.client_names.generic_hostnames import is_generic
from greyd.rules.evidence import ProvenIdentity
from greyd.rules.hostnames import (
    domain_of,
    is_public_suffix,
    normal_name,
    organisation_of,
    registered_domain,
)

if TYPE_CHECKING:
    from greyd.dns.spf.check_host import SpfResult
    from greyd.rules.address import Address
    from greyd.rules.request import Request


def identity_from_spf(request: Request, spf: SpfResult | None) -> ProvenIdentity | None:
    """Return the identity that an SPF result proves; None if it proves no identity."""
    if spf is None or not spf.proves:
        return None
    organisation = _owner_of(spf.domain)
    if not organisation:
        return None
    speaks_for_sender = _owner_of(domain_of(request.sender or b"")) == organisation
    # The customers of a hosting provider can have SPF records for their machines' names, too. For
    # the null sender the domain is always that of the HELO name.
    machine = {normal_name(request.helo_name), normal_name(request.client_name)} - {organisation}
    return ProvenIdentity(
        organisation, "spf", speaks_for_sender, may_be_customer=spf.domain in machine
    )


def identity_from_name(
    request: Request, address: Address, spf: SpfResult | None = None
) -> ProvenIdentity | None:
    """Return the organisation of the client name as the identity; None if it proves none.

    With a HELO name of another organisation, e.g. a provider's brand, it is only a key: it does not
    speak for the sender.

    Args:
        request: the request.
        address: the client's address.
        spf: the result for the sender, if it is known.
    """
    name = normal_name(request.client_name)
    organisation = organisation_of(name)
    if not organisation or is_generic(name, address):
        return None
    if organisation_of(normal_name(request.helo_name)) != organisation:
        return ProvenIdentity(organisation, "name", speaks_for_sender=False)
    sender_domain = domain_of(request.sender or b"")
    spf_result = spf.result if spf else ""
    # A customer of the organisation forges its domain; its SPF record says so.
    is_denied = spf_result == "fail"
    speaks_for_sender = organisation_of(sender_domain) == organisation and not is_denied
    is_customer = may_be_customer(name, organisation, sender_domain, spf_result)
    return ProvenIdentity(
        organisation, "name", speaks_for_sender, may_be_customer=speaks_for_sender and is_customer
    )


def _owner_of(domain: bytes) -> bytes:
    """Return a domain's organisation, or the domain itself if it is below no known suffix.

    Empty for a public suffix: anyone may have a name below it. Labels before the registered domain
    may be invalid in a host name.
    """
    registered = registered_domain(domain)
    if registered and organisation_of(registered) == registered:
        return registered
    return b"" if is_public_suffix(domain) else domain
