"""What DNS says about a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.reasons import Reason


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a client besides its triplet, from DNS and Postfix's attributes."""

    identity: bytes = b""
    """The domain that this client verifiably sends for; empty if none is known."""
    way: str = ""
    """What has proved the identity: ``spf`` or ``name``."""
    speaks_for_sender: bool = False
    """The identity is that of the envelope sender."""
    signals: tuple[str, ...] = ()
    """The signs of spamware that it shows."""
    listed: bool = False
    """It is on a DNS blocklist."""
    unsure: bool = False
    """Some answers did not come in time."""
    delay_seconds: int | None = None
    """The delay of the blocklist that it is on, if the list sets one."""
    exemption: Reason | None = None
    """Why it passes whatever else is known."""

    @property
    def is_clean(self) -> bool:
        """Whether all answers came, and none speaks against the client."""
        return not (self.signals or self.listed or self.unsure)


NO_EVIDENCE = Evidence()


def delay_for(evidence: Evidence, settings: Settings) -> int:
    """Return the seconds that an unknown triplet waits: clean, unsure, suspicious, or listed."""
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
