"""The complete result of ``greyd tune``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.tune.outcome import choose, frontier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.replay.summary import ReplaySummary
    from greyd.cli.tune.grid import GridPoint
    from greyd.cli.tune.outcome import Outcome
    from greyd.cli.tune.parts import PartResult


@dataclass(frozen=True, slots=True)
class Tuning:
    """The outcomes of all settings, the best of them, and the chosen one."""

    replay: ReplaySummary
    outcomes: Sequence[Outcome]
    """All outcomes, today's first."""
    best: Sequence[Outcome]
    """The frontier, the least waiting first."""
    chosen: Outcome | None
    """The outcome to prefer to today's; None if today's settings are as good."""

    @classmethod
    def of(cls, points: Sequence[GridPoint], results: Sequence[PartResult]) -> Tuning:
        """Return the result of the simulation of all points, today's settings first."""
        by_point = {
            id(each.point): each for result in reversed(results) for each in result.outcomes
        }
        outcomes = [by_point[id(each)] for each in points]
        return cls(results[0].summary, outcomes, frontier(outcomes), choose(outcomes))
