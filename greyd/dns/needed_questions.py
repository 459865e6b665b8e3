"""Decides which DNS queries about a client can change the decision; the others are not sent.

The names in the request show some signals without any query:

- A strong signal makes the client suspicious, whatever the HELO name and the sender's domain are,
  and even if a DNS whitelist vouches for it.
- Two weak signals make it suspicious too, but the sender's domain may show a strong one, which also
  voids the auto-whitelisting of its identity.
- A DNS whitelist that only outweighs a signal is queried last, and only if the client shows a
  single weak signal that SPF does not outweigh.

SPF and blocklists are always queried: an identity is a key of the triplet, and a listing has its
own delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.config.vocabulary import STRONG_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Collection

    from greyd.rules.evidence import Evidence

_STRONG_SIGNALS = frozenset(STRONG_SIGNALS)


@dataclass(frozen=True, slots=True)
class NeededQuestions:
    """The queries that can still change the decision after the signals without DNS."""

    helo: bool
    """Whether the addresses of the HELO name can show a signal that changes the decision."""
    sender: bool
    """Whether the records of the sender's domain can show one."""

    @classmethod
    def after(cls, signals: Collection[str], *, claims_own_domain: bool) -> NeededQuestions:
        """Return the queries that are needed after the signals that need none.

        Args:
            signals: the signals that the client shows, as far as ``--signals`` names them.
            claims_own_domain: whether the HELO name claims a domain of this site, which is a strong
                signal unless it resolves to the client.
        """
        if not _STRONG_SIGNALS.isdisjoint(signals):
            return cls(helo=False, sender=False)
        return cls(helo=claims_own_domain or len(signals) < 2, sender=True)


def needs_voucher(evidence: Evidence) -> bool:
    """Whether a DNS whitelist that vouches for the client can change the decision."""
    return (
        len(evidence.signals) == 1
        and not evidence.has_strong_signal
        and not (evidence.is_vouched or evidence.listed)
        and not (evidence.unsure or evidence.resolver_off)
    )
