"""Finds what else defers new mail: other policy servers, milters, and postscreen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, hint, not_checked, ok, warning
from greyd.doctor.postfix.config.greylisting_products import greylisting_product, program_of
from greyd.doctor.postfix.config.restrictions import (
    parameter_of,
    parse_policy,
    parse_restrictions,
    policy_calls,
    split_words,
)
from greyd.doctor.postfix.fix.edits import ValueEdit, replaced
from greyd.doctor.postfix.policy_service import class_with_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greyd.doctor.postfix.config.greylisting_products import Product
    from greyd.doctor.postfix.config.postconf import PostfixConfig
    from greyd.doctor.postfix.fix.edits import Edits
    from greyd.doctor.postfix.rspamd import RspamdGreylisting
    from greyd.doctor.postfix.smtpd import CheckedService

_CHECK = "postfix: other greylisting"


_NOT_GREYLISTING = re.compile(
    r"policyd?-?spf|spf-?policyd?|policyd-weight|quota|postfwd|postsrsd|opendkim|opendmarc|openarc"
    r"|dkim|dmarc|clamav|clamsmtp|spamass|amavis|sympa|^inet:.*:(12525|12340)$",
    re.IGNORECASE,
)
"""Programs that Postfix often calls, and that do not greylist."""

_RSPAMD = re.compile(r"rspamd|^inet:.*:1133[234]$", re.IGNORECASE)

_TESTS_AFTER_GREETING = (
    "postscreen_pipelining_enable",
    "postscreen_non_smtp_command_enable",
    "postscreen_bare_newline_enable",
)


def endpoints_of_others(postfix: PostfixConfig) -> list[str]:
    """Return the endpoints of all policy servers and milters of a configuration, each once."""
    found = []
    for service in postfix.services:
        found += [call.endpoint for call in policy_calls(postfix.lists(service))]
        found += _milters(postfix.value(service, "smtpd_milters"))
    return list(dict.fromkeys([*found, *(endpoint for _, endpoint in _calls_of_classes(postfix))]))


def calls_rspamd(postfix: PostfixConfig) -> bool:
    """Whether one of the endpoints looks like rspamd's."""
    return any(
        _RSPAMD.search(program_of(postfix, each) or each) for each in endpoints_of_others(postfix)
    )


def findings_of_double_waiting(
    service: CheckedService, rspamd: RspamdGreylisting | None
) -> list[Finding]:
    """Check that nothing else greylists the mail of a service, and that greyd is called once."""
    if not service.calls and not class_with_call(service):
        return []
    made = list(_findings_of_callees(service, rspamd))
    if len(service.calls) > 1:
        made.append(
            hint(
                _CHECK,
                f"Postfix calls greyd {len(service.calls)} times per recipient",
                "main.cf: keep one call",
            )
        )
    if made:
        return made
    return [ok(_CHECK, "no other policy server, and no milter that greylists")]


def _findings_of_callees(
    service: CheckedService, rspamd: RspamdGreylisting | None
) -> Iterator[Finding]:
    for place, endpoint in dict.fromkeys(_callees(service)):
        program = program_of(service.postfix, endpoint)
        described = f"{place}: {endpoint}"
        if _RSPAMD.search(program or endpoint):
            yield _finding_of_rspamd(described, program, rspamd)
        elif product := greylisting_product(endpoint, program):
            edits = _edits_without(service, place, endpoint)
            yield _finding_of_product(described, endpoint, place, product, edits)
        elif not _NOT_GREYLISTING.search(program or endpoint):
            yield not_checked(
                _CHECK,
                f"{described}: it is unknown whether this program greylists too",
                "make sure that it does not, or mail waits twice",
            )


def _callees(service: CheckedService) -> Iterator[tuple[str, str]]:
    for call in service.other_calls:
        if call.list_name != "etrn":
            yield parameter_of(call.list_name), call.endpoint
    for name, endpoint in _calls_of_classes(service.postfix):
        if not service.is_greyd(endpoint) and not any(
            call.endpoint == endpoint for call in service.other_calls
        ):
            yield f"class {name}", endpoint
    for endpoint in _milters(service.value("smtpd_milters")):
        yield "smtpd_milters", endpoint


