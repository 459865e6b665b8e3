"""Lists what would make a greylisted mail pass at once: at the sender, in DNS, or on this site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.cli.explain.stored_records import client_record, identity_record, needed_age_seconds
from greyd.config.durations import format_duration
from greyd.escaping import printable
from greyd.rules.hostnames import domain_of
from greyd.rules.reasons import GREYLIST, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from greyd.cli.explain.explained_request import ExplainedRequest
    from greyd.rules.evidence import ProvenIdentity


ON_THIS_SITE = "on this site"
"""The beginning of the remedy that ``commands_to_paste`` gives as commands."""


BY_MERIT = "from "
"""The beginning of what auto-whitelists a client or an identity, which helps no mail now."""


def describe_remedies(case: ExplainedRequest) -> list[str]:
    """Return what would make the mail pass at once; empty if it passes or nothing is certain."""
    is_greylisted = case.reason is not None and case.reason.action == GREYLIST
    if not is_greylisted or case.is_undecided or case.alternatives or case.address is None:
        return []
    if case.reason is Reason.DEFERRED_WITHOUT_STORE:
        return ["a store that answers"]
    return [*_remedies_for_signals(case), *_remedies_by_merit(case), *_remedies_here(case)]


# At the sender and in DNS -------------------------------------------------------------------------


def _remedies_for_signals(case: ExplainedRequest) -> Iterator[str]:
    """Yield what has to change so that the client is not suspicious."""
    evidence = case.dry_run.evidence
    if not case.dry_run.evidence_collected or case.settings.greylist != "suspicious":
        return
    needed = [_SIGNAL_REMEDIES[each](case) for each in evidence.signals if each in _SIGNAL_REMEDIES]
    if evidence.listed and not {"dnsbl", "rhsbl"} & set(evidence.signals):
        needed.append(_removal(case))
    if evidence.resolver_off or (evidence.unsure and not evidence.is_suspicious):
        needed.append("answers from DNS in time")
    if needed:
        yield "no sign of spamware: " + "; ".join(dict.fromkeys(needed))
    if evidence.signals and not (evidence.has_strong_signal or evidence.is_vouched):
        if len(evidence.signals) == 1:
            yield f"{_spf(case)}, which outweighs a single weak signal"
        else:
            yield f"{_spf(case)}, and only one of the weak signals"


def _spf(case: ExplainedRequest) -> str:
    sender = case.request.sender or b""
    domain = domain_of(sender) if sender else (case.request.helo_name or b"").lower()
    whose = printable(domain) or "the sender's domain"
    return f"an SPF record of {whose} that names {_address(case)}"


def _address(case: ExplainedRequest) -> str:
    return printable(case.address.text) if case.address else ""


def _host_record(name: bytes | None, case: ExplainedRequest) -> str:
    kind = "A" if case.address and case.address.bits == 32 else "AAAA"
    return f"an {kind} record of {printable(name or b'')} with {_address(case)}"


def _removal(case: ExplainedRequest) -> str:
    """Name the blocklists that list the client, from the recorded queries."""
    zones = [each.name for each in (*case.settings.dnsbl, *case.settings.rhsbl)]
    listing = [
        zone
        for zone in dict.fromkeys(zones)
        if any(
            each.question.endswith(f".{zone}") and each.answer.startswith("127.")
            for each in case.queries
        )
    ]
    return f"removal from {', '.join(listing) or 'the blocklist'}"


def _own_mail(_case: ExplainedRequest) -> str:
    return "a login, or an entry in the client whitelist: the client claims to be this site"


_SIGNAL_REMEDIES: Mapping[str, Callable[[ExplainedRequest], str]] = {
    "no_ptr": lambda case: f"a PTR record of {_address(case)}, whose name resolves to the address",
    "ptr_mismatch": lambda case: _host_record(case.request.reverse_client_name, case),
    "generic_name": lambda case: f"a PTR record of {_address(case)} with a mail server's own name",
    "helo_not_fqdn": lambda _: "a HELO name with a domain, which has an address record",
    "helo_no_address": lambda case: _host_record(case.request.helo_name, case),
    "helo_other_address": lambda case: _host_record(case.request.helo_name, case),
    "helo_wrong_literal": lambda case: f"the HELO name [{_address(case)}], or a host name",
    "helo_private_literal": lambda case: f"the HELO name [{_address(case)}], or a host name",
    "helo_own_domain": _own_mail,
    "sender_own_domain": _own_mail,
    "sender_no_mx": lambda case: (
        f"an MX or address record of {printable(domain_of(case.request.sender or b''))}"
    ),
    "plain_helo": lambda _: "EHLO instead of HELO",
    "spf_fail": _spf,
    "spf_softfail": _spf,
    "dnsbl": _removal,
    "rhsbl": _removal,
}
"""The remedy for each signal."""


# By merit and on this site ------------------------------------------------------------------------


def _remedies_by_merit(case: ExplainedRequest) -> Iterator[str]:
    keys, settings, evidence = case.keys, case.settings, case.dry_run.evidence
    if keys is None:
        return
    if settings.auto_whitelist_clients:
        client = client_record(case, keys.client)
        missing = settings.auto_whitelist_clients - (client.successes if client else 0)
        yield f"{BY_MERIT}{_address(case)}: {_mails(missing, ' after a retry')}"
    if not settings.auto_whitelist_identities or evidence.voids_merit:
        return
    for each, identity in zip(keys.identities, evidence.identities, strict=True):
        yield from _merit_of_identity(case, each.identity, identity)


def _merit_of_identity(
    case: ExplainedRequest, key: bytes, identity: ProvenIdentity
) -> Iterator[str]:
    """Yield what an identity lacks to be auto-whitelisted."""
    record = identity_record(case, key)
    if not identity.can_earn or identity.is_listed or record.is_auto_whitelisted(case.settings):
        return
    lacks = []
    if (missing := case.settings.auto_whitelist_identities - record.successes) > 0:
        lacks.append(_mails(missing))
    age_seconds = record.last_counted - record.first_counted
    if (missing := needed_age_seconds(case, record) - age_seconds) > 0:
        shorter = "" if record.network_count > 1 else ", less from a second network"
        lacks.append(f"passing mail for another {format_duration(missing)}{shorter}")
    if lacks:
        yield f"{BY_MERIT}{printable(identity.organisation)}: {' and '.join(lacks)}"


def _mails(count: int, when: str = "") -> str:
    many = "mails that pass" if count > 1 else "mail that passes"
    return f"{max(count, 1)} more {many}{when} (greyd counts one an hour)"


def _remedies_here(case: ExplainedRequest) -> Iterator[str]:
    recipient = printable(case.request.recipient or b"")
    yield (
        f"{ON_THIS_SITE}: greyd expect {recipient}, greyd release, or an entry for {_address(case)}"
        " in the client whitelist"
    )
