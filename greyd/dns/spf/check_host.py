"""SPF (RFC 7208): does the owner of a domain authorise an address to send its mail?

greyd has its own implementation because pyspf, the reference, blocks on each DNS query, has had no
release since 2020, needs a second DNS library, and does not report which term of an included record
matched. greyd needs the term because it takes a pass as proof of the client's identity, and a
record that passes nearly every address proves no identity. A pass is no proof if

- the term is ``all``, ``exists`` or ``ptr``, whose addresses cannot be counted;
- the term is a network, or an ``a`` or ``mx`` with a prefix length, wider than ``MIN_PREFIX``;
- the networks and hosts of the records read so far cover more than ``MAX_PROVEN_ADDRESSES``: many
  networks can cover as much as one wide network. If they cover ``MANY_ADDRESSES``, the records that
  follow the match are read and count too;
- a domain name that led to the term contains a macro that differs from request to request (``s``,
  ``l``, ``i``, ``p``, ``h``): the query shows the client to the domain's name server, which can let
  each client pass.

``greyd.dns.spf.width`` defines these bounds. ``greyd.dns.spf.limits`` bounds an evaluation, and the
event loop runs other tasks before each further record. Parsed records are cached, including invalid
ones. The caller sets the time limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsError
from greyd.dns.spf.errors import SpfPermanentError
from greyd.dns.spf.evaluator import Evaluator, SpfVerdict
from greyd.rules.names.internationalised import ascii_domain

if TYPE_CHECKING:
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address


@dataclass(frozen=True, slots=True)
class SpfResult:
    """The result of an SPF evaluation."""

    result: str
    """``pass``, ``fail``, ``softfail``, ``neutral``, ``none``, ``temperror`` or ``permerror``."""
    domain: bytes
    """The domain whose record was evaluated."""
    proves: bool = False
    """Whether the result is a pass that proves the client's identity."""
    term: bytes = b""
    """The matching term of the innermost record, cut off after ``MAX_TERM_TEXT_BYTES``."""


async def check_host(lookup: Lookup, address: Address, sender: bytes, helo: bytes) -> SpfResult:
    """Evaluate SPF for a client. Never raises: a DNS failure is the result ``temperror``.

    Args:
        lookup: queries the DNS.
        address: the client's address.
        sender: the envelope sender; its domain may be in UTF-8 (RFC 7208, 4.3). For the null
            sender, the record of the HELO name is evaluated; for a sender without ``@`` the result
            is ``none``.
        helo: the HELO name.
    """
    local, at, domain = sender.rpartition(b"@")
    if not at:
        domain = b"" if sender else helo
    domain = ascii_domain(domain).lower().removesuffix(b".")
    evaluator = Evaluator(lookup, address, local or b"postmaster", domain, helo)
    try:
        verdict = await evaluator.evaluate(domain, is_fixed=True)
    except SpfPermanentError:
        verdict = SpfVerdict("permerror")
    except DnsError:
        verdict = SpfVerdict("temperror")
    proves = verdict.result == "pass" and verdict.is_specific and not evaluator.passed.are_too_many
    return SpfResult(verdict.result, domain, proves, verdict.term)
