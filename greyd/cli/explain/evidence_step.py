"""Describes the step that queries DNS: identity, signals, blocklists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.step import ExplainedStep
from greyd.config.vocabulary import GROUP_WAY
from greyd.escaping import printable
from greyd.rules.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.cli.explain.explained_request import ExplainedRequest

_MAX_UNANSWERED = 5


def describe_evidence(case: ExplainedRequest) -> ExplainedStep | None:
    """Describe the evidence about the client; None if the decision did not need any."""
    if not case.dry_run.evidence_collected:
        return None
    text = "; ".join(_findings(case)) or "nothing is known of it"
    return ExplainedStep("evidence", text, list(map(str, case.queries)))


def _findings(case: ExplainedRequest) -> Iterator[str]:
    evidence = case.dry_run.evidence
    for each in evidence.identities:
        if each.way == GROUP_WAY:
            yield f"belongs to a sender group ({printable(each.organisation)})"
            continue
        own = ", which is the sender's domain" if each.speaks_for_sender else ""
        yield f"sends for {printable(each.organisation)}{own} (by {each.way})"
    if not evidence.identities and case.settings.identity:
        yield "no identity: the client sends for nobody verifiably"
    if evidence.signals:
        yield f"signals: {', '.join(evidence.signals)}"
    if evidence.listed:
        yield "listed"
    if evidence.exemption:
        yield f"passes: {evidence.exemption.text}"
    if evidence.unsure:
        yield f"unsure: {_unanswered(case)}"
    elif case.reason is Reason.NOT_SUSPICIOUS:
        yield "not suspicious, and only suspicious clients are greylisted (--greylist)"


def _unanswered(case: ExplainedRequest) -> str:
    """Name the unanswered queries, without which it is unknown if the client is suspicious."""
    questions = [each.question for each in case.queries if not each.is_answered]
    if not questions:
        return "not all could be found out"
    more = len(questions) - _MAX_UNANSWERED
    shown = ", ".join(questions[:_MAX_UNANSWERED])
    return f"no answer to {shown}{f' and {more} more queries' if more > 0 else ''}"
