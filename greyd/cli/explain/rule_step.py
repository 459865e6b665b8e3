"""Describes the step that applies the rules, and computes when a retry would pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.explain.step import ExplainedStep
from greyd.config.durations import format_duration
from greyd.config.vocabulary import DELAYS
from greyd.rules.evidence import delay_for
from greyd.rules.greylist import decide
from greyd.rules.keys import keys_to_read
from greyd.rules.reasons import Reason
from greyd.rules.records import RememberedRecords, Triplet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from greyd.cli.explain.explained_request import ExplainedRequest


def describe_rule(case: ExplainedRequest) -> ExplainedStep:
    """Describe the rule that applies, and the delay."""
    details = [f"the delay is {_delay(case)}"]
    reason = _reason_of_rule(case)
    if reason in _WITHOUT_DELAY:
        details = []
    describe = RULE_TEXTS.get(reason) if reason else None
    text = describe(case) if describe else reason.in_words if reason else ""
    if case.reason is Reason.LEARNING:
        details.append("mode learn: the mail passes nevertheless")
    return ExplainedStep("rule", text, details)


def _reason_of_rule(case: ExplainedRequest) -> Reason | None:
    """Return the reason of the rules, even if mode ``learn`` overrides it."""
    if (decision := case.dry_run.decision) is None:
        return case.reason
    return decision.reason


def _waited(case: ExplainedRequest) -> str:
    decision = case.dry_run.decision
    return format_duration(decision.waited_seconds if decision else 0)


def _missing(case: ExplainedRequest) -> str:
    decision = case.dry_run.decision
    return format_duration(decision.missing_seconds if decision else 0)


def _why_passes(case: ExplainedRequest) -> str:
    key = case.keys.triplet if case.keys else b""
    triplet = Triplet.load(case.value(key) or b"")
    is_released = triplet is not None and triplet.released_at is not None
    return f"{'it was released' if is_released else 'it has waited'}: it passes"


_WITHOUT_DELAY = frozenset({
    Reason.CLIENT_AWL,
    Reason.IDENTITY_AWL,
    Reason.CORRESPONDENT,
    Reason.PASSED_WITHOUT_STORE,
    Reason.DEFERRED_WITHOUT_STORE,
})  # fmt: skip
"""Reasons that do not depend on the delay."""

RULE_TEXTS: Mapping[Reason, Callable[[ExplainedRequest], str]] = {
    Reason.CLIENT_AWL: lambda _: "the client is auto-whitelisted: it passes",
    Reason.IDENTITY_AWL: lambda _: "the identity is auto-whitelisted: it passes",
    Reason.CORRESPONDENT: lambda _: "it is a reply to mail of a local user: it passes",
    Reason.TRIPLET_FOUND: lambda case: f"first seen {_waited(case)} ago, {_why_passes(case)}",
    Reason.EARLY_RETRY: lambda case: f"first seen {_waited(case)} ago: {_missing(case)} too early",
    Reason.NEW: lambda case: f"seen for the first time: it has to wait {_missing(case)}",
    Reason.PASSED_WITHOUT_STORE: lambda _: "without the store, mail passes",
    Reason.DEFERRED_WITHOUT_STORE: (
        lambda _: "without the store, mail is deferred (--on-store-failure)"
    ),
}


def _delay(case: ExplainedRequest) -> str:
    evidence, settings = case.dry_run.evidence, case.settings
    seconds = f"{delay_for(evidence, settings)} s"
    if evidence.delay_seconds is not None:
        return f"{seconds}, as the blocklist says on which the client is"
    option = "--delay"
    if case.applied and case.applied.domain and case.applied.domain.all_delays:
        option = f"--recipient-domain {case.applied.domain.domain}"
    if not settings.delays:
        return f"{seconds} ({option})"
    level = 3 if evidence.listed else 2 if evidence.is_suspicious else 0
    if not level and (evidence.unsure or evidence.resolver_off):
        level = 1
    return f"{seconds}, that of {DELAYS[level]} clients ({option})"


@dataclass(frozen=True, slots=True)
class RetryWindow:
    """When a retry would pass if this attempt were made now: begin and end as Unix times."""

    passes_at: int
    ends_at: int


def retry_window(case: ExplainedRequest) -> RetryWindow | None:
    """Return when a retry would pass; None if this attempt passes or the answer is unknown."""
    dry_run, settings, keys = case.dry_run, case.settings, case.keys
    decision = dry_run.decision
    if decision is None or decision.passes or case.reason is Reason.LEARNING or keys is None:
        return None
    after = {change.key: change.value for change in dry_run.changes}
    wanted = keys_to_read(keys, settings)
    values = [after.get(key) or case.value(key) for key in wanted]
    remembered = RememberedRecords.under(wanted, values)
    passes_at = dry_run.now + decision.missing_seconds
    then, _ = decide(keys, remembered, passes_at, settings, dry_run.evidence)
    if not then.passes:
        return None
    ends_at = dry_run.now - decision.waited_seconds + settings.retry_window_seconds
    return RetryWindow(passes_at, ends_at)
