"""What DNS says about a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.config.settings import Settings
    from greyd.rules.reasons import Reason


# Decisions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of who asks beside the request's triplet: by DNS, and by what Postfix knows."""

    identity: bytes = b""
    """The domain that this client verifiably sends for; empty where none is known."""
    way: str = ""
    """How that is known: ``spf`` or ``name``."""
    speaks_for_sender: bool = False
    """The identity is that of the envelope sender."""
    signals: tuple[str, ...] = ()
    """Marks of spamware that it shows."""
    listed: bool = False
    """It stands on a DNS blocklist."""
    unsure: bool = False
    """Some of it could not be found out in time."""
    delay_seconds: int | None = None
    """Of the list that it stands on, where the list has a delay of its own."""
    exemption: Reason | None = None
    """Why it passes whatever else is known."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing speaks against it, for sure."""
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
