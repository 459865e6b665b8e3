"""Checks a service's call of greyd: its position, options, and effect while greyd is down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.postfix.config.greylisting_products import greylisting_product, program_of
from greyd.doctor.postfix.config.restrictions import (
    AFTER_RCPT,
    FOR_ETRN,
    parse_restrictions,
    parse_time,
    policy_calls,
    reachable_count,
)
from greyd.doctor.postfix.fix.edits import (
    ColumnEdit,
    ListEdit,
    Place,
    ValueEdit,
    moved,
    replaced,
)

if TYPE_CHECKING:
    from greyd.doctor.postfix.config.restrictions import PolicyCall, Restriction
    from greyd.doctor.postfix.fix.edits import Edits
    from greyd.doctor.postfix.smtpd import CheckedService

RECIPIENTS = "smtpd_recipient_restrictions"

_SPARE_SECONDS = 5

MAX_TIMEOUT_SECONDS = 30
"""A longer timeout delays mail too much while greyd's machine is down."""

GREYD_IDLE_SECONDS = 1000
"""The time after which greyd closes an idle connection."""

_KINDS = ("inet:", "unix:", "local:")
_RELAY_REJECTIONS = ("reject_unauth_destination", "defer_unauth_destination", "reject", "defer")


def finding_of_call(service: CheckedService) -> Finding:
    """Check that the service calls greyd."""
    check = "postfix: policy service"
    line = service.recommended_call
    remedy = f"main.cf, at the end of smtpd_recipient_restrictions: {line}"
    if service.calls:
        call = service.calls[0]
        return ok(check, f"{call.endpoint} in {call.parameter}")
    if name := class_with_call(service):
        return hint(
            check,
            f"only the class {name} calls greyd: mail is greylisted where an access table returns"
            " that class",
            f"to greylist all mail: {remedy}",
        )
    where = ", ".join(map(str, service.listeners))
    for call in service.other_calls:
        if service.may_be_greyd(call.endpoint):
            return not_checked(
                check,
                f"calls {call.endpoint}, which may be greyd ({where}): DNS did not answer for the"
                " name",
                "run the check again when DNS answers, or write the address instead of the name",
            )
    if service.other_calls:
        called = ", ".join(dict.fromkeys(call.endpoint for call in service.other_calls))
        if not any(call.endpoint.startswith(_KINDS) for call in service.other_calls):
            called = "no address of a policy server"
        return error(
            check,
            f"calls {called}{_in_chroot(service)}, but greyd listens on {where}",
            remedy,
            _edits_of_call(service),
        )
    return error(
        check, f"no check_policy_service; greyd listens on {where}", remedy, (_appended(service),)
    )


def _appended(service: CheckedService) -> ListEdit:
    """Return the edit that calls greyd at the end of the recipients' list."""
    return ListEdit(RECIPIENTS, new=(service.recommended_call,))


def _edits_of_call(service: CheckedService) -> Edits:
    """Return the edits that call greyd, in the place of a greylisting program if there is one."""
    endpoint = service.recommended_endpoint
    if service.service.chroot and endpoint.startswith("unix:/"):
        # No path outside the chroot can be reached.
        place = f"{service.service.name}/{service.service.kind}"
        called = [call.endpoint for call in service.other_calls]
        edits: Edits = (ColumnEdit(place, "chroot", "n"),)
        return edits if endpoint in called else (*edits, _appended(service))
    for call in service.other_calls:
        product = greylisting_product(call.endpoint, program_of(service.postfix, call.endpoint))
        if product and not product.module:
            restriction = service.lists[call.list_name][call.index]
            parameter = restriction.in_class or call.parameter
            return replaced(parameter, restriction, service.recommended_call)
    return (_appended(service),)


def _in_chroot(service: CheckedService) -> str:
    """Return where the paths of a service in a chroot lead; empty without a chroot."""
    paths = [service.path_of(call.endpoint) for call in service.other_calls]
    if not service.service.chroot or not any(paths):
        return ""
    return f" (in the chroot: {', '.join(map(str, filter(None, paths)))})"


