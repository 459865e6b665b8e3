"""Describes the steps about whitelisted senders and about settings of the recipient's domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.exemption_steps import matching_text, not_matching_text
from greyd.cli.explain.step import ExplainedStep
from greyd.cli.site_rules import settings_of_domain
from greyd.escaping import printable
from greyd.whitelist.near_misses.search import near_misses_for_sender

if TYPE_CHECKING:
    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.rules.site_rules.sender_proof import SenderProof


def describe_recipient_domain(case: ExplainedRequest) -> ExplainedStep | None:
    """Describe the settings of the recipient's domain; None if it has none of its own."""
    domain = case.applied.domain if case.applied else None
    if domain is None:
        return None
    text = f"{domain.domain} has its own settings: {', '.join(settings_of_domain(domain))}"
    return ExplainedStep("recipient domain", text, [f"set in {domain.where}"])


def describe_sender_whitelist(case: ExplainedRequest) -> ExplainedStep | None:
    """Describe the entry that matches the sender, and whether it helps; None without such a list.

    An entry helps only if the client is proven to send for the sender's domain.
    """
    if not case.settings.whitelist_senders:
        return None
    sender = case.request.sender or b""
    name = "sender whitelist"
    if not sender.strip(b"<> "):
        return ExplainedStep(name, "a bounce has no sender, so no entry applies")
    entry = case.whitelists.match_sender(sender)
    if entry is None:
        files = case.files.senders
        text = not_matching_text(files, len(case.whitelists.senders), printable(sender))
        return ExplainedStep(name, text, near=near_misses_for_sender(files, sender))
    proof = case.dry_run.sender_proof
    text = f"{matching_text(entry)}{_proof_text(proof)}"
    # A later step shows the queries if there is one that uses the DNS.
    is_last_query = proof is not None and (bool(proof.way) or not case.settings.needs_evidence)
    queries = list(map(str, case.queries)) if is_last_query else []
    return ExplainedStep(name, text, queries, match=entry)


def _proof_text(proof: SenderProof | None) -> str:
    if proof is None:
        return "; what the store remembers is enough, so the sender was not checked"
    if proof.way == "spf":
        return ", and SPF passes the client for the sender's domain: it passes"
    if proof.way == "name":
        return ", and the client's name belongs to the sender's organisation: it passes"
    return f", but does not help: {proof.missing}"
