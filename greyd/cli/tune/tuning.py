"""The complete result of ``greyd tune``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.tune.outcome import Outcome, choose, frontier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.replay.mail_replay import MailReplay
    from greyd.cli.replay.results import SimulationResult
    from greyd.cli.tune.grid import GridPoint
    from greyd.cli.tune.grid_replay import GridResult


@dataclass(frozen=True, slots=True)
class Tuning:
    """The outcomes of all settings, the best of them, and the chosen one."""

    replay: MailReplay
    outcomes: Sequence[Outcome]
    """All outcomes, today's first."""
    best: Sequence[Outcome]
    """The frontier, the least waiting first."""
    chosen: Outcome | None
    """The outcome to prefer to today's; None if today's settings are as good."""

    @classmethod
    def of(
        cls,
        replay: MailReplay,
        points: Sequence[GridPoint],
        results: Sequence[GridResult | SimulationResult],
    ) -> Tuning:
        """Return the result of a replay on the settings of a grid."""
        outcomes = [
            Outcome.of(point, result) for point, result in zip(points, results, strict=True)
        ]
        return cls(replay, outcomes, frontier(outcomes), choose(outcomes))
