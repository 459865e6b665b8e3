"""Checks the submission services: they bypass greyd, or let it learn from outgoing mail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, hint, ok, warning
from greyd.doctor.postfix.policy_service import context_of
from greyd.doctor.postfix.restrictions import PolicyCall, reachable_count
from greyd.doctor.postfix.smtpd import InboundService, is_submission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.postconf import PostfixConfig


# Own users ----------------------------------------------------------------------------------------


def findings_of_submission(
    postfix: PostfixConfig, listeners: Sequence[Listener], settings: Settings
) -> list[Finding]:
    """Judge the services for own users: whether greyd keeps out, or learns as it is to."""
    services = [each for each in postfix.services if is_submission(postfix, each)]
    check = "postfix: submission"
    if not services:
        if settings.learn_outbound:
            return [hint(check, "no service for own users: --learn-outbound learns nothing")]
        return []
    return [
        _finding_of_submission(
            f"{check} ({service.name})",
            InboundService(postfix, service, listeners, settings.learn_outbound),
        )
        for service in services
    ]


def _finding_of_submission(check: str, door: InboundService) -> Finding:
    asked = [call for call in door.calls if _is_asked_of_users(door, call)]
    outbound = [call for call in asked if context_of(door, call) == "outbound"]
    if door.learn_outbound and not outbound:
        late = any(context_of(door, call) == "outbound" for call in door.calls)
        return warning(
            check,
            "greyd is asked only after permit_sasl_authenticated, so it learns nothing"
            if late
            else "greyd is not asked with policy_context=outbound, so it learns nothing",
            "greyd postfix-config (the lines for submission)",
        )
    if outbound and not door.learn_outbound:
        return hint(
            check,
            "greyd is asked with policy_context=outbound, and --learn-outbound is off",
            "greyd.toml: learn_outbound = true (with identity); or do not ask greyd here",
        )
    greylisting = [call for call in asked if call not in outbound]
    if greylisting:
        return hint(
            check,
            "greyd is asked about own users' mail, and lets pass who has logged in",
            "master.cf: -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject",
        )
    return ok(check, "greyd learns from own users' mail" if outbound else "greyd is not asked")


def _is_asked_of_users(door: InboundService, call: PolicyCall) -> bool:
    listed = door.lists[call.list_name]
    before = listed[: call.place]
    permitted = any(step.name == "permit_sasl_authenticated" for step in before)
    return not permitted and call.place < reachable_count(listed)
