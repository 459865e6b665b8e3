"""Describes the step that collects evidence: identities, signals, DNS lists, and each query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.step import ExplainedStep
from greyd.config.vocabulary import GROUP_WAY, STRONG_SIGNALS
from greyd.escaping import printable
from greyd.rules.client_names.generic_hostnames import generic_reason
from greyd.rules.hostnames import normal_name
from greyd.rules.reasons import GREYLIST, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.cli.explain.explained_request import ExplainedRequest

_MAX_UNANSWERED = 5


def describe_evidence(case: ExplainedRequest) -> ExplainedStep | None:
    """Describe the evidence about the client; None if no option needs any."""
    if not case.dry_run.evidence_collected:
        if case.settings.needs_evidence and case.dry_run.decision is not None:
            return ExplainedStep("evidence", "not needed: known mail passes without a DNS query")
        return None
    text = "; ".join(_findings(case)) or "nothing is known of it"
    return ExplainedStep("evidence", text, [*_notes(case), *map(str, case.queries)])


def _findings(case: ExplainedRequest) -> Iterator[str]:
    evidence = case.dry_run.evidence
    for each in evidence.identities:
        if each.way == GROUP_WAY:
            yield f"belongs to a sender group ({printable(each.organisation)})"
            continue
        own = ", which is the sender's domain" if each.speaks_for_sender else ""
        yield f"sends for {printable(each.organisation)}{own} (by {each.way})"
    if not evidence.identities and case.settings.identity:
        yield _no_identity(case)
    if evidence.signals:
        yield f"signals: {', '.join(map(_signal, evidence.signals))}"
    if evidence.listed:
        yield "listed"
    if evidence.exemption:
        yield f"passes: {evidence.exemption.in_words.removeprefix('passed: ')}"
    if evidence.resolver_off:
        yield "the resolver is out of order, so greyd decides as without DNS"
    elif evidence.unsure:
        yield f"unsure: {_unanswered(case)}"
    if case.reason is Reason.NOT_SUSPICIOUS:
        yield "not suspicious, and only suspicious clients are greylisted (--greylist)"


def _no_identity(case: ExplainedRequest) -> str:
    evidence = case.dry_run.evidence
    if evidence.unsure or evidence.resolver_off:
        return "no identity is known, and DNS did not answer all queries"
    return "no identity: the client sends for nobody verifiably"


def _signal(name: str) -> str:
    return f"{name} ({'strong' if name in STRONG_SIGNALS else 'weak'})"


def _notes(case: ExplainedRequest) -> Iterator[str]:
    """Yield what follows from the signals, and what could not be found out."""
    evidence = case.dry_run.evidence
    if (why := reason_of_generic_name(case)) is not None:
        yield f"generic_name: {why}"
    if evidence.signals and not evidence.has_strong_signal:
        single = len(evidence.signals) == 1
        by = "an SPF pass that proves an identity, or a DNS whitelist"
        if single and evidence.is_vouched:
            yield f"the single weak signal is outweighed by {by}"
        elif single:
            yield f"nothing outweighs the weak signal; {by} would"
        else:
            yield "several weak signals together make a client suspicious"
    for zone in evidence.sources_off:
        yield f"{zone} is out of order: it counts neither for the client nor against it"
    for fault in case.source_faults:
        yield f"{fault.text}; {fault.remedy}"
    if case.settings.list_override and _is_overridden(case):
        yield "--list-override: the blocklists are not queried for this client"
    if _is_undecided_by_source(case):
        yield "without an answer, the client counts as unsure and is greylisted"


def _is_overridden(case: ExplainedRequest) -> bool:
    address, name = case.address, case.request.client_name or b""
    return address is not None and case.whitelists.override.match(name, address) is not None


def _is_undecided_by_source(case: ExplainedRequest) -> bool:
    evidence = case.dry_run.evidence
    is_greylisted = case.reason is not None and case.reason.action == GREYLIST
    is_unsure = evidence.unsure and not evidence.is_suspicious and not evidence.listed
    return is_greylisted and is_unsure and case.settings.greylist == "suspicious"


def reason_of_generic_name(case: ExplainedRequest) -> str | None:
    """Return why the client's name is generic, with the name; None if that is no signal."""
    if case.address is None or "generic_name" not in case.dry_run.evidence.signals:
        return None
    name = normal_name(case.request.client_name)
    if name == b"unknown":
        name = normal_name(case.request.reverse_client_name)
    why = generic_reason(name, case.address)
    return f"{printable(name)} is generic: {why}" if why else None


def _unanswered(case: ExplainedRequest) -> str:
    """Name the unanswered queries, without which it is unknown if the client is suspicious."""
    questions = [each.question for each in case.queries if not each.is_answered]
    if not questions:
        return "not all could be found out"
    more = len(questions) - _MAX_UNANSWERED
    shown = ", ".join(questions[:_MAX_UNANSWERED])
    return f"no answer to {shown}{f' and {more} more queries' if more > 0 else ''}"