def class_with_call(service: CheckedService) -> str:
    """Return the name of a restriction class that calls greyd; empty if none does."""
    for name, text in service.classes.items():
        calls = policy_calls({name: parse_restrictions(text, service.classes)})
        if any(service.is_greyd(call.endpoint) for call in calls):
            return name
    return ""


def findings_of_call_settings(service: CheckedService, call: PolicyCall) -> list[Finding]:
    """Judge a call's position, its options, and the parameters that apply to the call."""
    return [
        finding_of_position(service, call),
        finding_of_relaying(service, call),
        finding_of_own_networks(service, call),
        finding_of_own_users(service, call),
        finding_of_timeout(service, call),
        finding_of_default_action(service, call),
        finding_of_context(service, call),
        finding_of_delay_reject(service, call),
        *_findings_of_connections(service),
    ]


# Position -----------------------------------------------------------------------------------------


def finding_of_position(service: CheckedService, call: PolicyCall) -> Finding:
    """Check that Postfix reaches the call, and reaches it once per recipient."""
    check = "postfix: place"
    restrictions = service.lists[call.list_name]
    to_end = moved(call.parameter, restrictions[call.index], _appended(service))
    move = (
        f"main.cf: move it to the end of smtpd_recipient_restrictions: {service.recommended_call}"
    )
    if call.list_name == FOR_ETRN:
        return error(
            check, "Postfix does not evaluate smtpd_etrn_restrictions for mail", move, to_end
        )
    if call.list_name in AFTER_RCPT:
        return error(
            check,
            f"Postfix evaluates {call.parameter} once per message, and names no recipient to greyd"
            " if there are several",
            move,
            to_end,
        )
    reachable = reachable_count(restrictions)
    if call.index >= reachable:
        end = restrictions[reachable - 1].name
        seen = f"never reached: “{end}” precedes it in {call.parameter}"
        return error(check, seen, move, to_end)
    before = restrictions[: call.index]
    if any(each.name == "permit_auth_destination" and not each.only_warns for each in before):
        return error(
            check,
            "never reached: permit_auth_destination precedes it and permits all mail for own"
            " domains",
            "main.cf: replace permit_auth_destination with reject_unauth_destination",
            replaced(call.parameter, "permit_auth_destination", "reject_unauth_destination"),
        )
    if permits := [each for each in before if _permits_all(each)]:
        return error(
            check,
            f"never reached: “{permits[0]}” precedes it and permits all mail",
            f"main.cf: remove {permits[0]}",
            replaced(permits[0].in_class or call.parameter, permits[0]),
        )
    if restrictions[call.index].only_warns:
        return error(
            check,
            "warn_if_reject precedes it: no mail is greylisted",
            "main.cf: remove warn_if_reject (for a trial, start greyd with --mode=learn)",
            replaced(
                call.parameter,
                f"warn_if_reject {restrictions[call.index]}",
                str(restrictions[call.index]),
            ),
        )
    return ok(check, f"{call.parameter}, after {call.index} other restrictions")


def _permits_all(restriction: Restriction) -> bool:
    """Whether a restriction is a table that permits everything."""
    return restriction.argument.lower() in ("static:ok", "static:permit")


def finding_of_relaying(service: CheckedService, call: PolicyCall) -> Finding:
    """Check that Postfix rejects relay attempts before it calls greyd."""
    check = "postfix: relaying"
    lists = service.lists
    names = list(lists)
    before = [
        each
        for name in names[: names.index(call.list_name) + 1]
        for each in (lists[name] if name != call.list_name else lists[name][: call.index])
    ]
    if any(each.name in _RELAY_REJECTIONS and not each.only_warns for each in before):
        return ok(check, "Postfix rejects relay attempts before it calls greyd")
    in_force = {each.name for listed in lists.values() for each in listed if not each.only_warns}
    remedy = "main.cf: reject_unauth_destination before check_policy_service"
    call_text = str(lists[call.list_name][call.index])
    edits = (ListEdit(call.parameter, new=("reject_unauth_destination",), before=call_text),)
    if in_force.intersection(_RELAY_REJECTIONS):
        seen = "Postfix calls greyd for relay attempts, and greyd stores them"
        return warning(check, seen, remedy, edits)
    return error(check, "no reject_unauth_destination: Postfix refuses to run", remedy, edits)


