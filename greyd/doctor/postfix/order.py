"""Checks the order of restrictions: those never reached, and those too early or too late."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, ok, warning
from greyd.doctor.postfix.config.restrictions import (
    AT_RCPT,
    parameter_of,
    reachable_count,
    reachable_restrictions,
)
from greyd.doctor.postfix.fix.edits import ListEdit, Place, moved, replaced
from greyd.doctor.postfix.tips import BLOCKLISTS

if TYPE_CHECKING:
    from greyd.doctor.postfix.config.restrictions import PolicyCall, Restriction
    from greyd.doctor.postfix.fix.edits import Edits
    from greyd.doctor.postfix.tips import Lists, ValueOf

_FOR_STRANGERS = (
    "reject_unknown_client_hostname",
    "reject_unknown_client",
    "reject_unknown_reverse_client_hostname",
    "reject_invalid_helo_hostname",
    "reject_invalid_hostname",
    "reject_non_fqdn_helo_hostname",
    "reject_non_fqdn_hostname",
    "reject_unknown_helo_hostname",
    "reject_unknown_hostname",
    "reject_rbl_client",
    "reject_rbl",
    "reject_rhsbl_client",
    "reject_rhsbl_helo",
    "reject_rhsbl_reverse_client",
)
"""Restrictions that may also reject the site's own machines, and its users at home."""

_EXCEPTIONS = ("permit_dnswl_client", "permit_rhswl_client", "check_map")
_PERMITS = ("permit_mynetworks", "permit_sasl_authenticated")


def findings_of_order(lists: Lists, call: PolicyCall | None, value: ValueOf) -> list[Finding]:
    """Judge the order of the lists; ``call`` is the call of greyd, if the lists have one."""
    return [
        *_findings_of_unreachable(lists),
        *_findings_of_sender_domain(lists),
        *_findings_of_exceptions(lists),
        *_findings_of_answers(lists),
        *_findings_of_own_users(lists, value),
        *(
            (_finding_of_last(lists, call), _finding_of_unlisted(lists, call, value))
            if call
            else ()
        ),
    ]


def _findings_of_unreachable(lists: Lists) -> list[Finding]:
    """Find restrictions that are never reached, because an earlier one ends the list."""
    check = "order: reached"
    made = []
    for name, restrictions in lists.items():
        count = reachable_count(restrictions)
        if unreachable := restrictions[count:]:
            end = restrictions[count - 1]
            made.append(
                warning(
                    check,
                    f"{parameter_of(name)}: “{end}” ends the list, so these are never reached:"
                    f" {', '.join(map(str, unreachable))}",
                    f"main.cf: move “{end}” to the end, or remove it",
                    _edits_of_early_end(name, end),
                )
            )
        made += [
            error(
                check,
                f"{parameter_of(name)}: {each.name} defers all mail that Postfix would accept",
                f"main.cf: remove {each.name}",
                replaced(each.in_class or parameter_of(name), each),
            )
            for each in restrictions[:count]
            if each.name == "defer_if_permit" and not each.only_warns
        ]
    return made or [ok(check, "no permit or reject precedes other checks")]


def _edits_of_early_end(name: str, end: Restriction) -> Edits:
    """Return the edits that move a permit to the end of its list, or remove another end."""
    if end.in_class:
        return ()
    if end.name == "permit" and not end.only_warns:
        return moved(parameter_of(name), end, ListEdit(parameter_of(name), new=("permit",)))
    return replaced(parameter_of(name), end)


def _findings_of_sender_domain(lists: Lists) -> list[Finding]:
    """Check for reject_unknown_sender_domain, which some tutorials put first.

    It also works after other rejections, but the log then names the first that applies.
    """
    check = "order: reject_unknown_sender_domain"
    placed = reachable_restrictions(lists)
    found = [each for each in placed if each.restriction.name == "reject_unknown_sender_domain"]
    if not found:
        return []
    before = placed[: placed.index(found[0])]
    permits = [
        each.restriction
        for each in before
        if each.list_name == found[0].list_name
        and each.restriction.name in ("permit_auth_destination", "permit_mx_backup")
    ]
    if permits:
        return [
            warning(
                check,
                f"{permits[0]} precedes it, so mail skips it",
                f"main.cf: move reject_unknown_sender_domain above {permits[0]}",
                moved(
                    parameter_of(found[0].list_name),
                    found[0].restriction,
                    ListEdit(
                        parameter_of(found[0].list_name),
                        new=(str(found[0].restriction),),
                        before=str(permits[0]),
                    ),
                ),
            )
        ]
    rejections = [
        each.restriction
        for each in before
        if each.restriction.rejects and not re.search("unauth|recipient", each.restriction.name)
    ]
    if rejections:
        return [
            ok(
                check,
                f"reached, below {rejections[0].name}: where both reject, the log names only the"
                " first",
            )
        ]
    return [ok(check, "above the other rejections")]


