"""Describes what an explanation assumes about a client whose name or address DNS did not give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.escaping import printable
from greyd.rules.control import ExpectedMail
from greyd.rules.reasons import GREYLIST, Reason

if TYPE_CHECKING:
    from greyd.cli.explain.explained_request import ExplainedRequest


def why_unknown(case: ExplainedRequest) -> str:
    """Return why the client's name or address is unknown: DNS did not answer, or was not asked."""
    if case.is_without_dns:
        return "DNS was not asked (--no-dns)"
    if case.name_failures:
        return f"DNS did not answer ({case.name_failures[0].failure})"
    return "DNS has no address for it" if case.host else "it was not looked up"


def depends_on_address(case: ExplainedRequest) -> bool:
    """Whether the decision is unknown because only the client's name is known, not its address."""
    if not case.host:
        return False
    if case.reason is Reason.EXPECTED:
        # SPF may deny the sender of a window for one domain, and needs the address.
        request = case.request
        windows = ExpectedMail(case.dry_run.control.windows, case.settings).windows_for(
            request.sender or b"", request.recipient or b"", case.dry_run.now
        )
        return all(each.sender_domain for each in windows)
    return case.reason is Reason.CLIENT_ADDRESS


def describe_assumption(case: ExplainedRequest) -> str:
    """Return what the verdict assumes, and how to do without it; empty if it assumes nothing."""
    if case.host and not depends_on_address(case):
        name = printable(case.host)
        return f"Assumed: Postfix confirms the client's name {name}; {_why(case)}."
    if not case.is_name_missing or case.alternatives or not _may_a_name_match(case):
        return ""
    return f"The client's name is unknown: {_why(case)}. With it: --client-name=NAME"


def _why(case: ExplainedRequest) -> str:
    """Return the reason without the query, which the first step shows."""
    if case.name_failures and not case.is_without_dns:
        return "DNS did not answer"
    return why_unknown(case)


def _may_a_name_match(case: ExplainedRequest) -> bool:
    is_deferred = case.reason is not None and case.reason.action == GREYLIST
    return (is_deferred or case.is_undecided) and case.whitelists.clients.has_names


def name_notes(case: ExplainedRequest) -> list[str]:
    """Return a line about the client's name if it is unknown or was looked up; else no line."""
    resolved, name = case.resolved_name, (case.request.client_name or b"").lower()
    address = printable(case.request.client_address or b"")
    if case.host:
        return [f"the address of {printable(case.host)} is unknown: {why_unknown(case)}"]
    if resolved is None:
        return _notes_without_answer(case) if name == b"unknown" else []
    names = ", ".join(printable(each) for each in resolved.names)
    if resolved.confirmed and name == b"unknown":
        return [
            "unknown when the mail came, so only the address can match; DNS now confirms the name"
            f" {printable(resolved.confirmed)}"
        ]
    if resolved.confirmed:
        return ["the name was looked up now, as Postfix does; Postfix logs the name that it found"]
    if not names:
        return [f"unknown: {address} has no name in DNS (PTR), so only the address can match"]
    return [
        f"unknown: {address} has the name {names} in DNS, but that name does not resolve back to"
        " it, so only the address can match"
    ]


def _notes_without_answer(case: ExplainedRequest) -> list[str]:
    """Return a line about a client whose name is unknown, and not because it has none."""
    address = printable(case.request.client_address or b"")
    names = ", ".join(map(printable, case.unanswered_names))
    if names:
        found = f"{address} has the name {names} in DNS; whether it resolves back is unknown"
    else:
        found = f"whether {address} has a name is unknown"
    if case.is_name_missing:
        return [f"{found}: {why_unknown(case)}. Only the address is compared"]
    confirmed = "Postfix could not confirm a name (unknown), so only the address can match"
    return [f"{confirmed}; now {found}: {why_unknown(case)}"] if case.name_failures else [confirmed]