def finding_of_own_networks(service: CheckedService, call: PolicyCall) -> Finding:
    """Check that the site's own machines pass before the call."""
    check = "postfix: own networks"
    if "permit_mynetworks" in _names_before(service, call):
        return ok(check, "permit_mynetworks precedes it")
    if not service.value("mynetworks"):
        return ok(check, "mynetworks is empty")
    return warning(
        check,
        "mail from own machines is greylisted",
        f"main.cf: put permit_mynetworks first in {call.parameter}",
        (ListEdit(call.parameter, new=("permit_mynetworks",), place=Place.FIRST),),
    )


def finding_of_own_users(service: CheckedService, call: PolicyCall) -> Finding:
    """Check that authenticated users pass before the call of greyd."""
    check = "postfix: own users"
    if "permit_sasl_authenticated" in _names_before(service, call):
        return ok(check, "permit_sasl_authenticated precedes it")
    if service.value("smtpd_sasl_auth_enable").lower() != "yes":
        return ok(check, "this service offers no login")
    return hint(
        check,
        "Postfix calls greyd for authenticated users, whose mail always passes",
        "main.cf: permit_sasl_authenticated at the beginning of the list",
    )


def _names_before(service: CheckedService, call: PolicyCall) -> set[str]:
    before = service.lists[call.list_name][: call.index]
    return {each.name for each in before if not each.only_warns}


# Options and parameters ---------------------------------------------------------------------------


def finding_of_timeout(service: CheckedService, call: PolicyCall) -> Finding:
    """Check how long Postfix waits if greyd does not answer."""
    check = "postfix: timeout"
    text = call.options.get("timeout") or service.value("smtpd_policy_service_timeout")
    seconds = parse_time(text)
    remedy = f"main.cf: {service.recommended_call}"
    edits = _edits_of_option(service, call, "timeout", "10s")
    if not service.postfix.has_braces:
        remedy = "main.cf: smtpd_policy_service_timeout = 10s"
    if seconds is None:
        return not_checked(check, f"{text!r} is not a time")
    if seconds > MAX_TIMEOUT_SECONDS:
        return warning(
            check,
            f"{text}: each mail waits twice that long while greyd's machine is down",
            remedy,
            edits,
        )
    if seconds < 1:
        return error(check, f"{text}: too short for any answer", remedy, edits)
    if seconds <= service.slowest_reply_seconds:
        return warning(
            check,
            f"{text}: the server may wait {service.slowest_reply_seconds:g} s for its store and the"
            " DNS (--store-timeout, --dns-timeout), but Postfix gives up sooner",
            "greyd.toml: a shorter store_timeout; or a longer timeout in main.cf",
            _edits_for_slow_replies(service, call),
        )
    return ok(check, text)


def finding_of_default_action(service: CheckedService, call: PolicyCall) -> Finding:
    """Check that mail passes without greylisting while greyd is down."""
    check = "postfix: default action"
    text = call.options.get("default_action") or service.value(
        "smtpd_policy_service_default_action"
    )
    verb = text.partition(" ")[0].upper()
    remedy = f"main.cf: {service.recommended_call}"
    edits = _edits_of_option(service, call, "default_action", "DUNNO")
    if not service.postfix.has_braces:
        remedy = "main.cf: smtpd_policy_service_default_action = DUNNO"
    if verb == "DUNNO":
        return ok(check, "DUNNO: while greyd is down, mail passes without greylisting")
    if verb in ("OK", "PERMIT"):
        seen = f"{text}: while greyd is down, mail also skips the restrictions after it"
        return warning(check, seen, remedy, edits)
    if verb.startswith(("5", "REJECT")):
        return error(check, f"{text}: while greyd is down, all mail is rejected", remedy, edits)
    return warning(check, f"{text}: while greyd is down, all mail is deferred", remedy, edits)


