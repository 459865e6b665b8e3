"""Whether Postfix asks the server, at the right place and with sane settings.

All here is pure: a ``Postfix`` goes in, findings come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.listeners import Tcp
from greyd.doctor.postfix.postconf import SUBMISSION, host_and_port
from greyd.doctor.postfix.recommended import endpoint, policy_service
from greyd.doctor.postfix.restrictions import (
    AFTER_RCPT,
    ENDS,
    PolicyCall,
    Step,
    has_open_brace,
    policy_calls,
    reached,
    seconds,
    steps,
)
from greyd.doctor.postfix.tips import findings_of_order, findings_of_tips

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener
    from greyd.doctor.postfix.postconf import Postfix, Service

MAX_SECONDS = 30
"""A timeout above this lets mail wait for a machine that is dead."""

IDLE_SECONDS = 1000
"""After which greyd closes a connection."""

_BRACES_SINCE = (3, 0)
_GUARDS = ("reject_unauth_destination", "defer_unauth_destination")
_POSTGREY = ("postgrey", ":10023", ":60000")


@dataclass(frozen=True)
class Door:
    """An smtpd that takes mail of strangers, and what it asks."""

    postfix: Postfix
    service: Service
    listeners: Sequence[Listener]
    learn_outbound: bool = False

    @cached_property
    def lists(self) -> Mapping[str, Sequence[Step]]:
        """Its restriction lists."""
        return self.postfix.lists(self.service)

    @cached_property
    def calls(self) -> list[PolicyCall]:
        """Its questions to this server."""
        return [call for call in policy_calls(self.lists) if self.is_ours(call.endpoint)]

    @cached_property
    def others(self) -> list[PolicyCall]:
        """Its questions to other policy servers."""
        return [call for call in policy_calls(self.lists) if not self.is_ours(call.endpoint)]

    def is_ours(self, place: str) -> bool:
        """Whether this server listens where a policy service is named."""
        if place.startswith("unix:"):
            return self._path(place.removeprefix("unix:")) in self.listeners
        if not place.startswith("inet:"):
            return False
        host, port = host_and_port(place)
        return any(
            isinstance(each, Tcp) and port == str(each.port) and self._is_host(host, each)
            for each in self.listeners
        )

    def _path(self, written: str) -> Path:
        queue = self.postfix.parameters.get("queue_directory", "/var/spool/postfix")
        # smtpd stands in its queue directory; in a chroot that is its root.
        return Path(queue) / (written.lstrip("/") if self.service.chroot else written)

    def _is_host(self, host: str, listener: Tcp) -> bool:
        if listener.is_any or host == listener.host:
            return True
        own = {address.host for address in listener.to_ask()}
        named = {"127.0.0.1", "::1"} if host in ("", "localhost") else {host}
        return bool(own & (named | self.postfix.addresses.get(host, frozenset())))

    @property
    def line(self) -> str:
        """The recommended line that asks this server."""
        queue = Path(self.postfix.parameters.get("queue_directory", "/var/spool/postfix"))
        place = endpoint(self.listeners, queue)
        if self.postfix.version and self.postfix.version < _BRACES_SINCE:
            return f"check_policy_service {place}"
        return policy_service(place)

    def value(self, name: str) -> str:
        """Return a parameter as this service has it."""
        return self.postfix.value(self.service, name)


# Which services are which -------------------------------------------------------------------------


def _end(listed: Sequence[Step]) -> str:
    last = listed[reached(listed) - 1] if listed else Step("")
    return last.name if last.name in ENDS else ""


def is_closed(postfix: Postfix, service: Service) -> bool:
    """Whether a service rejects all strangers."""
    lists = postfix.lists(service)
    return any(_end(listed) == "reject" for name, listed in lists.items() if name not in AFTER_RCPT)


def is_for_users(postfix: Postfix, service: Service) -> bool:
    """Whether a service takes mail of own users alone."""
    if service.port in SUBMISSION:
        return True
    names = {step.name for listed in postfix.lists(service).values() for step in listed}
    return is_closed(postfix, service) and "permit_sasl_authenticated" in names


def doors(postfix: Postfix) -> list[Service]:
    """Return the services that take mail of strangers."""
    open_ = [
        service
        for service in postfix.services
        if not is_closed(postfix, service) and not is_for_users(postfix, service)
    ]
    # Those on loopback take mail back from a filter, unless there are no others.
    return [service for service in open_ if not service.is_loopback] or open_


# All of it ----------------------------------------------------------------------------------------


def findings(postfix: Postfix, listeners: Sequence[Listener], settings: Settings) -> list[Finding]:
    """Judge a Postfix's configuration."""
    return [
        *_findings_of_files(postfix),
        *_findings_of_doors(postfix, listeners),
        *findings_of_users(postfix, listeners, settings),
        *_findings_of_postscreen(postfix),
    ]


