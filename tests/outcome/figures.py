"""The figures of a run, their ratios to postgrey's, and the targets."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.outcome.parameters import BOTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.outcome.simulation import KindOutcome, Outcome


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run did to good and bad mail, in absolute numbers."""

    good_delayed: float
    """Good mails whose first attempt was deferred, as a share of all good mail."""
    mean_delay_seconds: float
    """Of all good mail that was delivered."""
    codes_lost: float
    """One-time codes that came too late or never, as a share of all codes."""
    spam_let_in: float
    """Bad mails delivered, as a share of all bad mail."""
    bots_let_in: float
    """Mails of bots delivered, as a share of all mails of bots."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A configuration's figures, and their ratios to postgrey's: means over the seeds."""

    figures: Figures
    ratios: Figures
    min_ratios: Figures
    """Of all seeds, the smallest and the largest ratios."""
    max_ratios: Figures


def figures_of(outcome: Outcome) -> Figures:
    """Return the figures of a run."""
    good = [each for each in outcome.kinds.values() if each.is_good]
    bad = [each for each in outcome.kinds.values() if not each.is_good]
    bots = [each for kind, each in outcome.kinds.items() if kind in BOTS]
    return Figures(
        good_delayed=_share(good, "delayed_count", "mail_count"),
        mean_delay_seconds=_share(good, "delay_seconds", "delivered_count"),
        codes_lost=_share(good, "lost_code_count", "code_count"),
        spam_let_in=_share(bad, "delivered_count", "mail_count"),
        bots_let_in=_share(bots, "delivered_count", "mail_count"),
    )


def _share(kinds: Iterable[KindOutcome], part: str, whole: str) -> float:
    pairs = [(getattr(each, part), getattr(each, whole)) for each in kinds]
    total = sum(each[1] for each in pairs)
    return float(sum(each[0] for each in pairs) / total) if total else 0.0


def compare(runs: Sequence[Figures], baselines: Sequence[Figures]) -> Comparison:
    """Compare a configuration's runs with postgrey's runs of the same seeds."""
    ratios = [
        Figures(**{name: _ratio(value, asdict(base)[name]) for name, value in asdict(run).items()})
        for run, base in zip(runs, baselines, strict=True)
    ]
    fmean = statistics.fmean
    return Comparison(
        _combine(fmean, runs), _combine(fmean, ratios), _combine(min, ratios), _combine(max, ratios)
    )


def _ratio(value: float, base: float) -> float:
    return value / base if base else float("nan")


def _combine(function: Callable[[list[float]], float], figures: Sequence[Figures]) -> Figures:
    return Figures(
        **{name: function([getattr(each, name) for each in figures]) for name in Figures.__slots__}
    )