def _edits_of_option(service: CheckedService, call: PolicyCall, name: str, value: str) -> Edits:
    """Return the edits that set an option of the call of greyd, and keep its other options."""
    parameter = f"smtpd_policy_service_{name}"
    if not service.postfix.has_braces:
        return (ValueEdit(parameter, value),)
    restriction = service.lists[call.list_name][call.index]
    wanted = {"timeout": "10s", "default_action": "DUNNO"}
    options = {**call.options, **{key: wanted[key] for key in wanted if key not in call.options}}
    options[name] = value
    texts = [
        f"{{ {key} = {text} }}" if any(each in text for each in " ,") else f"{key}={text}"
        for key, text in options.items()
    ]
    new = f"check_policy_service {{ {', '.join([call.endpoint, *texts])} }}"
    return replaced(restriction.in_class or call.parameter, restriction, new)


def _edits_for_slow_replies(service: CheckedService, call: PolicyCall) -> Edits:
    """Return the edits that let Postfix wait long enough; none if that is too long."""
    seconds = int(service.slowest_reply_seconds) + _SPARE_SECONDS
    if seconds > MAX_TIMEOUT_SECONDS:
        return ()
    return _edits_of_option(service, call, "timeout", f"{seconds}s")


def finding_of_context(service: CheckedService, call: PolicyCall) -> Finding:
    """Check that the policy context does not mark mail from strangers as outgoing mail."""
    check = "postfix: policy context"
    context = service.context_of(call)
    if context == "outbound":
        return warning(
            check,
            "outbound: with --learn-outbound no mail of this service is greylisted",
            "main.cf: set policy_context=outbound for submission services only",
            _edits_without_context(service, call),
        )
    return ok(check, context or "none")


def _edits_without_context(service: CheckedService, call: PolicyCall) -> Edits:
    if "policy_context" not in call.options:
        return (ValueEdit("smtpd_policy_service_policy_context", ""),)
    options = {name: text for name, text in call.options.items() if name != "policy_context"}
    return _edits_of_option(
        service, replace(call, options=options), "timeout", options.get("timeout", "10s")
    )


def finding_of_delay_reject(service: CheckedService, call: PolicyCall) -> Finding:
    """Check that Postfix calls greyd no earlier than RCPT TO, when the recipient is known."""
    check = "postfix: delay reject"
    remedy = "main.cf: smtpd_delay_reject = yes"
    if service.value("smtpd_delay_reject").lower() == "yes":
        return ok(check, "Postfix evaluates all restrictions at RCPT TO")
    if call.list_name in ("client", "helo", "sender"):
        return error(
            check,
            f"Postfix evaluates {call.parameter} before it knows the recipient: no mail is"
            " greylisted",
            remedy,
            (ValueEdit("smtpd_delay_reject", "yes"),),
        )
    return hint(check, "for early rejections the log has no sender and no recipient", remedy)


def _findings_of_connections(service: CheckedService) -> list[Finding]:
    """Check how long Postfix keeps idle connections, and how often it retries."""
    check = "postfix: connections"
    made = []
    idle_seconds = parse_time(service.value("smtpd_policy_service_max_idle"))
    if idle_seconds is not None and idle_seconds >= GREYD_IDLE_SECONDS:
        made.append(
            hint(
                check,
                f"smtpd_policy_service_max_idle = {idle_seconds}s, but greyd closes idle"
                f" connections after {GREYD_IDLE_SECONDS} s, and Postfix logs a warning each time",
                "main.cf: smtpd_policy_service_max_idle = 300s",
            )
        )
    if service.value("smtpd_policy_service_try_limit") == "1":
        made.append(
            hint(
                check,
                "smtpd_policy_service_try_limit = 1: mail fails while greyd restarts",
                "main.cf: smtpd_policy_service_try_limit = 2",
            )
        )
    return made