def _findings_of_files(postfix: Postfix) -> list[Finding]:
    """Say what postconf itself remarks: a misspelt class or parameter is one of these."""
    check = "postfix: files"
    if postfix.remarks:
        return [hint(check, "; ".join(postfix.remarks), "postconf -n (shows the same)")]
    version = postfix.parameters.get("mail_version", "")
    return [ok(check, f"postconf has nothing to remark; Postfix {version}")]


def _findings_of_doors(postfix: Postfix, listeners: Sequence[Listener]) -> list[Finding]:
    services = doors(postfix)
    if not services:
        return [
            not_checked("postfix: policy service", "master.cf has no smtpd for mail of strangers")
        ]
    found = {
        service.name: findings_of_door(Door(postfix, service, listeners)) for service in services
    }
    merged: list[Finding] = []
    for name, each in found.items():
        for finding in each:
            if all(finding in others for others in found.values()):
                merged += [finding] if finding not in merged else []
            else:
                merged.append(finding._replace(check=f"{finding.check} ({name})"))
    return merged


def findings_of_door(door: Door) -> list[Finding]:
    """Judge one service that takes mail of strangers."""
    made = [*_findings_of_words(door), finding_of_call(door)]
    if door.calls:
        call = door.calls[0]
        made += [
            finding_of_place(door, call),
            finding_of_guard(door, call),
            *findings_of_permits(door, call),
            finding_of_timeout(door, call),
            finding_of_default_action(door, call),
            finding_of_context(door, call),
            finding_of_delay_reject(door, call),
            *_findings_of_connections(door),
        ]
    made += _findings_of_others(door)
    made += findings_of_tips(door.lists, greylists=bool(door.calls), value=door.value)
    made += findings_of_order(door.lists, door.calls[0] if door.calls else None, door.value)
    return made


def _findings_of_words(door: Door) -> list[Finding]:
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


def _from_class(door: Door) -> str:
    """Return the class that asks this server, and that no list has."""
    for name, text in door.postfix.classes.items():
        calls = policy_calls({name: steps(text, door.postfix.classes)})
        if any(door.is_ours(call.endpoint) for call in calls):
            return name
    return ""


def finding_of_call(door: Door) -> Finding:
    """Say whether this server is asked."""
    check = "postfix: policy service"
    remedy = f"main.cf, at the end of smtpd_recipient_restrictions: {door.line}"
    calls = door.calls
    if calls:
        return ok(check, f"{calls[0].endpoint} in smtpd_{calls[0].list_name}_restrictions")
    where = ", ".join(map(str, door.listeners))
    if name := _from_class(door):
        return hint(
            check,
            f"only class {name} asks greyd: for whom an access table names it",
            "if all mail is to be greylisted: " + remedy,
        )
    if door.others:
        asked = ", ".join(dict.fromkeys(call.endpoint for call in door.others))
        return error(check, f"asked is {asked}; greyd listens on {where}", remedy)
    return error(check, f"no check_policy_service; greyd listens on {where}", remedy)


def finding_of_place(door: Door, call: PolicyCall) -> Finding:
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
    if call.place >= reached(listed):
        ends = listed[reached(listed) - 1].name
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


