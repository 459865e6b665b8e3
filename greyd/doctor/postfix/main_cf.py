"""Checks Postfix's configuration: all smtpd services, and postscreen."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, FindingState, error, not_checked
from greyd.doctor.listeners import TcpListener
from greyd.doctor.postfix.config.postconf import default_folder, host_and_port, read_config
from greyd.doctor.postfix.config.restrictions import parameter_of
from greyd.doctor.postfix.config_files import findings_of_files, findings_of_unreadable
from greyd.doctor.postfix.double_waiting import (
    calls_rspamd,
    endpoints_of_others,
    findings_of_double_waiting,
    findings_of_postscreen,
)
from greyd.doctor.postfix.fix.binding import bound
from greyd.doctor.postfix.fix.edits import replaced
from greyd.doctor.postfix.order import findings_of_order
from greyd.doctor.postfix.policy_service import finding_of_call, findings_of_call_settings
from greyd.doctor.postfix.rspamd import find_rspamd_greylisting
from greyd.doctor.postfix.smtpd import (
    CheckedService,
    inbound_services,
    list_that_rejects_everybody,
)
from greyd.doctor.postfix.submission import findings_of_submission
from greyd.doctor.postfix.tips import findings_of_tips
from greyd.doctor.postfix.words import findings_of_words
from greyd.doctor.process import find_process, is_bound
from greyd.doctor.programs import ProgramError
from greyd.escaping import printable_text
from greyd.runtime.daemon_thread import run_in_daemon_thread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.config.postconf import PostfixConfig
    from greyd.doctor.postfix.rspamd import RspamdGreylisting

_MAX_TEXT = 1500
"""The length to which the text of a finding is cut."""
PORTS_FOR_STRANGERS = ("smtp", "25")
_MAX_ENDPOINTS = 10
"""The number of policy servers and milters whose programs are looked up."""


async def check_postfix(
    folder: str | None, listeners: Sequence[Listener], settings: Settings
) -> list[Finding]:
    """Check the configuration in ``folder``; None for Postfix's default folder."""
    try:
        postfix = await read_config(folder)
    except ProgramError as fault:
        findings = findings_of_unreadable(fault, folder, await default_folder())
        return [_presentable(each, folder) for each in findings]
    programs = await run_in_daemon_thread("programs", partial(_programs_at, postfix))
    postfix = replace(postfix, programs=programs)
    rspamd = await find_rspamd_greylisting() if calls_rspamd(postfix) else None
    findings = findings_of_config(postfix, listeners, settings, rspamd)
    return [_presentable(each, folder) for each in findings]


def _programs_at(postfix: PostfixConfig) -> dict[str, str]:
    """Return the command lines of the programs that listen on this machine, by endpoint."""
    found = {}
    for endpoint in endpoints_of_others(postfix)[:_MAX_ENDPOINTS]:
        if listener := _listener_at(endpoint, postfix.queue_directory):
            process = find_process([listener])
            if process is not None:
                found[endpoint] = " ".join(process.words).strip()
    return found


def _listener_at(endpoint: str, queue_directory: Path) -> Listener | None:
    kind, _, rest = endpoint.partition(":")
    if kind in ("unix", "local"):
        # Another socket may have been bound by the same relative path.
        path = queue_directory / rest
        return path if is_bound(path) else None
    host, port = host_and_port(endpoint)
    if kind == "inet" and host in ("", "localhost", "127.0.0.1", "::1") and port.isdigit():
        return TcpListener(host, int(port))
    return None


def _presentable(finding: Finding, folder: str | None) -> Finding:
    """Put a given folder into the remedies for its files; make the files' text safe to print."""
    finding = replace(finding, seen=_safe(finding.seen), remedy=_safe(finding.remedy))
    if not folder:
        return finding
    remedy = re.sub(
        r"(^|; or )(main|master)\.cf\b", rf"\g<1>{_escaped(folder)}/\2.cf", finding.remedy
    )
    remedy = re.sub(r"\bpostconf (?!-c)", f"postconf -c {_escaped(folder)} ", remedy)
    return replace(finding, remedy=remedy)


