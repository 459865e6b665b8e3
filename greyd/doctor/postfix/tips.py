"""Checks which of six common anti-spam tips Postfix's configuration follows.

docs/postfix.md explains each tip, and which legitimate mail it affects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, hint, ok
from greyd.doctor.postfix.config.restrictions import reachable_restrictions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from greyd.doctor.postfix.config.restrictions import PlacedRestriction, Restriction

    Lists = Mapping[str, Sequence[Restriction]]
    """The restriction lists of a service, by name."""
    ValueOf = Callable[[str], str]
    """Returns the value of a parameter of main.cf."""

BLOCKLISTS = (
    "reject_rbl",
    "reject_rbl_client",
    "reject_rhsbl_client",
    "reject_rhsbl_helo",
    "reject_rhsbl_reverse_client",
    "reject_rhsbl_sender",
    "reject_rhsbl_recipient",
)

_WHERE = "main.cf, in smtpd_recipient_restrictions before check_policy_service: "
_TRY_OUT = "main.cf: put warn_if_reject before it; the log then shows what it would reject"


@dataclass(frozen=True, slots=True)
class _Tip:
    number: int
    title: str
    names: Sequence[str]
    """The restrictions that implement the tip; any one of them is enough."""
    line: str
    """The line to add to main.cf."""
    effect: str
    """The legitimate mail that the tip affects."""


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
        "rejects hardly any legitimate mail",
    ),
    _Tip(
        2,
        "invalid HELO names",
        ("reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname"),
        "reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname",
        "rejects printers and scanners: add them to mynetworks. reject_unknown_helo_hostname also"
        " rejects many servers that use their internal name",
    ),
    _Tip(
        3,
        "clients whose name and address do not match",
        ("reject_unknown_client_hostname", "reject_unknown_client"),
        "reject_unknown_client_hostname",
        "rejects much legitimate mail, from small servers whose PTR record has no matching address:"
        " better left out",
    ),
    _Tip(
        4,
        "sender domains without an MX or A record",
        ("reject_unknown_sender_domain", "reject_unknown_address"),
        "reject_unknown_sender_domain",
        "rejects programs that send as root@host.internal",
    ),
    _Tip(
        6,
        "DNS blocklists",
        BLOCKLISTS,
        "reject_rbl_client zen.spamhaus.org=127.0.0.[2..11], reject_rhsbl_sender"
        " dbl.spamhaus.org=127.0.1.[2..99]",
        "rejects senders that share an address with a spammer; it needs a resolver of your own",
    ),
)


def findings_of_tips(lists: Lists, *, greylists: bool, value: ValueOf) -> list[Finding]:
    """Report the tips that are followed; for each other tip, suggest the line to add.

    Args:
        lists: the restriction lists of a service.
        greylists: whether the service calls greyd, which is tip 5.
        value: returns the value of a parameter of main.cf.
    """
    placed = reachable_restrictions(lists)
    made = {tip.number: [_finding_of_tip(tip, placed)] for tip in _TIPS}
    made[2].append(_finding_of_helo_required(value))
    made[5] = [_finding_of_greylisting(greylists=greylists)]
    return [finding for number in sorted(made) for finding in made[number]]


def _finding_of_greylisting(*, greylists: bool) -> Finding:
    check = "tips: 5 greylisting"
    if greylists:
        return ok(check, "on, by greyd")
    return hint(check, "off: see the check “policy service” of the group Postfix")


def _finding_of_tip(tip: _Tip, placed: Sequence[PlacedRestriction]) -> Finding:
    check = f"tips: {tip.number} {tip.title}"
    found = [each.restriction for each in placed if each.restriction.name in tip.names]
    in_force = [each for each in found if not each.only_warns]
    if in_force:
        names = ", ".join(dict.fromkeys(map(str, in_force)))
        return _finding_of_tip_in_force(check, tip, placed, f"on: {names}")
    if found:
        return hint(
            check,
            f"warn_if_reject precedes {found[0].name}, so it only logs",
            "main.cf: remove warn_if_reject once the log shows no legitimate mail",
        )
    return hint(check, f"off; it {tip.effect}", _WHERE + tip.line)


def _finding_of_tip_in_force(
    check: str, tip: _Tip, placed: Sequence[PlacedRestriction], seen: str
) -> Finding:
    """Report a tip that is followed; warn if it rejects legitimate mail."""
    names = {each.restriction.name for each in placed if not each.restriction.only_warns}
    if tip.number == 2 and names & {"reject_unknown_helo_hostname", "reject_unknown_hostname"}:
        return hint(
            check,
            f"{seen}; reject_unknown_helo_hostname rejects many servers that use their internal"
            " name",
            _TRY_OUT,
        )
    if tip.number == 3:
        return hint(check, f"{seen}; it {tip.effect}", _TRY_OUT)
    return ok(check, seen)


def _finding_of_helo_required(value: ValueOf) -> Finding:
    check = "tips: 2 HELO is required"
    if value("smtpd_helo_required").lower() == "yes":
        return ok(check, "smtpd_helo_required = yes")
    return hint(
        check,
        "a client that sends no HELO skips all checks of its HELO name",
        "main.cf: smtpd_helo_required = yes",
    )