def _calls_of_classes(postfix: PostfixConfig) -> Iterator[tuple[str, str]]:
    for name, text in postfix.classes.items():
        listed = parse_restrictions(text, {}, braces=postfix.has_braces)
        for call in policy_calls({name: listed}):
            yield name, call.endpoint


def _milters(text: str) -> list[str]:
    """Return the endpoints in ``smtpd_milters``; a milter with options is in braces."""
    return [parse_policy(word)[0] for word in split_words(text)]


def _edits_without(service: CheckedService, place: str, endpoint: str) -> Edits:
    """Return the edits that remove a milter, or the calls of a policy server."""
    if place == "smtpd_milters":
        words = split_words(service.value(place))
        return tuple(
            edit
            for word in words
            if parse_policy(word)[0] == endpoint
            for edit in replaced(place, word)
        )
    return tuple(
        edit
        for listed in service.lists.values()
        for each in listed
        if each.name == "check_policy_service" and parse_policy(each.argument)[0] == endpoint
        for edit in replaced(each.in_class or place, each)
    )


def _finding_of_product(
    described: str, endpoint: str, place: str, product: Product, edits: Edits
) -> Finding:
    if place == "smtpd_milters":
        remedy = f"main.cf: remove {endpoint} from smtpd_milters"
    else:
        remedy = f"main.cf: remove check_policy_service {endpoint}"
    if product.module:
        return warning(
            _CHECK,
            f"{described} looks like {product.name}: if {product.module} is on, new mail waits"
            " twice",
            f"switch {product.module} off; or {remedy}",
        )
    seen = f"{described} looks like {product.name}: new mail waits twice"
    return warning(_CHECK, seen, remedy, edits)


def _finding_of_rspamd(described: str, program: str, rspamd: RspamdGreylisting | None) -> Finding:
    default = "on by default if it has a Redis; not checked"
    if rspamd is None or rspamd.is_on is None:
        state = f"{default}: {rspamd.reason}" if rspamd else default
    elif not _RSPAMD.search(program):
        # E.g. it is in a container, and rspamd's program here has another configuration.
        state = f"{default}, as no rspamd process appears to listen there"
    elif rspamd.is_on:
        state = rspamd.reason
    else:
        return ok(_CHECK, f"{described} is rspamd, and its greylist module is {rspamd.reason}")
    return warning(
        _CHECK,
        f"{described} looks like rspamd, whose greylist module ({state}) also defers new mail above"
        " its threshold: such mail waits twice",
        "/etc/rspamd/local.d/greylist.conf: enabled = false; or leave greylisting to rspamd",
    )


# postscreen ---------------------------------------------------------------------------------------


def findings_of_postscreen(postfix: PostfixConfig) -> list[Finding]:
    """Check that postscreen's after-greeting tests, which defer each new client, are off."""
    check = "postfix: postscreen"
    made = []
    for service in postfix.other_services:
        if service.program != "postscreen":
            continue
        enabled = [
            name
            for name in _TESTS_AFTER_GREETING
            if _is_yes(service.overrides, postfix.parameters, name)
        ]
        if enabled:
            made.append(
                warning(
                    check,
                    f"{service.name}: {', '.join(enabled)}: postscreen and greyd each defer a new"
                    " client once",
                    f"main.cf: {enabled[0]} = no"
                    if enabled[0] not in service.overrides
                    else f"master.cf: remove -o {enabled[0]}={service.overrides[enabled[0]]}",
                    tuple(
                        ValueEdit(
                            each,
                            "no",
                            f"{service.name}/{service.kind}" if each in service.overrides else "",
                        )
                        for each in enabled
                    ),
                )
            )
        else:
            made.append(ok(check, f"{service.name}: its tests after the greeting are off"))
    return made


def _is_yes(overrides: Mapping[str, str], parameters: Mapping[str, str], name: str) -> bool:
    return overrides.get(name, parameters.get(name, "")).lower() == "yes"
