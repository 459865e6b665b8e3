"""SPF (RFC 7208): does the owner of a domain authorise an address to send its mail?

greyd has its own implementation because pyspf, the reference, blocks on each DNS query, has had no
release since 2020, needs a second DNS library, and does not report which term of an included record
matched. greyd needs the term: it takes a pass as proof of the sender's identity, and a domain that
lets everybody pass proves nothing. A pass is no proof

- by ``all``, ``exists`` or ``ptr``, whose addresses cannot be counted;
- by a network wider than ``MIN_PREFIX``, nor by such a network around the address of an ``a`` or
  ``mx``;
- if the records read so far, and the hosts they name, cover more than ``MAX_PROVEN_ADDRESSES``:
  many networks are as good as a wide one;
- if a domain name on the way contains a macro that differs from request to request (``s``, ``l``,
  ``i``, ``p``, ``h``): the owner's name server sees the client, and can let each of them pass.

An evaluation is bounded whatever the records say (``greyd.dns.spf.limits``), and other requests
are answered before each further record. Parsed records are cached, invalid ones included. The
caller sets the time limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.dns.lookup import DnsError
from greyd.dns.spf.errors import SpfPermanentError
from greyd.dns.spf.evaluator import Evaluator, SpfVerdict

if TYPE_CHECKING:
    from greyd.dns.lookup import Lookup
    from greyd.rules.address import Address

MAX_PROVEN_ADDRESSES = {32: 1 << 25, 128: 1 << 112}
"""The most addresses, by their bits, that a domain may let pass for a pass to be proof: as many as
two networks /8, or one /16 of IPv6.
"""


@dataclass(frozen=True, slots=True)
class SpfResult:
    """The result of SPF for an address."""

    result: str
    """``pass``, ``fail``, ``softfail``, ``neutral``, ``none``, ``temperror`` or ``permerror``."""
    domain: bytes
    """The domain whose record was evaluated."""
    proves: bool = False
    """The result is a pass, and the record identifies this client."""
    term: bytes = b""
    """The first bytes of the innermost term that matched."""


async def check_host(lookup: Lookup, address: Address, sender: bytes, helo: bytes) -> SpfResult:
    """Evaluate SPF for a client; never raises, as DNS failures are results, too.

    Args:
        lookup: queries the DNS.
        address: the client's address.
        sender: the envelope sender; if it is empty, the HELO name's record is evaluated. The
            result for a sender without a domain is ``none``.
        helo: the HELO name.
    """
    local, at, domain = sender.rpartition(b"@")
    if not at:
        domain = b"" if sender else helo
    domain = domain.lower().removesuffix(b".")
    evaluator = Evaluator(lookup, address, local or b"postmaster", domain, helo)
    try:
        verdict = await evaluator.evaluate(domain, is_fixed=True)
    except SpfPermanentError:
        verdict = SpfVerdict("permerror")
    except DnsError:
        verdict = SpfVerdict("temperror")
    is_wide = evaluator.passed_counts[address.bits] > MAX_PROVEN_ADDRESSES[address.bits]
    proves = verdict.result == "pass" and verdict.is_specific and not is_wide
    return SpfResult(verdict.result, domain, proves, verdict.term)
