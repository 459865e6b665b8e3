"""The outcomes of a grid's settings, the frontier of the best ones, and which one to choose.

The rule: choose the least waiting with no more spam and no more lost mail than with today's
settings. A setting is on the frontier if no other one has both less waiting and less spam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.replay.results import WaitStatistics
from greyd.cli.replay.sender_model import LIFE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.cli.replay.results import SimulationResult
    from greyd.cli.tune.grid import GridPoint
    from greyd.cli.tune.grid_replay import GridResult

RULE = "the least waiting with no more spam let in and no more mail lost than today"

MIN_GAIN = 0.01
"""The share of today's waiting that a change must save to be worth it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one combination of settings treated the mail of the log."""

    point: GridPoint
    at_once: int
    waited: int
    lost: int
    kept_out: int
    let_in: int
    wait_seconds: int
    """The total wait of the mail that passed after a wait."""
    median_seconds: int | None

    @classmethod
    def of(cls, point: GridPoint, result: GridResult | SimulationResult) -> Outcome:
        """Return the outcome of a simulation's result."""
        waits = WaitStatistics.of(result.waits)
        passed = sum(result.waits.values()) if isinstance(result.waits, dict) else None
        return cls(
            point,
            result.at_once,
            len(result.waits) if passed is None else passed,
            result.lost,
            result.kept_out,
            result.let_in,
            waits.total if waits else 0,
            waits.p50 if waits else None,
        )

    @property
    def passed(self) -> int:
        """The number of mails that passed in reality."""
        return self.at_once + self.waited + self.lost

    @property
    def delayed_share(self) -> float:
        """The share of the mail that passed in reality, and waits or is lost here."""
        return (self.waited + self.lost) / self.passed if self.passed else 0.0

    @property
    def cost_seconds(self) -> int:
        """The total wait; a lost mail counts as long as its sender retries."""
        return self.wait_seconds + self.lost * LIFE_SECONDS

    @property
    def order(self) -> tuple[int, int, int]:
        """A sort key, the best first: less waiting, then less spam, then fewer changes."""
        return self.cost_seconds, self.let_in, len(self.point.changes)


def frontier(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Return the outcomes that no other one beats, the least waiting first.

    Of equal outcomes it contains the one with the fewest changes.
    """
    found: list[Outcome] = []
    for each in sorted(outcomes, key=lambda each: each.order):
        if not found or each.let_in < found[-1].let_in:
            found.append(each)
    return found


def choose(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome to prefer to the first, today's; None if today's settings are as good."""
    today = outcomes[0]
    good = [each for each in outcomes if each.let_in <= today.let_in and each.lost <= today.lost]
    best = min(good, key=lambda each: each.order)
    if best.cost_seconds > (1 - MIN_GAIN) * today.cost_seconds:
        return None
    return best if best.point.changes else None
