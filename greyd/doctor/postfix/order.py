"""Checks the order of restrictions: what is never reached, and what comes too early or too late."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, hint, ok, warning
from greyd.doctor.postfix.restrictions import AT_RCPT, reachable_count
from greyd.doctor.postfix.tips import BLACKLISTS, reachable_restrictions

if TYPE_CHECKING:
    from greyd.doctor.postfix.restrictions import PolicyCall, Restriction
    from greyd.doctor.postfix.tips import Lists, Value


_OF_OWN_MACHINES = (
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
"""What own machines and users at home are hit by."""

_EXCEPTIONS = ("permit_dnswl_client", "permit_rhswl_client", "check_map")
_PERMITS = ("permit_mynetworks", "permit_sasl_authenticated")


# Order --------------------------------------------------------------------------------------------


def findings_of_order(lists: Lists, call: PolicyCall | None, value: Value) -> list[Finding]:
    """Say whether all checks are reached, and each at the right time."""
    return [
        *_findings_of_dead(lists),
        *_findings_of_sender_domain(lists),
        *_findings_of_exceptions(lists),
        *_findings_of_codes(lists),
        *_findings_of_own(lists, value),
        *(_findings_of_last(lists, call, value) if call else ()),
    ]


def _findings_of_dead(lists: Lists) -> list[Finding]:
    check = "order: reached"
    made = []
    for name, listed in lists.items():
        end = reachable_count(listed)
        if dead := listed[end:]:
            made.append(
                warning(
                    check,
                    f"smtpd_{name}_restrictions: nothing behind “{listed[end - 1]}” is"
                    f" reached: {', '.join(map(str, dead))}",
                    f"main.cf: put “{listed[end - 1]}” at the end, or take it away",
                )
            )
    return made or [ok(check, "no permit or reject stands before other checks")]


def _findings_of_sender_domain(lists: Lists) -> list[Finding]:
    """Explain the order that the tutorial warns of: “below others it does not work”."""
    check = "order: reject_unknown_sender_domain"
    placed = reachable_restrictions(lists)
    at = [i for i, each in enumerate(placed) if each.step.name == "reject_unknown_sender_domain"]
    if not at:
        return []
    before = [each for each in placed[: at[0]] if each.step.rejects]
    others = [each for each in before if not re.search("unauth|recipient", each.step.name)]
    opened = [
        each
        for each in placed[: at[0]]
        if each.list_name == placed[at[0]].list_name
        and each.step.name in ("permit_auth_destination", "permit_mx_backup")
    ]
    if opened:
        return [
            warning(
                check,
                f"{opened[0].step} before it lets mail pass without it",
                f"main.cf: put reject_unknown_sender_domain above {opened[0].step}",
            )
        ]
    if others:
        return [
            ok(
                check,
                f"reached, below {others[0].step.name}: of mail that both would reject the"
                " log names the first one only",
            )
        ]
    return [ok(check, "above the other rejections")]


def _findings_of_exceptions(lists: Lists) -> list[Finding]:
    """Say whether whom you know is let in before a blacklist is asked."""
    check = "order: exceptions from blacklists"
    made = []
    for name, listed in lists.items():
        asked = [i for i, step in enumerate(listed) if step.name in BLACKLISTS and step.rejects]
        if not asked:
            continue
        exceptions = [i for i, step in enumerate(listed) if _is_exception(step)]
        known = "check_client_access texthash:/etc/postfix/known_clients"
        if any(place < asked[0] for place in exceptions):
            made.append(ok(check, f"{listed[exceptions[0]]} stands above the first blacklist"))
        elif exceptions:
            made.append(
                warning(
                    check,
                    f"smtpd_{name}_restrictions: {listed[exceptions[0]]} stands below"
                    f" {listed[asked[0]]}, and saves nobody from it",
                    f"main.cf: put it above {listed[asked[0]].name}",
                )
            )
        else:
            made.append(
                hint(
                    check,
                    f"smtpd_{name}_restrictions: there are none, should a blacklist name"
                    " somebody whose mail you want",
                    f"main.cf, above {listed[asked[0]].name}: {known}",
                )
            )
    return made


def _is_exception(step: Restriction) -> bool:
    """Whether a step can let a client in that a blacklist names."""
    return step.name in _EXCEPTIONS or bool(re.fullmatch(r"check_\w+_access", step.name))


def _findings_of_codes(lists: Lists) -> list[Finding]:
    """Find blacklists of which any answer counts, also the one that says “you may not ask”."""
    bare = [
        each.step
        for each in reachable_restrictions(lists)
        if each.step.name in BLACKLISTS
        and "spamhaus.org" in each.step.argument
        and "=" not in each.step.argument
    ]
    check = "order: answers of blacklists"
    if not bare:
        return []
    codes = "127.0.1.[2..99]" if bare[0].name.startswith("reject_rhsbl") else "127.0.0.[2..11]"
    return [
        warning(
            check,
            f"{bare[0]}: any answer counts. Spamhaus answers 127.255.255.254 to who asks"
            " through a public resolver, and then all mail is rejected",
            f"main.cf: {bare[0]}={codes}",
        )
    ]


def _findings_of_own(lists: Lists, value: Value) -> list[Finding]:
    """Find lists that hit own machines and users: a permit in one list does not help in another."""
    check = "order: own users"
    can_log_in = value("smtpd_sasl_auth_enable").lower() == "yes"
    due = [
        name
        for name, there in zip(_PERMITS, (value("mynetworks"), can_log_in), strict=True)
        if there
    ]
    made = []
    for name in AT_RCPT:
        listed = lists[name][: reachable_count(lists[name])]
        for place, step in enumerate(listed):
            if step.name not in _OF_OWN_MACHINES or step.only_warns:
                continue
            before = {each.name for each in listed[:place]}
            if missing := [permit for permit in due if permit not in before]:
                made.append(
                    warning(
                        check,
                        f"smtpd_{name}_restrictions: {step.name} hits own users and"
                        " machines; a permit in another list does not help",
                        f"main.cf: {', '.join(missing)} at the beginning of this list",
                    )
                )
            break
    return made or [ok(check, "own users and machines pass before the checks of strangers")]


def _findings_of_last(lists: Lists, call: PolicyCall, value: Value) -> list[Finding]:
    """Say whether greyd is asked about mail that is rejected afterwards."""
    check = "order: greylisting last"
    rest = lists[call.list_name][call.place + 1 :]
    names = list(lists)
    after = [name for name in names[names.index(call.list_name) + 1 :] if name in AT_RCPT]
    later = [*rest, *(step for name in after for step in lists[name])]
    rejecting = [
        step
        for step in later
        if step.name.startswith("reject_") and not step.only_warns and "unauth" not in step.name
    ]
    made = []
    if rejecting:
        made.append(
            hint(
                check,
                "greyd is asked, and remembers, before"
                f" {', '.join(dict.fromkeys(map(str, rejecting)))} can reject",
                "main.cf: put check_policy_service behind them",
            )
        )
    else:
        made.append(ok(check, "no check that rejects stands behind it"))
    made.append(_finding_of_unlisted(lists, call, value))
    return made


def _finding_of_unlisted(lists: Lists, call: PolicyCall, value: Value) -> Finding:
    check = "order: unknown recipients"
    before = [step.name for step in lists[call.list_name][: call.place]]
    known = ("reject_unlisted_recipient", "reject_unverified_recipient", "check_recipient_maps")
    if any(name in before for name in known):
        return ok(check, "rejected before greyd is asked")
    if value("smtpd_reject_unlisted_recipient").lower() != "yes":
        return ok(check, "Postfix takes mail for all recipients")
    return hint(
        check,
        "greyd is asked about, and remembers, each address that spammers guess",
        "main.cf: reject_unlisted_recipient before check_policy_service",
    )