def finding_of_guard(door: Door, call: PolicyCall) -> Finding:
    """Say whether relay attempts are rejected before it is asked."""
    check = "postfix: relaying"
    lists = door.lists
    names = list(lists)
    before = [
        step
        for name in names[: names.index(call.list_name) + 1]
        for step in (lists[name] if name != call.list_name else lists[name][: call.place])
    ]
    if any(step.name in _GUARDS and not step.only_warns for step in before):
        return ok(check, "relay attempts are rejected before greyd is asked")
    everywhere = [step.name for listed in lists.values() for step in listed if not step.only_warns]
    remedy = "main.cf: reject_unauth_destination before check_policy_service"
    if any(name in everywhere for name in _GUARDS):
        return warning(check, "greyd is asked about relay attempts, and remembers them", remedy)
    return error(check, "no reject_unauth_destination: Postfix refuses to work so", remedy)


def findings_of_permits(door: Door, call: PolicyCall) -> list[Finding]:
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


def finding_of_timeout(door: Door, call: PolicyCall) -> Finding:
    """Say how long mail waits for a server that does not answer."""
    check = "postfix: timeout"
    text = call.options.get("timeout") or door.value("smtpd_policy_service_timeout")
    number = seconds(text)
    remedy = f"main.cf: {door.line}"
    if door.postfix.version < _BRACES_SINCE:
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


def finding_of_default_action(door: Door, call: PolicyCall) -> Finding:
    """Say what becomes of mail while the server is away."""
    check = "postfix: default action"
    text = call.options.get("default_action") or door.value("smtpd_policy_service_default_action")
    verb = text.partition(" ")[0].upper()
    remedy = f"main.cf: {door.line}"
    if door.postfix.version < _BRACES_SINCE:
        remedy = "main.cf: smtpd_policy_service_default_action = DUNNO"
    if verb == "DUNNO":
        return ok(check, "DUNNO: mail goes on while greyd is away")
    if verb in ("OK", "PERMIT"):
        return warning(check, f"{text}: while greyd is away nothing below it is asked", remedy)
    if verb.startswith(("5", "REJECT")):
        return error(check, f"{text}: while greyd is away all mail is lost", remedy)
    return warning(check, f"{text}: while greyd is away all mail is deferred", remedy)


def _context(door: Door, call: PolicyCall) -> str:
    return call.context or door.value("smtpd_policy_service_policy_context")


def finding_of_context(door: Door, call: PolicyCall) -> Finding:
    """Say whether strangers' mail is taken for that of own users."""
    check = "postfix: policy context"
    context = _context(door, call)
    if context == "outbound":
        return warning(
            check,
            "outbound: with --learn-outbound nothing of this service is greylisted",
            "main.cf: policy_context=outbound belongs to submission alone",
        )
    return ok(check, context or "none")


def finding_of_delay_reject(door: Door, call: PolicyCall) -> Finding:
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


def _findings_of_connections(door: Door) -> list[Finding]:
    check = "postfix: connections"
    made = []
    idle = seconds(door.value("smtpd_policy_service_max_idle"))
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


def _findings_of_others(door: Door) -> list[Finding]:
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


# Own users ----------------------------------------------------------------------------------------


def findings_of_users(
    postfix: Postfix, listeners: Sequence[Listener], settings: Settings
) -> list[Finding]:
    """Judge the services for own users: whether greyd keeps out, or learns as it is to."""
    services = [each for each in postfix.services if is_for_users(postfix, each)]
    check = "postfix: submission"
    if not services:
        if settings.learn_outbound:
            return [hint(check, "no service for own users: --learn-outbound learns nothing")]
        return []
    return [
        _finding_of_users(
            f"{check} ({service.name})", Door(postfix, service, listeners, settings.learn_outbound)
        )
        for service in services
    ]


def _finding_of_users(check: str, door: Door) -> Finding:
    asked = [call for call in door.calls if _is_asked_of_users(door, call)]
    outbound = [call for call in asked if _context(door, call) == "outbound"]
    if door.learn_outbound and not outbound:
        late = any(_context(door, call) == "outbound" for call in door.calls)
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


def _is_asked_of_users(door: Door, call: PolicyCall) -> bool:
    listed = door.lists[call.list_name]
    before = listed[: call.place]
    permitted = any(step.name == "permit_sasl_authenticated" for step in before)
    return not permitted and call.place < reached(listed)


_AFTER_220 = (
    "postscreen_pipelining_enable",
    "postscreen_non_smtp_command_enable",
    "postscreen_bare_newline_enable",
)


def _findings_of_postscreen(postfix: Postfix) -> list[Finding]:
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
