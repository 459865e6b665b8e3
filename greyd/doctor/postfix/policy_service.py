"""Checks how a service calls greyd: where, for whom, and what happens while greyd is down."""

from __future__ import annotations

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.postfix.restrictions import (
    AFTER_RCPT,
    PolicyCall,
    parse_restrictions,
    parse_time,
    policy_calls,
    reachable_count,
)
from greyd.doctor.postfix.smtpd import BRACES_SINCE, InboundService

MAX_SECONDS = 30
"""A timeout above this lets mail wait for a machine that is dead."""

IDLE_SECONDS = 1000
"""After which greyd closes a connection."""
_RELAY_REJECTIONS = ("reject_unauth_destination", "defer_unauth_destination")
_POSTGREY = ("postgrey", ":10023", ":60000")


def _class_with_call(door: InboundService) -> str:
    """Return the class that asks this server, and that no list has."""
    for name, text in door.postfix.classes.items():
        calls = policy_calls({name: parse_restrictions(text, door.postfix.classes)})
        if any(door.is_ours(call.endpoint) for call in calls):
            return name
    return ""


def finding_of_call(door: InboundService) -> Finding:
    """Say whether this server is asked."""
    check = "postfix: policy service"
    remedy = f"main.cf, at the end of smtpd_recipient_restrictions: {door.line}"
    calls = door.calls
    if calls:
        return ok(check, f"{calls[0].endpoint} in smtpd_{calls[0].list_name}_restrictions")
    where = ", ".join(map(str, door.listeners))
    if name := _class_with_call(door):
        return hint(
            check,
            f"only class {name} asks greyd: for whom an access table names it",
            "if all mail is to be greylisted: " + remedy,
        )
    if door.others:
        asked = ", ".join(dict.fromkeys(call.endpoint for call in door.others))
        return error(check, f"asked is {asked}; greyd listens on {where}", remedy)
    return error(check, f"no check_policy_service; greyd listens on {where}", remedy)


def finding_of_position(door: InboundService, call: PolicyCall) -> Finding:
    """Say whether it is asked once for each recipient, and at all."""
    check = "postfix: place"
    listed = door.lists[call.list_name]
    parameter = f"smtpd_{call.list_name}_restrictions"
    move = f"main.cf: move it to the end of smtpd_recipient_restrictions: {door.line}"
    if call.list_name in AFTER_RCPT:
        return error(
            check,
            f"{parameter} are asked once a message: of several recipients greyd sees none",
            move,
        )
    if call.place >= reachable_count(listed):
        ends = listed[reachable_count(listed) - 1].name
        return error(check, f"never reached: “{ends}” stands before it in {parameter}", move)
    before = listed[: call.place]
    if any(step.name == "permit_auth_destination" and not step.only_warns for step in before):
        return error(
            check,
            "never reached: permit_auth_destination before it lets all mail for here pass",
            "main.cf: write reject_unauth_destination in its place",
        )
    if listed[call.place].only_warns:
        return error(
            check,
            "warn_if_reject stands before it: nothing is greylisted",
            "main.cf: take warn_if_reject away (greyd's own way to try is --mode=learn)",
        )
    return ok(check, f"{parameter}, after {call.place} other restrictions")


def finding_of_relaying(door: InboundService, call: PolicyCall) -> Finding:
    """Say whether relay attempts are rejected before it is asked."""
    check = "postfix: relaying"
    lists = door.lists
    names = list(lists)
    before = [
        step
        for name in names[: names.index(call.list_name) + 1]
        for step in (lists[name] if name != call.list_name else lists[name][: call.place])
    ]
    if any(step.name in _RELAY_REJECTIONS and not step.only_warns for step in before):
        return ok(check, "relay attempts are rejected before greyd is asked")
    everywhere = [step.name for listed in lists.values() for step in listed if not step.only_warns]
    remedy = "main.cf: reject_unauth_destination before check_policy_service"
    if any(name in everywhere for name in _RELAY_REJECTIONS):
        return warning(check, "greyd is asked about relay attempts, and remembers them", remedy)
    return error(check, "no reject_unauth_destination: Postfix refuses to work so", remedy)


def findings_of_permits(door: InboundService, call: PolicyCall) -> list[Finding]:
    """Say whether own machines and users pass before it is asked."""
    before = {step.name for step in door.lists[call.list_name][: call.place] if not step.only_warns}
    made = []
    check = "postfix: own networks"
    if "permit_mynetworks" in before:
        made.append(ok(check, "permit_mynetworks stands before it"))
    elif not door.value("mynetworks"):
        made.append(ok(check, "mynetworks is empty"))
    else:
        made.append(
            warning(
                check,
                "own machines' mail is greylisted",
                "main.cf: permit_mynetworks at the beginning of the list",
            )
        )
    check = "postfix: own users"
    if "permit_sasl_authenticated" in before:
        made.append(ok(check, "permit_sasl_authenticated stands before it"))
    elif door.value("smtpd_sasl_auth_enable").lower() != "yes":
        made.append(ok(check, "nobody can log in at this service"))
    else:
        made.append(
            hint(
                check,
                "greyd is asked about users who have logged in, and lets them pass itself",
                "main.cf: permit_sasl_authenticated at the beginning of the list",
            )
        )
    return made


