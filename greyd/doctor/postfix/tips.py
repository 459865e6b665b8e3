"""The six tips of many tutorials against spam, and the order that makes or breaks them.

docs/postfix.md has the reasons, and whom each check hits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from greyd.doctor.findings import Finding, hint, ok
from greyd.doctor.postfix.restrictions import AT_RCPT, reachable_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from greyd.doctor.postfix.restrictions import Restriction

    Lists = Mapping[str, Sequence[Restriction]]

    Value = Callable[[str], str]


IN_LIST = "main.cf, in smtpd_recipient_restrictions before check_policy_service: "

BLACKLISTS = (
    "reject_rbl",
    "reject_rbl_client",
    "reject_rhsbl_client",
    "reject_rhsbl_helo",
    "reject_rhsbl_reverse_client",
    "reject_rhsbl_sender",
    "reject_rhsbl_recipient",
)


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
        BLACKLISTS,
        "reject_rbl_client zen.spamhaus.org=127.0.0.[2..11], reject_rhsbl_sender"
        " dbl.spamhaus.org=127.0.1.[2..99]",
        "hits who shares an address with a spammer; needs a resolver of your own",
    ),
)


class PlacedRestriction(NamedTuple):
    """A step that is reached, and where it stands."""

    list_name: str
    place: int
    step: Restriction


def reachable_restrictions(lists: Lists) -> list[PlacedRestriction]:
    """Return the restrictions of all lists up to RCPT TO that can be reached."""
    return [
        PlacedRestriction(name, place, step)
        for name, listed in lists.items()
        if name in AT_RCPT
        for place, step in enumerate(listed[: reachable_count(listed)])
    ]


def findings_of_tips(lists: Lists, *, greylists: bool, value: Value) -> list[Finding]:
    """Say which tips are followed, and what the others would take."""
    placed = reachable_restrictions(lists)
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


def _finding_of_tip(tip: _Tip, placed: Sequence[PlacedRestriction]) -> Finding:
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


def _with_risk(check: str, tip: _Tip, placed: Sequence[PlacedRestriction], seen: str) -> Finding:
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
