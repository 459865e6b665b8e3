"""Checks that submission services bypass greyd, or call it only to learn from outgoing mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, hint, ok, warning
from greyd.doctor.postfix.config.greylisting_products import greylisting_product, program_of
from greyd.doctor.postfix.config.restrictions import FINAL, reachable_count
from greyd.doctor.postfix.fix.binding import bound
from greyd.doctor.postfix.fix.edits import replaced
from greyd.doctor.postfix.smtpd import CheckedService, is_submission

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.config.postconf import PostfixConfig
    from greyd.doctor.postfix.config.restrictions import PolicyCall


def findings_of_submission(
    postfix: PostfixConfig, listeners: Sequence[Listener], settings: Settings
) -> list[Finding]:
    """Judge the services for the site's own users."""
    services = [each for each in postfix.services if is_submission(postfix, each)]
    check = "postfix: submission"
    if not services:
        if settings.learn_outbound:
            seen = "master.cf has no submission service, so --learn-outbound learns nothing"
            return [hint(check, seen)]
        return []
    made = []
    for each in services:
        service = CheckedService(postfix, each, listeners, settings.learn_outbound)
        name = f"{check} ({each.name})"
        made.append(_finding_of_service(name, service, settings.outbound_senders))
        made += bound(list(_findings_of_others(name, service)), each)
    return made


def _findings_of_others(check: str, service: CheckedService) -> Iterator[Finding]:
    """Find other programs that greylist the site's own users."""
    for call in service.other_calls:
        if not _is_reached_by_users(service, call):
            continue
        program = program_of(service.postfix, call.endpoint)
        if product := greylisting_product(call.endpoint, program):
            yield warning(
                check,
                f"{call.endpoint} in {call.parameter} looks like {product.name}, which may greylist"
                " your own users",
                f"master.cf: -o {call.parameter}=permit_sasl_authenticated,reject",
                replaced(call.parameter, service.lists[call.list_name][call.index])
                if call.parameter in service.service.overrides
                else (),
            )


def _finding_of_service(check: str, service: CheckedService, outbound_senders: str) -> Finding:
    calls = [call for call in service.calls if _is_reached_by_users(service, call)]
    outbound = [call for call in calls if service.context_of(call) == "outbound"]
    if service.learn_outbound and not outbound:
        is_late = any(service.context_of(call) == "outbound" for call in service.calls)
        return warning(
            check,
            "permit_sasl_authenticated precedes the call of greyd, so greyd learns nothing"
            if is_late
            else "no call of greyd with policy_context=outbound, so greyd learns nothing",
            "greyd postfix-config (prints the lines for submission)",
        )
    if outbound and not service.learn_outbound:
        return hint(
            check,
            "calls greyd with policy_context=outbound, but --learn-outbound is off",
            "greyd.toml: learn_outbound = true (with identity); or remove the call here",
        )
    if len(calls) > len(outbound) and service.value("smtpd_sasl_auth_enable").lower() != "yes":
        return warning(
            check,
            "calls greyd but offers no login: greyd can't tell users from strangers, and greylists"
            " users too",
            "master.cf: -o smtpd_sasl_auth_enable=yes, or a recipient list without the call",
        )
    if len(calls) > len(outbound):
        return hint(
            check,
            "calls greyd about own users' mail, which always passes",
            "master.cf: -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject",
        )
    if not outbound:
        return ok(check, "does not call greyd")
    if outbound_senders == "any" and not _compares_logins(service, outbound[0]):
        return warning(
            check,
            "with --outbound-senders=any and without reject_sender_login_mismatch, one stolen login"
            " makes greyd pass replies to every user",
            'greyd.toml: outbound_senders = "own"; or main.cf: reject_sender_login_mismatch before'
            " the call",
        )
    return ok(check, "greyd learns from own users' mail")


_COMPARING = frozenset({
    "reject_sender_login_mismatch",
    "reject_authenticated_sender_login_mismatch",
})  # fmt: skip
"""The restrictions that compare the sender of every user with the login."""


def _compares_logins(service: CheckedService, call: PolicyCall) -> bool:
    """Whether Postfix rejects senders that are not of the login before it calls greyd."""
    for name, restrictions in service.lists.items():
        is_last = name == call.list_name
        for each in restrictions[: call.index if is_last else None]:
            if each.name in _COMPARING and each.rejects:
                return True
            if each.name == "permit_sasl_authenticated" or each.name in FINAL:
                break
        if is_last:
            break
    return False


def _is_reached_by_users(service: CheckedService, call: PolicyCall) -> bool:
    restrictions = service.lists[call.list_name]
    before = restrictions[: call.index]
    is_permitted = any(each.name == "permit_sasl_authenticated" for each in before)
    return not is_permitted and call.index < reachable_count(restrictions)
