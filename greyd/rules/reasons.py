"""The actions and reasons that a request can end with."""

from __future__ import annotations

PASS = "pass"  # noqa: S105 - what is done with mail
GREYLIST = "greylist"

OUTCOMES: tuple[tuple[str, str], ...] = (
    (GREYLIST, "new"),
    (GREYLIST, "early-retry"),
    (GREYLIST, "store unavailable"),
    (PASS, "triplet found"),
    (PASS, "client AWL"),
    (PASS, "identity AWL"),
    (PASS, "correspondent"),
    (PASS, "not suspicious"),
    (PASS, "DNS whitelist"),
    (PASS, "outbound"),
    (PASS, "client whitelist"),
    (PASS, "recipient whitelist"),
    (PASS, "authenticated"),
    (PASS, "expected"),
    (PASS, "learning"),
    (PASS, "mode off"),
    (PASS, "missing attribute"),
    (PASS, "client address"),
    (PASS, "store unavailable"),
    (PASS, "internal error"),
)
"""Every action and reason that a request can end with."""
