"""Proof that a client may send for the domain of the envelope sender (``--whitelist-senders``).

As for DMARC (RFC 7489, 3.1), one of two ways is enough:

- ``spf``: SPF passes the client for the sender's domain, by a record that does not pass nearly
  every client;
- ``name``: the client's confirmed name belongs to the organisation of the sender's domain, and is
  neither generic nor one that the organisation's customers may have.

If SPF does not include the client (``fail``, ``softfail``, ``neutral``), its name proves nothing
either. The null sender has no domain, so nothing proves it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.rules.client_names.customers import may_be_customer
from greyd.rules.client_names.generic_hostnames import is_generic
from greyd.rules.hostnames import domain_of, normal_name, organisation_of

if TYPE_CHECKING:
    from greyd.rules.address import Address
    from greyd.rules.request import Request


@dataclass(frozen=True, slots=True)
class SenderProof:
    """Whether a client may send for the sender's domain."""

    way: str = ""
    """``spf`` or ``name``; empty without proof."""
    missing: str = ""
    """Without proof: the reason, for messages."""


def prove_sender(
    request: Request, address: Address, spf_result: str, *, is_specific: bool
) -> SenderProof:
    """Return whether the client may send for the sender's domain.

    Args:
        request: the request.
        address: the client's address.
        spf_result: SPF's result for the sender's domain; empty if it did not come in time.
        is_specific: whether the result is a pass that does not apply to nearly every client.
    """
    domain = domain_of(request.sender or b"")
    if not domain:
        return SenderProof(missing="the sender has no domain")
    if spf_result == "fail":
        return SenderProof(missing="SPF of the sender's domain denies the client (fail)")
    if spf_result == "pass" and is_specific:
        return SenderProof("spf")
    if problem := _problem_of_name(request, address, domain, spf_result):
        return SenderProof(missing=f"{_spf_text(spf_result)}, and {problem}")
    return SenderProof("name")


def _problem_of_name(request: Request, address: Address, domain: bytes, spf_result: str) -> str:
    """Return why the client's name proves nothing for a sender's domain; empty if it is proof."""
    name = normal_name(request.client_name)
    organisation = organisation_of(domain)
    if not organisation or organisation_of(name) != organisation:
        return "the client has no confirmed name in the sender's organisation"
    if is_generic(name, address):
        return "the client's name is generic"
    if may_be_customer(name, organisation, domain, spf_result):
        return "customers of the organisation may have such a name"
    return ""


def _spf_text(result: str) -> str:
    if result == "pass":
        return "SPF passes nearly every client"
    return f"SPF's result is {result}" if result else "SPF did not answer in time"
