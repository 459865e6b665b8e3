"""Customers of an organisation, whose machines have names in its domain."""

from __future__ import annotations

_NOT_CONFIRMED = frozenset({"fail", "softfail", "neutral"})
"""SPF results of a domain whose record does not include the client."""


def may_be_customer(
    name: bytes, organisation: bytes, sender_domain: bytes, spf_result: str
) -> bool:
    """Whether a sender in the organisation's domain may be a customer of it.

    The machines of a hosting provider's customers have names in its domain, and send for a machine
    (``root@vps7.provider.example``), or claim the provider's domain, whose SPF record does not
    include them. The organisation sends for its domain, or for one that its servers' names are in.

    Args:
        name: the client's confirmed name, in the organisation's domain.
        organisation: the registered domain.
        sender_domain: the sender's domain, in the organisation's domain.
        spf_result: SPF's result for the sender's domain; empty if it is unknown.
    """
    if spf_result in _NOT_CONFIRMED:
        return True
    return sender_domain != organisation and not name.endswith(b"." + sender_domain)
