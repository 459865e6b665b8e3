"""The configurations under test, and what they are meant to reach."""

from __future__ import annotations

from dataclasses import dataclass

from tests.outcome.figures import Figures


@dataclass(frozen=True, slots=True)
class Configuration:
    """A set of options of ``greyd serve``."""

    name: str
    options: tuple[str, ...]
    targets: Figures
    """Ratios to postgrey's figures that it should not exceed."""
    has_faults: bool = False
    """Whether the DNS is out of order for some days."""
    max_bots_let_in: float | None = None
    """The share of bots' mails to let in at most; replaces the target of ``bots_let_in``."""


BASELINE = Configuration("off", (), Figures(1.0, 1.0, 1.0, 1.0, 1.0))
"""Everything off, which is postgrey's behaviour."""

PRESET_NAME = "preset"

_IDENTITY = ("--identity=spf,name",)
_PRESET = ("--preset=recommended",)

CONFIGURATIONS = (
    BASELINE,
    Configuration("identity", _IDENTITY, Figures(0.60, 0.40, 0.95, 1.01, 1.10)),
    Configuration(
        "identity-awl",
        (*_IDENTITY, "--auto-whitelist-identities=3"),
        Figures(0.33, 0.21, 0.90, 1.01, 1.10),
    ),
    Configuration(
        PRESET_NAME, _PRESET, Figures(0.06, 0.04, 0.08, 1.00, float("nan")), max_bots_let_in=0.022
    ),
    Configuration(
        "preset-faults",
        _PRESET,
        Figures(0.08, 0.06, 0.10, 1.00, float("nan")),
        has_faults=True,
        max_bots_let_in=0.023,
    ),
)
