"""Evidence about a client, and the delay that it causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.config.vocabulary import STRONG_SIGNALS

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.reasons import Reason

_STRONG_SIGNALS = frozenset(STRONG_SIGNALS)


@dataclass(frozen=True, slots=True)
class ProvenIdentity:
    """An organisation that a client is proven to send for."""

    organisation: bytes
    """The registered domain: of the domain that SPF proves, or of the client's confirmed name."""
    way: str
    """The proof: ``spf`` or ``name``; ``group`` for a sender group."""
    speaks_for_sender: bool
    """Whether the domain of the envelope sender belongs to the organisation."""
    is_listed: bool = False
    """Whether DNS blocklists of domains list the organisation's domain itself."""
    may_be_customer: bool = False
    """Whether the client may be a customer's machine with a name in the organisation's domain."""
    may_earn: bool = True
    """False for the clients of ``--never-auto-whitelist``."""

    @property
    def can_earn(self) -> bool:
        """Whether retries count towards the identity's auto-whitelisting.

        All customers of a hosting provider have confirmed names of the provider, and some have SPF
        records for these names. So a machine that may be a customer's earns nothing, and a name
        counts only for senders of the same organisation. A sender group may be such a provider, so
        it earns nothing.
        """
        is_organisation = self.way == "spf" or self.speaks_for_sender
        return self.may_earn and is_organisation and not self.may_be_customer


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence about a client from DNS and from the attributes of the request."""

    identities: tuple[ProvenIdentity, ...] = ()
    """The different organisations that the client is proven to send for, at most one for each way
    of ``--identity``, in its order.
    """
    signals: tuple[str, ...] = ()
    """The client's signs of spam software (``--signals``), strong and weak ones."""
    is_vouched: bool = False
    """Whether an SPF pass that proves an identity, or a DNS whitelist, outweighs a weak signal."""
    listed: bool = False
    """Whether enough DNS blocklists list the client or its domains."""
    unsure: bool = False
    """Whether the client's own answers came too late, while the resolver works."""
    resolver_off: bool = False
    """Whether the resolver is out of order, so that there is no evidence from DNS."""
    sources_off: tuple[str, ...] = ()
    """The zones of the DNS lists that are out of order, and therefore were not queried."""
    delay_seconds: int | None = None
    """The longest delay that the settings define for a blocklist that lists the client, or None."""
    exemption: Reason | None = None
    """The reason why the request passes without greylisting, or None."""

    @property
    def identity(self) -> bytes:
        """The organisation of the first identity; empty without one."""
        return self.identities[0].organisation if self.identities else b""

    @property
    def way(self) -> str:
        """The proof of the first identity; empty without one."""
        return self.identities[0].way if self.identities else ""

    @property
    def has_strong_signal(self) -> bool:
        """Whether the client shows a signal that makes it suspicious without any other."""
        return not _STRONG_SIGNALS.isdisjoint(self.signals)

    @property
    def is_suspicious(self) -> bool:
        """Whether the client shows a strong signal, two weak ones, or one that nothing outweighs.

        An SPF pass that proves an identity, or a DNS whitelist, outweighs a single weak signal.
        """
        if not self.signals:
            return False
        return self.has_strong_signal or len(self.signals) > 1 or not self.is_vouched

    @property
    def voids_merit(self) -> bool:
        """Whether the client neither earns anything for its identities nor gets what they earned.

        That is a client on a blocklist, or one that shows a strong signal or two weak ones.
        Spammers list their bots in SPF records, so a proof of identity does not outweigh these.
        """
        return self.listed or self.has_strong_signal or len(self.signals) > 1

    @property
    def is_clean(self) -> bool:
        """Whether the evidence is complete and shows nothing against the client."""
        return not (self.listed or self.unsure or self.resolver_off or self.is_suspicious)


NO_EVIDENCE = Evidence()


def delay_for(evidence: Evidence, settings: Settings) -> int:
    """Return the delay of an unknown triplet in seconds.

    It is the blocklist's delay, or that of ``--delay`` for the evidence (clean, unsure, suspicious
    or listed), or the only one of ``--delay``.
    """
    if evidence.delay_seconds is not None:
        return evidence.delay_seconds
    if not settings.delays:
        return settings.delay_seconds
    clean, unsure, suspicious, listed = settings.delays
    if evidence.listed:
        return listed
    if evidence.is_suspicious:
        return suspicious
    return unsure if evidence.unsure or evidence.resolver_off else clean
