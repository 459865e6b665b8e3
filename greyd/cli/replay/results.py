"""What the simulated servers have done with a log's mail."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.replay.sender_model import GIVEN_UP_SECONDS, LIFE_SECONDS
from greyd.monitoring.percentiles import percentiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.rules.reasons import Reason


class SimulationResult:
    """What one simulated server would have done."""

    def __init__(self) -> None:
        self.reasons: Counter[Reason] = Counter()
        """Attempts by reason."""
        self.at_once = 0
        """Mails that passed in reality, and would have passed without waiting."""
        self.waits: list[int] = []
        """Seconds that the other mails would have waited that passed in reality."""
        self.lost = 0
        """Mails that passed in reality, and that the sender would have given up."""
        self.kept_out = 0
        """Mails that passed neither in reality nor here."""
        self.let_in = 0
        """Mails that did not pass in reality, and would have passed here."""
        self.let_in_at_once = 0

    @property
    def attempts(self) -> int:
        """The number of requests it would have got."""
        return sum(self.reasons.values())


class OriginDifference:
    """What an origin's mail gains or loses by the other settings."""

    __slots__ = ("let_in", "lost", "mails", "waits")

    def __init__(self) -> None:
        self.mails = 0
        self.waits = [0, 0]
        """Total seconds that its mail waited, today and with the other settings."""
        self.lost = [0, 0]
        self.let_in = [0, 0]

    @property
    def gain(self) -> int:
        """Seconds that its mail gains; a lost mail counts as ``LIFE_SECONDS``."""
        lost = (self.lost[0] - self.lost[1]) * LIFE_SECONDS
        return lost + self.waits[0] - self.waits[1]

    @property
    def weight(self) -> int:
        """How large the difference is."""
        return abs(self.gain) + abs(self.let_in[1] - self.let_in[0]) * GIVEN_UP_SECONDS


@dataclass(frozen=True, slots=True)
class WaitStatistics:
    """How long mail waited that had to, in seconds."""

    p50: int
    p90: int
    p99: int
    longest: int
    total: int

    @classmethod
    def of(cls, waits: Iterable[int]) -> WaitStatistics | None:
        """Return the statistics of waits; None without any."""
        counts = Counter(waits)
        if not counts:
            return None
        found = percentiles(counts, (50, 90, 99))
        total = sum(seconds * count for seconds, count in counts.items())
        return cls(found[50], found[90], found[99], max(counts), total)


@dataclass(frozen=True, slots=True)
class LargestDifferences:
    """The origins whose mail differs most, by name."""

    gain: Sequence[tuple[bytes, OriginDifference]]
    lose: Sequence[tuple[bytes, OriginDifference]]
    let_in: Sequence[tuple[bytes, OriginDifference]]
    """Origins whose mail passes with the other settings, and never came back in reality."""


def largest_differences(
    origins: Iterable[tuple[bytes, OriginDifference]], number: int
) -> LargestDifferences:
    """Return up to ``number`` origins of each kind, the largest difference first."""
    everybody = list(origins)
    by_gain = sorted(everybody, key=lambda each: each[1].gain)
    by_spam = sorted(everybody, key=lambda each: each[1].let_in[0] - each[1].let_in[1])
    return LargestDifferences(
        gain=[each for each in by_gain[: -number - 1 : -1] if each[1].gain > 0],
        lose=[each for each in by_gain[:number] if each[1].gain < 0],
        let_in=[each for each in by_spam[:number] if each[1].let_in[1] > each[1].let_in[0]],
    )
