"""Checks Postfix's configuration: all smtpd services, and postscreen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.postfix.order import findings_of_order
from greyd.doctor.postfix.policy_service import (
    finding_of_call,
    findings_of_call_settings,
    findings_of_other_calls,
)
from greyd.doctor.postfix.postconf import read_config
from greyd.doctor.postfix.restrictions import has_unbalanced_brace, parameter_of
from greyd.doctor.postfix.smtpd import CheckedService, inbound_services
from greyd.doctor.postfix.submission import findings_of_submission
from greyd.doctor.postfix.tips import findings_of_tips
from greyd.doctor.programs import ProgramError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.postconf import PostfixConfig

_TESTS_AFTER_GREETING = (
    "postscreen_pipelining_enable",
    "postscreen_non_smtp_command_enable",
    "postscreen_bare_newline_enable",
)


async def check_postfix(
    folder: str | None, listeners: Sequence[Listener], settings: Settings
) -> list[Finding]:
    """Check the configuration in ``folder``; None for Postfix's default folder."""
    check = "postfix: files"
    try:
        postfix = await read_config(folder)
    except ProgramError as fault:
        if folder:
            remedy = "let --main-cf name the folder of main.cf and master.cf"
            return [error(check, str(fault), remedy)]
        return [not_checked(check, str(fault))]
    return findings_of_config(postfix, listeners, settings)


def findings_of_config(
    postfix: PostfixConfig, listeners: Sequence[Listener], settings: Settings
) -> list[Finding]:
    """Judge a configuration; ``listeners`` are greyd's addresses and sockets."""
    return [
        _finding_of_files(postfix),
        *_findings_of_inbound_services(postfix, listeners),
        *findings_of_submission(postfix, listeners, settings),
        *_findings_of_postscreen(postfix),
    ]


def _finding_of_files(postfix: PostfixConfig) -> Finding:
    """Show postconf's own warnings, e.g. about a misspelt class or parameter."""
    check = "postfix: files"
    if postfix.warnings:
        return hint(check, "; ".join(postfix.warnings), "postconf -n (shows these warnings)")
    version = postfix.parameters.get("mail_version", "")
    return ok(check, f"no warnings by postconf; Postfix {version}")


def _findings_of_inbound_services(
    postfix: PostfixConfig, listeners: Sequence[Listener]
) -> list[Finding]:
    """Judge each service for mail from strangers; report a finding that all share only once."""
    services = inbound_services(postfix)
    if not services:
        reason = "master.cf has no smtpd that accepts mail from strangers"
        return [not_checked("postfix: policy service", reason)]
    found = {
        service.name: _findings_of_service(CheckedService(postfix, service, listeners))
        for service in services
    }
    merged: list[Finding] = []
    for name, findings in found.items():
        for finding in findings:
            if not all(finding in others for others in found.values()):
                merged.append(replace(finding, check=f"{finding.check} ({name})"))
            elif finding not in merged:
                merged.append(finding)
    return merged


def _findings_of_service(service: CheckedService) -> list[Finding]:
    call = service.calls[0] if service.calls else None
    return [
        *_findings_of_words(service),
        finding_of_call(service),
        *(findings_of_call_settings(service, call) if call else ()),
        *findings_of_other_calls(service),
        *findings_of_tips(service.lists, greylists=bool(call), value=service.value),
        *findings_of_order(service.lists, call, service.value),
    ]


def _findings_of_words(service: CheckedService) -> list[Finding]:
    """Check that smtpd knows every word of the restriction lists."""
    check = "postfix: restrictions"
    made = []
    for name, restrictions in service.lists.items():
        parameter = parameter_of(name)
        if has_unbalanced_brace(service.value(parameter)):
            made.append(
                error(check, f"{parameter}: a brace is not closed", f"postconf {parameter}")
            )
        made += [
            error(
                check,
                f"{parameter}: {each.name!r} is neither a restriction nor a class; smtpd answers"
                " 451 4.3.5 Server configuration error",
                "correct the word, or add the class to smtpd_restriction_classes",
            )
            for each in restrictions
            if not each.is_known
        ]
    return made or [ok(check, "all words are restrictions")]


def _findings_of_postscreen(postfix: PostfixConfig) -> list[Finding]:
    check = "postfix: postscreen"
    if not postfix.has_postscreen:
        return []
    enabled = [
        name for name in _TESTS_AFTER_GREETING if postfix.parameters.get(name, "").lower() == "yes"
    ]
    if enabled:
        return [
            warning(
                check,
                f"{', '.join(enabled)}: postscreen and greyd each defer a new client once",
                f"main.cf: {enabled[0]} = no",
            )
        ]
    return [ok(check, "its tests after the greeting are off")]
