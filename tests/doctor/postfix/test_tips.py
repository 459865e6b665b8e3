"""The six tips."""

from __future__ import annotations

import pytest

from greyd.doctor.findings import FindingState as State
from tests.doctor.postfix.configs import (
    LINE,
    after_relay_check,
    judged,
    of,
)

TIPS = {
    "tips: 1 clients without a PTR record": "reject_unknown_reverse_client_hostname",
    "tips: 2 invalid HELO names": "reject_non_fqdn_helo_hostname",
    "tips: 3 clients whose name and address do not match": "reject_unknown_client_hostname",
    "tips: 4 sender domains without an MX or A record": "reject_unknown_sender_domain",
    "tips: 6 DNS blocklists": "reject_rbl_client zen.spamhaus.org=127.0.0.[2..11]",
}


@pytest.mark.parametrize(("tip", "line"), TIPS.items())
def test_a_missing_tip_is_a_hint_with_its_line(tip: str, line: str) -> None:
    found = of(judged(after_relay_check(LINE)), tip)
    assert found.state is State.HINT
    assert found.seen.startswith("off")
    assert line in found.remedy


@pytest.mark.parametrize(("tip", "line"), TIPS.items())
@pytest.mark.parametrize("list_name", ["client", "helo", "sender", "recipient"])
def test_a_tip_is_on_in_whichever_list(tip: str, line: str, list_name: str) -> None:
    parameter = f"smtpd_{list_name}_restrictions"
    text = f"permit_mynetworks permit_sasl_authenticated reject_unauth_destination {line}"
    found = judged({**after_relay_check(LINE), parameter: f"{text} {LINE}"})
    assert of(found, tip).seen.startswith("on")


@pytest.mark.parametrize(("tip", "line"), TIPS.items())
def test_a_tip_that_is_not_reached_or_only_warns_is_not_on(tip: str, line: str) -> None:
    dead = of(judged(after_relay_check(f"{LINE} permit {line}")), tip)
    assert (dead.state, dead.seen.startswith("off")) == (State.HINT, True)
    tried = of(judged(after_relay_check(f"warn_if_reject {line} {LINE}")), tip)
    assert (tried.state, "only logs" in tried.seen) == (State.HINT, True)


def test_a_tip_that_rejects_legitimate_mail_is_a_hint() -> None:
    found = judged(after_relay_check(f"reject_unknown_client_hostname {LINE}"))
    assert (
        "legitimate mail" in of(found, "tips: 3 clients whose name and address do not match").seen
    )
    text = f"reject_non_fqdn_helo_hostname reject_unknown_helo_hostname {LINE}"
    found = judged(after_relay_check(text))
    assert of(found, "tips: 2 invalid HELO names").state is State.HINT


def test_without_a_required_helo_there_is_a_hint() -> None:
    found = of(judged({"smtpd_helo_required": "no"}), "tips: 2 HELO is required")
    assert found.remedy == "main.cf: smtpd_helo_required = yes"