def finding_of_timeout(door: InboundService, call: PolicyCall) -> Finding:
    """Say how long mail waits for a server that does not answer."""
    check = "postfix: timeout"
    text = call.options.get("timeout") or door.value("smtpd_policy_service_timeout")
    number = parse_time(text)
    remedy = f"main.cf: {door.line}"
    if door.postfix.version < BRACES_SINCE:
        remedy = "main.cf: smtpd_policy_service_timeout = 10s"
    if number is None:
        return not_checked(check, f"{text!r} is no time")
    if number > MAX_SECONDS:
        return warning(
            check, f"{text}; so long each mail waits, twice, where greyd's machine is dead", remedy
        )
    if number < 1:
        return error(check, f"{text}: greyd has no time to answer", remedy)
    return ok(check, text)


def finding_of_default_action(door: InboundService, call: PolicyCall) -> Finding:
    """Say what becomes of mail while the server is away."""
    check = "postfix: default action"
    text = call.options.get("default_action") or door.value("smtpd_policy_service_default_action")
    verb = text.partition(" ")[0].upper()
    remedy = f"main.cf: {door.line}"
    if door.postfix.version < BRACES_SINCE:
        remedy = "main.cf: smtpd_policy_service_default_action = DUNNO"
    if verb == "DUNNO":
        return ok(check, "DUNNO: mail goes on while greyd is away")
    if verb in ("OK", "PERMIT"):
        return warning(check, f"{text}: while greyd is away nothing below it is asked", remedy)
    if verb.startswith(("5", "REJECT")):
        return error(check, f"{text}: while greyd is away all mail is lost", remedy)
    return warning(check, f"{text}: while greyd is away all mail is deferred", remedy)


def context_of(door: InboundService, call: PolicyCall) -> str:
    """Return the policy context that Postfix sends with a call."""
    return call.context or door.value("smtpd_policy_service_policy_context")


def finding_of_context(door: InboundService, call: PolicyCall) -> Finding:
    """Say whether strangers' mail is taken for that of own users."""
    check = "postfix: policy context"
    context = context_of(door, call)
    if context == "outbound":
        return warning(
            check,
            "outbound: with --learn-outbound nothing of this service is greylisted",
            "main.cf: policy_context=outbound belongs to submission alone",
        )
    return ok(check, context or "none")


def finding_of_delay_reject(door: InboundService, call: PolicyCall) -> Finding:
    """Say whether it is asked when the recipient is known."""
    check = "postfix: delay reject"
    remedy = "main.cf: smtpd_delay_reject = yes"
    if door.value("smtpd_delay_reject").lower() == "yes":
        return ok(check, "all is asked when the recipient is known")
    if call.list_name in ("client", "helo", "sender"):
        return error(
            check,
            f"greyd is asked in smtpd_{call.list_name}_restrictions, before there is a"
            " recipient: nothing is greylisted",
            remedy,
        )
    return hint(check, "the log does not say whose mail was rejected", remedy)


def findings_of_connections(door: InboundService) -> list[Finding]:
    """Check how long Postfix keeps connections, and how often it tries."""
    check = "postfix: connections"
    made = []
    idle = parse_time(door.value("smtpd_policy_service_max_idle"))
    if idle is not None and idle >= IDLE_SECONDS:
        made.append(
            hint(
                check,
                f"smtpd_policy_service_max_idle = {idle}s, but greyd closes after"
                f" {IDLE_SECONDS} s: a warning in Postfix's log each time",
                "main.cf: smtpd_policy_service_max_idle = 300s",
            )
        )
    if door.value("smtpd_policy_service_try_limit") == "1":
        made.append(
            hint(
                check,
                "smtpd_policy_service_try_limit = 1: a restart of greyd is felt by mail",
                "main.cf: smtpd_policy_service_try_limit = 2",
            )
        )
    return made


def findings_of_others(door: InboundService) -> list[Finding]:
    """Check for a second greylisting server, and for repeated calls."""
    check = "postfix: other greylisting"
    if not door.calls:
        return []
    made = [
        warning(
            check,
            f"{call.endpoint} looks like postgrey: mail is greylisted twice",
            f"main.cf: take check_policy_service {call.endpoint} away",
        )
        for call in door.others
        if any(mark in call.endpoint for mark in _POSTGREY)
    ]
    if len(door.calls) > 1:
        made.append(
            hint(
                check,
                f"greyd is asked {len(door.calls)} times about each recipient",
                "main.cf: name it once",
            )
        )
    return made
