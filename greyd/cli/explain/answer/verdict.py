"""The verdict on a request in one sentence: what happens to it now, why, and when it will pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.assumption import depends_on_address, why_unknown
from greyd.config.durations import format_duration
from greyd.escaping import printable
from greyd.rules.reasons import PASS, Reason
from greyd.rules.records import Triplet
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.cli.explain.rule_step import RetryWindow
    from greyd.cli.explain.step import ExplainedStep


def verdict_sentence(
    case: ExplainedRequest, steps: Sequence[ExplainedStep], window: RetryWindow | None
) -> str:
    """Return what happens to the mail now, with the reason, and when a retry passes."""
    if depends_on_address(case):
        name = printable(case.host)
        return f"Unknown: it depends on the address of {name}, and {why_unknown(case)}."
    if case.is_undecided:
        return "Unknown: it depends on the server's store, which can't be read."
    if case.reason is None:
        return "Not answered: greyd does not decide on requests of this kind."
    if case.alternatives:
        return f"It depends on attributes that the input lacks ({', '.join(case.missing)}):"
    outcome = "Passes now" if case.reason.action == PASS else "Deferred now"
    why = _why(case, steps)
    sentence = f"{outcome} ({case.reason.text}): {why}"
    if window is None:
        return f"{sentence}."
    wait = format_duration(window.passes_at - case.dry_run.now)
    return (
        f"{sentence}; a retry passes from {format_timestamp(window.passes_at)} (in {wait})"
        f" until {format_timestamp(window.ends_at)}."
    )


def _has_one_attempt(case: ExplainedRequest) -> bool:
    """Whether the store has a single attempt of the mail: nobody has retried too early."""
    value = case.value(case.keys.triplet) if case.keys else None
    triplet = Triplet.load(value) if value is not None else None
    return triplet is not None and triplet.first_seen == triplet.last_seen


def _why(case: ExplainedRequest, steps: Sequence[ExplainedStep]) -> str:
    reason = case.reason
    if reason is Reason.NEW:
        return "first contact of this client, sender and recipient"
    if reason is Reason.EARLY_RETRY and (decision := case.dry_run.decision) is not None:
        waited = format_duration(decision.waited_seconds)
        if _has_one_attempt(case):
            return f"one attempt so far, {waited} ago"
        return f"first seen {waited} ago, {format_duration(decision.missing_seconds)} too early"
    deciding = next((each for each in steps if each.decides), None)
    if deciding is not None and deciding.match is not None:
        return deciding.text
    if reason is Reason.TRIPLET_FOUND and deciding is not None:
        return deciding.text.removesuffix(": it passes")
    return reason.in_words.partition(": ")[2] if reason else ""
