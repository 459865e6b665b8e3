"""The result of a simulation as a JSON document. Its keys are an interface."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from greyd.cli.replay.results import WaitStatistics
from greyd.cli.replay.text import OTHER, TODAY
from greyd.cli.replay.verdict import dns_lines, verdict_lines
from greyd.escaping import printable, printable_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.not_read import NotRead
    from greyd.cli.replay.counting_lookup import DnsCounts
    from greyd.cli.replay.results import LargestDifferences, OriginDifference, SimulationResult
    from greyd.cli.replay.simulation import Simulation
    from greyd.maillog.attempts import AttemptStatistics


def as_json(
    simulation: Simulation,
    statistics: AttemptStatistics,
    not_read: NotRead,
    changes: Sequence[str],
    differences: LargestDifferences,
    dns_counts: Sequence[DnsCounts] = (),
) -> dict[str, Any]:
    """Return the complete result of a simulation as a JSON object."""
    names = [TODAY, OTHER][: len(simulation.results)]
    return {
        "log": {
            "first": simulation.first,
            "last": simulation.last,
            "decisions": statistics.decision_count,
            "attempts_of_postfix": statistics.postfix_attempt_count,
            "undated_lines": statistics.undated_count,
            "attempts": simulation.attempts,
            "mails": simulation.mails,
            "mails_without_end": simulation.open,
            "decisions_compared": simulation.compared,
            "decisions_equal": simulation.agreed,
            "known_before": simulation.known_before,
            "decisions_different": simulation.disagreements.dump(),
            "not_read": not_read.dump(),
        },
        "with": list(changes),
        "verdict": [
            *dns_lines(dns_counts),
            *verdict_lines(simulation.results, list(map(printable_text, changes))),
        ],
        "dns": [asdict(each) for each in dns_counts],
        **{name: _result(each) for name, each in zip(names, simulation.results, strict=True)},
        "senders": {
            "gain": [_origin(*each) for each in differences.gain],
            "lose": [_origin(*each) for each in differences.lose],
            "let_in": [_origin(*each) for each in differences.let_in],
        },
    }


def _result(result: SimulationResult) -> dict[str, Any]:
    waits = WaitStatistics.of(result.waits)
    reasons = sorted(result.reasons.items(), key=lambda each: each[0].outcome)
    return {
        "attempts": result.attempts,
        "came_in": {
            "at_once": result.at_once,
            "waited": len(result.waits),
            "lost": result.lost,
            "wait_seconds": waits and asdict(waits),
        },
        "never_came_back": {
            "kept_out": result.kept_out,
            "let_in": result.let_in,
            "let_in_at_once": result.let_in_at_once,
            "let_in_verified_name": result.let_in_verified,
        },
        "reasons": [
            {"action": reason.action, "reason": reason.text, "attempts": number}
            for reason, number in reasons
        ],
    }


def _origin(name: bytes, origin: OriginDifference) -> dict[str, Any]:
    return {
        "from": printable(name),
        "mails": origin.mails,
        "wait_seconds": dict(zip((TODAY, OTHER), origin.waits, strict=True)),
        "lost": dict(zip((TODAY, OTHER), origin.lost, strict=True)),
        "let_in": dict(zip((TODAY, OTHER), origin.let_in, strict=True)),
    }
