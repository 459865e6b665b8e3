"""The six tips of many tutorials against spam, and the order that makes or breaks them.

docs/postfix.md has the reasons, and whom each check hits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from greyd.doctor.findings import Finding, hint, ok, warning
from greyd.doctor.postfix.restrictions import AT_RCPT, reached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from greyd.doctor.postfix.restrictions import PolicyCall, Step

    Lists = Mapping[str, Sequence[Step]]
    Value = Callable[[str], str]

IN_LIST = "main.cf, in smtpd_recipient_restrictions before check_policy_service: "

_BLACKLISTS = (
    "reject_rbl",
    "reject_rbl_client",
    "reject_rhsbl_client",
    "reject_rhsbl_helo",
    "reject_rhsbl_reverse_client",
    "reject_rhsbl_sender",
    "reject_rhsbl_recipient",
)

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


class _Tip(NamedTuple):
    number: int
    what: str
    names: Sequence[str]
    line: str
    risk: str


_TIPS = (
    _Tip(
        1,
        "clients without a PTR record",
        (
            "reject_unknown_reverse_client_hostname",
            "reject_unknown_client_hostname",
            "reject_unknown_client",
        ),
        "reject_unknown_reverse_client_hostname",
        "hits hardly any real mail",
    ),
    _Tip(
        2,
        "HELO names that are none",
        ("reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname"),
        "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
        "hits printers and scanners: put them into mynetworks. reject_unknown_helo_hostname, too,"
        " hits many servers that say their internal name",
    ),
    _Tip(
        3,
        "clients whose name and address do not match",
        ("reject_unknown_client_hostname", "reject_unknown_client"),
        "reject_unknown_client_hostname",
        "rejects much real mail, of small servers whose PTR record leads nowhere: better left out",
    ),
    _Tip(
        4,
        "sender domains that no answer can reach",
        ("reject_unknown_sender_domain", "reject_unknown_address"),
        "reject_unknown_sender_domain",
        "hits programs that send as root@host.internal",
    ),
    _Tip(
        6,
        "DNS blocklists",
        _BLACKLISTS,
        "reject_rbl_client zen.spamhaus.org=127.0.0.[2..11], reject_rhsbl_sender"
        " dbl.spamhaus.org=127.0.1.[2..99]",
        "hits who shares an address with a spammer; needs a resolver of your own",
    ),
)


class _Placed(NamedTuple):
    """A step that is reached, and where it stands."""

    list_name: str
    place: int
    step: Step


def _in_force(lists: Lists) -> list[_Placed]:
    return [
        _Placed(name, place, step)
        for name, listed in lists.items()
        if name in AT_RCPT
        for place, step in enumerate(listed[: reached(listed)])
    ]


def findings_of_tips(lists: Lists, *, greylists: bool, value: Value) -> list[Finding]:
    """Say which tips are followed, and what the others would take."""
    placed = _in_force(lists)
    made = [_finding_of_tip(tip, placed) for tip in _TIPS]
    made.insert(2, _finding_of_helo_required(value))
    five = "tips: 5 greylisting"
    made.insert(
        -1,
        ok(five, "on, by greyd")
        if greylists
        else hint(five, "off: see “policy service” of the group postfix"),
    )
    return made


def _finding_of_tip(tip: _Tip, placed: Sequence[_Placed]) -> Finding:
    check = f"tips: {tip.number} {tip.what}"
    found = [each for each in placed if each.step.name in tip.names]
    on = [each for each in found if not each.step.only_warns]
    if on:
        names = ", ".join(dict.fromkeys(str(each.step) for each in on))
        return _with_risk(check, tip, placed, f"on: {names}")
    if found:
        return hint(
            check,
            f"only tried out: {found[0].step.name} stands behind warn_if_reject",
            "main.cf: take warn_if_reject away once the log shows no real mail",
        )
    return hint(check, f"off; it {tip.risk}", IN_LIST + tip.line)


def _with_risk(check: str, tip: _Tip, placed: Sequence[_Placed], seen: str) -> Finding:
    """Say of a tip that is on what else is to be known of it."""
    names = {each.step.name for each in placed if not each.step.only_warns}
    if tip.number == 2 and names & {"reject_unknown_helo_hostname", "reject_unknown_hostname"}:
        return hint(
            check,
            f"{seen}; reject_unknown_helo_hostname hits many servers that say their internal name",
            "main.cf: warn_if_reject before it shows whom",
        )
    if tip.number == 3:
        return hint(check, f"{seen}; it {tip.risk}", "main.cf: warn_if_reject before it shows whom")
    return ok(check, seen)


def _finding_of_helo_required(value: Value) -> Finding:
    check = "tips: 2 HELO is required"
    if value("smtpd_helo_required").lower() == "yes":
        return ok(check, "smtpd_helo_required = yes")
    return hint(
        check,
        "who says no HELO passes all checks of its name",
        "main.cf: smtpd_helo_required = yes",
    )


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
        end = reached(listed)
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
    placed = _in_force(lists)
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
        asked = [i for i, step in enumerate(listed) if step.name in _BLACKLISTS and step.rejects]
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


def _is_exception(step: Step) -> bool:
    """Whether a step can let a client in that a blacklist names."""
    return step.name in _EXCEPTIONS or bool(re.fullmatch(r"check_\w+_access", step.name))


def _findings_of_codes(lists: Lists) -> list[Finding]:
    """Find blacklists of which any answer counts, also the one that says “you may not ask”."""
    bare = [
        each.step
        for each in _in_force(lists)
        if each.step.name in _BLACKLISTS
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
        listed = lists[name][: reached(lists[name])]
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
