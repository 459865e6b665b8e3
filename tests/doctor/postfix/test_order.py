"""The order of restrictions."""

from __future__ import annotations

import pytest

from greyd.doctor.findings import FindingState as State
from tests.doctor.postfix.configs import (
    LINE,
    after_relay_check,
    judged,
    of,
    recipients,
)


@pytest.mark.parametrize(
    ("text", "check", "state", "said"),
    [
        (f"{LINE} permit reject_rbl_client bl.example", "reached", State.WARNING, "bl.example"),
        (f"{LINE} permit", "reached", State.OK, ""),
        (f"{LINE} defer permit_mynetworks", "reached", State.WARNING, "permit_mynetworks"),
        (f"warn_if_reject reject {LINE} permit", "reached", State.OK, ""),
        (f"defer_if_permit {LINE}", "reached", State.ERROR, "defers all mail"),
        (f"warn_if_reject defer_if_permit {LINE}", "reached", State.OK, ""),
        (f"{LINE} permit defer_if_permit", "reached", State.WARNING, "defer_if_permit"),
        (f"reject_unknown_sender_domain {LINE}", "reject_unknown_sender_domain", State.OK, "above"),
        (f"reject_non_fqdn_sender reject_unknown_sender_domain {LINE}",
         "reject_unknown_sender_domain", State.OK, "below reject_non_fqdn_sender"),
        (f"permit_auth_destination reject_unknown_sender_domain {LINE}",
         "reject_unknown_sender_domain", State.WARNING, "permit_auth_destination"),
        (f"reject_rbl_client bl.example check_client_access cdb:/x {LINE}",
         "exceptions from blacklists", State.WARNING, "cdb:/x"),
        (f"check_client_access cdb:/x reject_rbl_client bl.example {LINE}",
         "exceptions from blacklists", State.OK, "cdb:/x"),
        (f"permit_dnswl_client list.example reject_rbl_client bl.example {LINE}",
         "exceptions from blacklists", State.OK, "list.example"),
        (f"reject_rbl_client bl.example {LINE}", "exceptions from blacklists", State.HINT, "none"),
        (f"reject_rbl_client zen.spamhaus.org {LINE}", "answers of blacklists", State.WARNING,
         "127.255.255.254"),
        (f"reject_rhsbl_sender dbl.spamhaus.org {LINE}", "answers of blacklists", State.WARNING,
         "dbl"),
        (f"{LINE} reject_rbl_client bl.example", "greylisting last", State.HINT, "bl.example"),
        (f"{LINE} warn_if_reject reject_rbl_client bl.example", "greylisting last", State.OK, ""),
        (f"{LINE} reject_unauth_destination", "greylisting last", State.OK, ""),
    ],
)  # fmt: skip
def test_each_fault_of_the_order_is_found(text: str, check: str, state: State, said: str) -> None:
    found = of(judged(after_relay_check(text)), f"order: {check}")
    assert found.state is state
    assert said in found.seen


def test_unknown_recipients_that_reach_greyd_are_a_hint() -> None:
    text = f"permit_mynetworks reject_unauth_destination {LINE}"
    check = "order: unknown recipients"
    assert of(judged(recipients(text)), check).state is State.HINT
    set_ = {**recipients(text), "smtpd_reject_unlisted_recipient": "no"}
    assert of(judged(set_), check).state is State.OK
    assert of(judged(), check).state is State.OK


@pytest.mark.parametrize("list_name", ["client", "helo", "sender"])
def test_a_list_without_permits_rejects_own_users(list_name: str) -> None:
    parameter = f"smtpd_{list_name}_restrictions"
    bare = of(judged({parameter: "reject_unknown_client_hostname"}), "order: own users")
    assert (bare.state, parameter in bare.seen) == (State.WARNING, True)
    assert "permit_mynetworks, permit_sasl_authenticated" in bare.remedy
    half = of(
        judged({parameter: "permit_mynetworks reject_unknown_client_hostname"}),
        "order: own users",
    )
    assert "main.cf: put permit_sasl_authenticated first in" in half.remedy
    late = judged({parameter: "reject_unknown_client_hostname permit_mynetworks"})
    assert of(late, "order: own users").state is State.WARNING
    for harmless in ("reject_non_fqdn_sender", "warn_if_reject reject_unknown_client_hostname"):
        assert of(judged({parameter: harmless}), "order: own users").state is State.OK


def test_checks_in_the_sender_list_come_before_those_in_the_recipient_list() -> None:
    set_ = after_relay_check(LINE) | {
        "smtpd_sender_restrictions": "permit_mynetworks permit_sasl_authenticated"
        " reject_unknown_sender_domain"
    }
    assert of(judged(set_), "order: greylisting last").state is State.OK
