"""The result of ``greyd tune`` as a JSON document. Its keys are an interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greyd.cli.tune.outcome import RULE

if TYPE_CHECKING:
    from greyd.cli.not_read import NotRead
    from greyd.cli.tune.outcome import Outcome
    from greyd.cli.tune.tuning import Tuning


def as_json(tuning: Tuning, not_read: NotRead) -> dict[str, Any]:
    """Return the result as a JSON object."""
    replay = tuning.replay
    best = {id(each) for each in tuning.best}
    return {
        "log": {
            "first": replay.first,
            "last": replay.last,
            "attempts": replay.attempts,
            "mails": replay.mails,
            "mails_without_end": replay.open,
            "decisions_compared": replay.compared,
            "decisions_equal": replay.agreed,
            "not_read": not_read.dump(),
        },
        "rule": RULE,
        "set": tuning.chosen and _outcome(tuning.chosen, is_best=id(tuning.chosen) in best),
        "settings": [_outcome(each, is_best=id(each) in best) for each in tuning.outcomes],
    }


def _outcome(outcome: Outcome, *, is_best: bool) -> dict[str, Any]:
    return {
        "with": [str(each) for each in outcome.point.changes],
        "options": outcome.point.options,
        "frontier": is_best,
        "came_in": {
            "at_once": outcome.at_once,
            "waited": outcome.waited,
            "lost": outcome.lost,
            "delayed_share": round(outcome.delayed_share, 6),
            "wait_seconds": {"p50": outcome.median_seconds, "total": outcome.wait_seconds},
        },
        "never_came_back": {"kept_out": outcome.kept_out, "let_in": outcome.let_in},
    }