def _safe(text: str) -> str:
    text = "".join(each if each.isprintable() else printable_text(each) for each in text)
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\")


def findings_of_config(
    postfix: PostfixConfig,
    listeners: Sequence[Listener],
    settings: Settings,
    rspamd: RspamdGreylisting | None = None,
) -> list[Finding]:
    """Judge a configuration.

    Args:
        postfix: the configuration.
        listeners: greyd's addresses and sockets.
        settings: the server's settings.
        rspamd: whether rspamd greylists; None if that was not determined.
    """
    return [
        *findings_of_files(postfix),
        *_findings_of_inbound_services(postfix, listeners, settings, rspamd),
        *_findings_of_other_words(postfix, listeners),
        *findings_of_submission(postfix, listeners, settings),
        *findings_of_postscreen(postfix),
    ]


def _findings_of_inbound_services(
    postfix: PostfixConfig,
    listeners: Sequence[Listener],
    settings: Settings,
    rspamd: RspamdGreylisting | None,
) -> list[Finding]:
    """Judge each service for mail from strangers; report a finding that all share only once."""
    services = inbound_services(postfix)
    if not services:
        return [_finding_without_services(postfix, listeners)]
    seconds = settings.store_timeout_seconds
    seconds += settings.dns_timeout_seconds if settings.uses_dns else 0
    checked = [
        CheckedService(postfix, service, listeners, slowest_reply_seconds=seconds)
        for service in services
    ]
    found = {
        each.service.name: bound(_findings_of_service(each, rspamd), each.service)
        for each in checked
    }
    merged: list[Finding] = []
    for name, findings in found.items():
        for finding in findings:
            if not all(finding in others for others in found.values()):
                merged.append(replace(finding, check=f"{finding.check} ({name})"))
            elif finding not in merged:
                merged.append(finding)
    return merged


def _finding_without_services(postfix: PostfixConfig, listeners: Sequence[Listener]) -> Finding:
    """Report that no service accepts mail from strangers; an error if one calls greyd."""
    check = "postfix: policy service"
    for service in postfix.services:
        if service.kind != "pass" and service.port not in PORTS_FOR_STRANGERS:
            continue
        name = list_that_rejects_everybody(postfix, service)
        for call in CheckedService(postfix, service, listeners).calls if name else ():
            parameter = parameter_of(name)
            return error(
                check,
                f"{call.parameter} of {service.name} calls greyd, but {parameter} ends with"
                " “reject”: Postfix rejects all mail from strangers, even what greyd passes",
                f"main.cf: remove “reject” from the end of {parameter}",
                replaced(parameter, "reject"),
            )
    return not_checked(check, "master.cf has no smtpd that accepts mail from strangers")


def _findings_of_other_words(
    postfix: PostfixConfig, listeners: Sequence[Listener]
) -> list[Finding]:
    """Judge the words in the lists of the services that are not for mail from strangers."""
    inbound = inbound_services(postfix)
    of_inbound = {
        finding
        for service in inbound
        for finding in bound(
            findings_of_words(CheckedService(postfix, service, listeners)), service
        )
    }
    return [
        replace(finding, check=f"{finding.check} ({service.name})")
        for service in postfix.services
        if service not in inbound
        for finding in bound(
            findings_of_words(CheckedService(postfix, service, listeners)), service
        )
        if finding.state is not FindingState.OK and finding not in of_inbound
    ]


def _findings_of_service(
    service: CheckedService, rspamd: RspamdGreylisting | None
) -> list[Finding]:
    call = service.calls[0] if service.calls else None
    return [
        *findings_of_words(service),
        finding_of_call(service),
        *(findings_of_call_settings(service, call) if call else ()),
        *findings_of_double_waiting(service, rspamd),
        *findings_of_tips(service.lists, greylists=bool(call), value=service.value),
        *findings_of_order(service.lists, call, service.value),
    ]