def _findings_of_exceptions(lists: Lists) -> list[Finding]:
    """Check that known clients are permitted before Postfix queries a blocklist."""
    check = "order: exceptions from blacklists"
    made = []
    for name, restrictions in lists.items():
        blocklists = [
            index
            for index, each in enumerate(restrictions)
            if each.name in BLOCKLISTS and each.rejects
        ]
        if not blocklists:
            continue
        first = restrictions[blocklists[0]]
        exceptions = [index for index, each in enumerate(restrictions) if _is_exception(each)]
        if any(index < blocklists[0] for index in exceptions):
            made.append(ok(check, f"{restrictions[exceptions[0]]} precedes the first blocklist"))
        elif exceptions:
            made.append(
                warning(
                    check,
                    f"{parameter_of(name)}: {restrictions[exceptions[0]]} comes after {first}, too"
                    " late to exempt anybody",
                    f"main.cf: move it above {first.name}",
                    moved(
                        parameter_of(name),
                        restrictions[exceptions[0]],
                        ListEdit(
                            parameter_of(name),
                            new=(str(restrictions[exceptions[0]]),),
                            before=str(first),
                        ),
                    ),
                )
            )
        else:
            made.append(
                hint(
                    check,
                    f"{parameter_of(name)}: none, if a blocklist ever lists a sender that you want",
                    f"main.cf, above {first.name}:"
                    " check_client_access texthash:/etc/postfix/known_clients",
                )
            )
    return made


def _is_exception(restriction: Restriction) -> bool:
    """Whether a restriction can permit a client that is on a blocklist."""
    name = restriction.name
    return name in _EXCEPTIONS or bool(re.fullmatch(r"check_\w+_access", name))


def _findings_of_answers(lists: Lists) -> list[Finding]:
    """Find blocklists that reject on any answer, even on Spamhaus's “query refused”."""
    bare = [
        each.restriction
        for each in reachable_restrictions(lists)
        if each.restriction.name in BLOCKLISTS
        and "spamhaus.org" in each.restriction.argument
        and "=" not in each.restriction.argument
    ]
    if not bare:
        return []
    codes = _codes(bare[0])
    return [
        warning(
            "order: answers of blacklists",
            f"{bare[0]}: Postfix treats every answer as a listing. Spamhaus answers"
            " 127.255.255.254 to queries from a public resolver, so Postfix would reject all mail",
            f"main.cf: {bare[0]}={codes}",
            tuple(
                edit
                for each in reachable_restrictions(lists)
                if each.restriction in bare
                for edit in replaced(
                    each.restriction.in_class or parameter_of(each.list_name),
                    each.restriction,
                    f"{each.restriction}={_codes(each.restriction)}",
                )
            ),
        )
    ]


def _codes(restriction: Restriction) -> str:
    """Return the answers of Spamhaus that mean a listing."""
    is_by_domain = restriction.name.startswith("reject_rhsbl")
    return "127.0.1.[2..99]" if is_by_domain else "127.0.0.[2..11]"


def _findings_of_own_users(lists: Lists, value: ValueOf) -> list[Finding]:
    """Find lists that reject own users or machines; a permit ends only the list that it is in."""
    check = "order: own users"
    has_logins = value("smtpd_sasl_auth_enable").lower() == "yes"
    needed = [
        permit
        for permit, is_needed in zip(_PERMITS, (value("mynetworks"), has_logins), strict=True)
        if is_needed
    ]
    made = []
    for name in AT_RCPT:
        restrictions = lists[name][: reachable_count(lists[name])]
        for index, each in enumerate(restrictions):
            if each.name not in _FOR_STRANGERS or each.only_warns:
                continue
            before = {other.name for other in restrictions[:index]}
            if missing := [permit for permit in needed if permit not in before]:
                made.append(
                    warning(
                        check,
                        f"{parameter_of(name)}: {each.name} also rejects your own users and"
                        " hosts; a permit applies only to the list that contains it",
                        f"main.cf: put {', '.join(missing)} first in {parameter_of(name)}",
                        (ListEdit(parameter_of(name), new=tuple(missing), place=Place.FIRST),),
                    )
                )
            break
    return made or [
        ok(check, "your users and hosts are permitted before the restrictions for strangers")
    ]


def _finding_of_last(lists: Lists, call: PolicyCall) -> Finding:
    """Check that no restriction after the call of greyd can reject mail."""
    check = "order: greylisting last"
    names = list(lists)
    later_lists = [name for name in names[names.index(call.list_name) + 1 :] if name in AT_RCPT]
    later = [
        *lists[call.list_name][call.index + 1 :],
        *(each for name in later_lists for each in lists[name]),
    ]
    rejections = [
        each
        for each in later
        if each.name.startswith("reject_") and not each.only_warns and "unauth" not in each.name
    ]
    if not rejections:
        return ok(check, "no check after it rejects mail")
    return hint(
        check,
        "Postfix calls greyd, which stores an entry, before"
        f" {', '.join(dict.fromkeys(map(str, rejections)))} can reject the mail",
        "main.cf: move check_policy_service after them",
    )


def _finding_of_unlisted(lists: Lists, call: PolicyCall, value: ValueOf) -> Finding:
    """Check that Postfix rejects unknown recipients before it calls greyd."""
    check = "order: unknown recipients"
    before = {each.name for each in lists[call.list_name][: call.index]}
    if before & {
        "reject_unlisted_recipient",
        "reject_unverified_recipient",
        "check_recipient_maps",
    }:
        return ok(check, "Postfix rejects them before it calls greyd")
    if value("smtpd_reject_unlisted_recipient").lower() != "yes":
        return ok(check, "Postfix accepts mail for all recipients")
    return hint(
        check,
        "Postfix calls greyd, which stores an entry, for every address that a spammer guesses",
        "main.cf: reject_unlisted_recipient before check_policy_service",
    )
