"""The results of a simulation: per server, per origin of mail, and statistics of waits."""

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
    """How one simulated server treated the mail."""

    def __init__(self) -> None:
        self.reasons: Counter[Reason] = Counter()
        """The number of attempts by reason."""
        self.at_once = 0
        """Mails that passed in reality, and pass here at their first attempt."""
        self.waits: list[int] = []
        """The wait in seconds of each mail that passed in reality, and passes here after a wait."""
        self.lost = 0
        """Mails that passed in reality, but that the sender would give up here."""
        self.kept_out = 0
        """Mails that passed neither in reality nor here."""
        self.let_in = 0
        """Mails that did not pass in reality, but pass here."""
        self.let_in_at_once = 0
        self.let_in_verified = 0
        """Mails let in from clients with a verified name that is not a generic one."""

    @property
    def attempts(self) -> int:
        """The number of requests that the server would have received."""
        return sum(self.reasons.values())


class OriginDifference:
    """The difference that the other settings make to the mail of one origin."""

    __slots__ = ("let_in", "lost", "mails", "waits")

    def __init__(self) -> None:
        self.mails = 0
        self.waits = [0, 0]
        """Total wait of the mail in seconds: with today's settings, and with the others."""
        self.lost = [0, 0]
        self.let_in = [0, 0]

    @property
    def gain(self) -> int:
        """Seconds less that the mail waits; a lost mail counts as ``LIFE_SECONDS``."""
        lost = (self.lost[0] - self.lost[1]) * LIFE_SECONDS
        return lost + self.waits[0] - self.waits[1]

    @property
    def weight(self) -> int:
        """A sort key in seconds: how much the other settings change the result for the sender."""
        return abs(self.gain) + abs(self.let_in[1] - self.let_in[0]) * GIVEN_UP_SECONDS


@dataclass(frozen=True, slots=True)
class WaitStatistics:
    """Statistics of the waits of mail that did not pass at once, in seconds."""

    p50: int
    p90: int
    p99: int
    longest: int
    total: int

    @classmethod
    def of(cls, waits: Iterable[int]) -> WaitStatistics | None:
        """Return the statistics of waits; None if there are no waits."""
        counts = Counter(waits)
        if not counts:
            return None
        found = percentiles(counts, (50, 90, 99))
        total = sum(seconds * count for seconds, count in counts.items())
        return cls(found[50], found[90], found[99], max(counts), total)


@dataclass(frozen=True, slots=True)
class LargestDifferences:
    """The origins with the largest differences, each with its name."""

    gain: Sequence[tuple[bytes, OriginDifference]]
    lose: Sequence[tuple[bytes, OriginDifference]]
    let_in: Sequence[tuple[bytes, OriginDifference]]
    """Origins with mail that passes with the other settings but never came back in reality."""


def largest_differences(
    origins: Iterable[tuple[bytes, OriginDifference]], number: int
) -> LargestDifferences:
    """Return up to ``number`` origins in each list, the largest difference first."""
    everybody = list(origins)
    by_gain = sorted(everybody, key=lambda each: each[1].gain)
    by_spam = sorted(everybody, key=lambda each: each[1].let_in[0] - each[1].let_in[1])
    return LargestDifferences(
        gain=[each for each in by_gain[: -number - 1 : -1] if each[1].gain > 0],
        lose=[each for each in by_gain[:number] if each[1].gain < 0],
        let_in=[each for each in by_spam[:number] if each[1].let_in[1] > each[1].let_in[0]],
    )
