"""Prints an explained request: the steps, the verdict, and what would make the mail pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.remedies import describe_remedies
from greyd.cli.explain.rule_step import retry_window
from greyd.cli.explain.steps import describe_steps
from greyd.config.durations import format_duration
from greyd.escaping import printable, printable_text
from greyd.rules.reasons import PASS
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from greyd.cli.context import CommandContext
    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.cli.explain.rule_step import RetryWindow
    from greyd.maillog.decisions import LoggedDecision
    from greyd.rules.reasons import Reason


def print_explanation(context: CommandContext, case: ExplainedRequest) -> None:
    """Print an explained request, as text or JSON."""
    steps = describe_steps(case)
    dry_run, window = case.dry_run, retry_window(case)
    is_decided = not (case.is_undecided or case.alternatives)
    reply = dry_run.reply if is_decided else None
    context.print_table(
        ("step", "", "result"),
        [
            (step.name, "decides" if step.decides else "", "\n".join([step.text, *step.lines()]))
            for step in steps
        ],
    )
    context.print("", f"Verdict: {_verdict(case, window)}.")
    for each in case.alternatives:
        context.print(f"  {each.assumption}: {_in_words(each.reason, each.detail)}")
    if reply is not None:
        context.print(f"Reply to Postfix: {printable(reply)}")
    if case.logged is not None:
        context.print(f"Then: {_logged_in_words(case.logged)}.")
    remedies = describe_remedies(case)
    if remedies:
        context.print("", "It would pass at once with any of these:")
        context.print(*(f"  {each}" for each in remedies))
    context.print_json(
        {
            "request": {
                name: value.decode(errors="backslashreplace")
                for name, value in case.request._asdict().items()
                if value is not None
            },
            "now": dry_run.now,
            "steps": [step.as_json() for step in steps],
            "verdict": {
                "action": case.reason.action if case.reason and is_decided else None,
                "reason": case.reason.text if case.reason and is_decided else None,
                "detail": dry_run.detail.strip(" ()"),
                "reply": None if reply is None else reply.decode(errors="backslashreplace"),
                "passes_at": window and window.passes_at,
                "passes_until": window and window.ends_at,
                "depends_on": list(case.missing) if case.alternatives else [],
                "alternatives": [each.as_json() for each in case.alternatives],
                "would_pass_with": remedies,
            },
            "logged": case.logged and _logged_as_json(case.logged),
        }
    )


def _verdict(case: ExplainedRequest, window: RetryWindow | None) -> str:
    dry_run = case.dry_run
    if case.is_undecided:
        return "it depends on what the server's store remembers"
    if case.reason is None:
        return "no answer"
    if case.alternatives:
        return f"it depends on attributes that the input lacks ({', '.join(case.missing)})"
    answer = _in_words(case.reason, dry_run.detail)
    if window is None:
        return answer
    wait = format_duration(window.passes_at - dry_run.now)
    return (
        f"{answer}. A retry passes from {format_timestamp(window.passes_at)}"
        f" (in {wait}) until {format_timestamp(window.ends_at)}"
    )


def _in_words(reason: Reason, detail: str) -> str:
    verb = "pass at once" if reason.action == PASS else "be deferred"
    return f"it would {verb}: {reason.text}{detail}"


def _logged_in_words(logged: LoggedDecision) -> str:
    """Return the answer that the server gave then, with the evidence that it logged."""
    verb = "passed" if logged.action == PASS else "deferred"
    detail = f" ({logged.detail})" if logged.detail else ""
    more = [
        f"{name}={value.decode(errors='replace')}"
        for name, value in _logged_evidence(logged).items()
        if value
    ]
    return printable_text(
        f"the server {verb} it: {logged.reason}{detail}{'; ' if more else ''}{', '.join(more)}"
    )


def _logged_evidence(logged: LoggedDecision) -> dict[str, bytes]:
    return {
        "identity": logged.identity, "other_identities": logged.other_identities,
        "signals": logged.signals, "dns": logged.dns, "dns_off": logged.dns_off,
    }  # fmt: skip


def _logged_as_json(logged: LoggedDecision) -> dict[str, object]:
    evidence = _logged_evidence(logged).items()
    return {
        "action": logged.action,
        "reason": logged.reason,
        "detail": logged.detail,
        **{name: value.decode(errors="replace") or None for name, value in evidence},
    }
