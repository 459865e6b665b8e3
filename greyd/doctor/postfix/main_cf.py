"""Whether Postfix asks the server, at the right place and with sane settings.

All here is pure: a ``Postfix`` goes in, findings come out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.postfix.order import findings_of_order
from greyd.doctor.postfix.policy_service import (
    finding_of_call,
    finding_of_context,
    finding_of_default_action,
    finding_of_delay_reject,
    finding_of_position,
    finding_of_relaying,
    finding_of_timeout,
    findings_of_connections,
    findings_of_others,
    findings_of_permits,
)
from greyd.doctor.postfix.restrictions import has_open_brace
from greyd.doctor.postfix.smtpd import InboundService, inbound_services
from greyd.doctor.postfix.submission import findings_of_submission
from greyd.doctor.postfix.tips import findings_of_tips

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.postconf import PostfixConfig


# All of it ----------------------------------------------------------------------------------------


def check_main_cf(
    postfix: PostfixConfig, listeners: Sequence[Listener], settings: Settings
) -> list[Finding]:
    """Judge a Postfix's configuration."""
    return [
        *_findings_of_files(postfix),
        *_findings_of_inbound_services(postfix, listeners),
        *findings_of_submission(postfix, listeners, settings),
        *_findings_of_postscreen(postfix),
    ]


def _findings_of_files(postfix: PostfixConfig) -> list[Finding]:
    """Say what postconf itself remarks: a misspelt class or parameter is one of these."""
    check = "postfix: files"
    if postfix.remarks:
        return [hint(check, "; ".join(postfix.remarks), "postconf -n (shows the same)")]
    version = postfix.parameters.get("mail_version", "")
    return [ok(check, f"postconf has nothing to remark; Postfix {version}")]


def _findings_of_inbound_services(
    postfix: PostfixConfig, listeners: Sequence[Listener]
) -> list[Finding]:
    services = inbound_services(postfix)
    if not services:
        return [
            not_checked("postfix: policy service", "master.cf has no smtpd for mail of strangers")
        ]
    found = {
        service.name: findings_of_inbound_service(InboundService(postfix, service, listeners))
        for service in services
    }
    merged: list[Finding] = []
    for name, each in found.items():
        for finding in each:
            if all(finding in others for others in found.values()):
                merged += [finding] if finding not in merged else []
            else:
                merged.append(finding._replace(check=f"{finding.check} ({name})"))
    return merged


def findings_of_inbound_service(door: InboundService) -> list[Finding]:
    """Judge one service that takes mail of strangers."""
    made = [*_findings_of_unknown_words(door), finding_of_call(door)]
    if door.calls:
        call = door.calls[0]
        made += [
            finding_of_position(door, call),
            finding_of_relaying(door, call),
            *findings_of_permits(door, call),
            finding_of_timeout(door, call),
            finding_of_default_action(door, call),
            finding_of_context(door, call),
            finding_of_delay_reject(door, call),
            *findings_of_connections(door),
        ]
    made += findings_of_others(door)
    made += findings_of_tips(door.lists, greylists=bool(door.calls), value=door.value)
    made += findings_of_order(door.lists, door.calls[0] if door.calls else None, door.value)
    return made


def _findings_of_unknown_words(door: InboundService) -> list[Finding]:
    check = "postfix: restrictions"
    made = []
    for name, listed in door.lists.items():
        parameter = f"smtpd_{name}_restrictions"
        if has_open_brace(door.value(parameter)):
            made.append(
                error(check, f"{parameter}: a brace is not closed", f"postconf {parameter}")
            )
        made += [
            error(
                check,
                f"{parameter}: {step.name!r} is no restriction and no class; smtpd answers"
                " 451 4.3.5 Server configuration error",
                "correct it, or name the class in smtpd_restriction_classes",
            )
            for step in listed
            if not step.is_known
        ]
    return made or [ok(check, "all words are restrictions")]


_AFTER_220 = (
    "postscreen_pipelining_enable",
    "postscreen_non_smtp_command_enable",
    "postscreen_bare_newline_enable",
)


def _findings_of_postscreen(postfix: PostfixConfig) -> list[Finding]:
    check = "postfix: postscreen"
    if not postfix.has_postscreen:
        return []
    on = [name for name in _AFTER_220 if postfix.parameters.get(name, "").lower() == "yes"]
    if on:
        return [
            warning(
                check,
                f"{', '.join(on)}: each new client is turned away twice, here and by greyd",
                f"main.cf: {on[0]} = no",
            )
        ]
    return [ok(check, "its tests after the greeting are off")]
