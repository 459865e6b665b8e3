"""Evidence about a client, and the delay that it causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.reasons import Reason


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence about a client from DNS and from the attributes of the request."""

    identity: bytes = b""
    """The domain that the client is proven to send for; empty without proof."""
    way: str = ""
    """The proof of the identity: ``spf`` or ``name``; empty without proof."""
    speaks_for_sender: bool = False
    """Whether the envelope sender belongs to the identity."""
    signals: tuple[str, ...] = ()
    """The client's signs of spam software (``--signals``, ``dnsbl``, ``rhsbl``)."""
    listed: bool = False
    """Whether enough DNS blocklists list the client or its domains."""
    unsure: bool = False
    """Whether a query failed or was not answered by the deadline."""
    delay_seconds: int | None = None
    """The longest delay that the settings define for a blocklist that lists the client, or None."""
    exemption: Reason | None = None
    """The reason why the request passes without greylisting, or None."""

    @property
    def is_clean(self) -> bool:
        """Whether the evidence is complete, and has no signal and no listing."""
        return not (self.signals or self.listed or self.unsure)


NO_EVIDENCE = Evidence()


def delay_for(evidence: Evidence, settings: Settings) -> int:
    """Return the delay of an unknown triplet in seconds.

    It is the blocklist's delay, or that of ``--delays`` for the evidence (clean, unsure,
    suspicious or listed), or ``--delay``.
    """
    if evidence.delay_seconds is not None:
        return evidence.delay_seconds
    if not settings.delays:
        return settings.delay_seconds
    clean, unsure, suspicious, listed = settings.delays
    if evidence.listed:
        return listed
    if evidence.signals:
        return suspicious
    return unsure if evidence.unsure else clean
