"""Each word of a restriction list is judged as smtpd does; test_postfix_restrictions compares."""

from __future__ import annotations

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.postfix.config.master_cf import MasterService
from greyd.doctor.postfix.config.restriction_table import RESTRICTIONS, Argument
from tests.doctor.postfix.configs import (
    LINE,
    OURS,
    SMTP,
    after_relay_check,
    judged,
    of,
    recipients,
    wrong,
)

CHECK = "postfix: restrictions"

ARGUMENTS = {
    Argument.NONE: "",
    Argument.TABLE: "static:OK",
    Argument.POLICY: "inet:127.0.0.1:9",
    Argument.DOMAIN: "bl.example.org",
    Argument.NUMBER: "5",
}


def test_each_restriction_with_its_argument_is_right() -> None:
    words = [
        f"{each.name} {ARGUMENTS[each.argument]}"
        for each in RESTRICTIONS.values()
        if each.name not in ("permit", "reject", "defer", "check_etrn_access")
    ]
    found = of(judged(after_relay_check(" ".join([*words, LINE]))), CHECK)
    assert (found.state, "Postfix 3.7" in found.seen) == (State.OK, True)


@pytest.mark.parametrize(
    ("text", "seen", "remedy"),
    [
        ("permit_mynetwork", "did you mean permit_mynetworks?", "write permit_mynetworks"),
        ("check_policy_servce inet:127.0.0.1:9", "did you mean check_policy_service?", "write"),
        ("reject_unauth_destinaton", "did you mean reject_unauth_destination?", "write"),
        ("permit_sasl_auth", "did you mean permit_sasl_authenticated?", "write"),
        ("check_client_acces hash:/a", "did you mean check_client_access?", "write"),
        ("reject_unknown_recipient", "did you mean reject_unknown_recipient_domain?", "write"),
        ("permit_sasl", "did you mean permit_sasl_authenticated?", "write"),
        ("unauth_destination", "did you mean reject_unauth_destination?", "write"),
        ("mynetworks", "did you mean permit_mynetworks?", "write"),
        ("slowlisst", "did you mean slowlist?", "write slowlist"),
        ("zzz", "neither a restriction of Postfix 3.7 nor a class", "smtpd_restriction_classes"),
        ("permit_", "neither a restriction", ""),
        ("rejectall", "neither a restriction", ""),
        ("# local", "'#' does not begin a comment", "a line of its own"),
        ("inet:127.0.0.1:9", "without check_policy_service", "check_policy_service inet"),
        ("permit_mynetworks;", "did you mean permit_mynetworks?", "write"),
        ("\\", "does not continue a line", "remove the backslashes"),
        ("permit_sasl_authenticated,\u00a0reject_non_fqdn_sender", "did you mean reject_non", ""),
        ("\ufeffpermit_mynetworks", "did you mean permit_mynetworks?", ""),
        ("check_policy_service:inet:127.0.0.1:9", "lacks a blank", "check_policy_service inet:"),
        ("check_client_access:hash:/a", "lacks a blank", "check_client_access hash:/a"),
        ("check_policy_service 127.0.0.1:9", "is not a policy server", "inet:127.0.0.1:9"),
        ("check_policy_service [::1]:9", "is not a policy server", "inet:[::1]:9"),
        ("check_policy_service inet: 127.0.0.1:9", "“inet:” is not a policy server", ""),
        ("permit mynetworks", "permits all mail; did you mean permit_mynetworks?", "write permit_"),
        ("reject rhsbl_client x.example", "rejects all mail; did you mean reject_rhsbl", "write"),
        ("defer unauth_destination", "defers all mail; did you mean defer_unauth", "write"),
        ("OK", "an action for access tables", "remove OK"),
        ("DUNNO", "an action for access tables", "remove DUNNO"),
        ("check_client_access", "the list ends there", "argument"),
        ("check_client_access permit", "but “permit” follows", "argument"),
        ("check_policy_service", "the list ends there", "argument"),
        ("check_policy_service permit", "smtpd does not start", "argument"),
        ("check_policy_service { inet:127.0.0.1:9, timout=5 }", "did you mean timeout?", ""),
        ("check_policy_service { inet:127.0.0.1:9, timeout=x }", "is not a time", ""),
        ("check_policy_service inet:127.0.0.1", "has no port", ""),
        ("check_policy_service tcp:127.0.0.1:9", "is not a policy server", ""),
        ("sleep long", "but “long” follows", ""),
        ("reject_rbl_client permit_mynetworks", "but “permit_mynetworks” follows", ""),
        ("reject_rbl_client", "the list ends there", ""),
        ("check_sender_access { static:OK }", "only check_ccert_access", ""),
        ("check_client_access pgsq:/a", "no tables of type 'pgsq'", "postconf -m"),
        ("pgsq:/a", "no tables of type 'pgsq'", "postconf -m"),
        ("check_client_access proxy:pgsq:/a", "no tables of type 'pgsq'", "postconf -m"),
        ("check_client_access hash:/gone", "no such file as /gone.db", "postmap hash:/gone"),
        ("check_client_access cidr:/gone", "no such file as /gone", "create /gone"),
        ("check_client_access proxy:cidr:/gone", "no such file as /gone", "create /gone"),
        ("check_policy_service { inet:127.0.0.1:9", "a brace is not closed", "shows the list"),
        ("looping", "the class looping contains itself", "remove looping"),
        ("slowlist", "class slowlist: 'permit_mynetwork'", "write"),
    ],
)
def test_a_word_that_smtpd_cannot_use_is_an_error(text: str, seen: str, remedy: str) -> None:
    found = [
        each
        for each in judged(
            after_relay_check(f"{LINE} {text}"),
            classes={"slowlist": "permit_mynetwork", "looping": "permit_mynetworks looping"},
            table_types=frozenset({"hash", "cidr", "proxy", "static"}),
            missing_files=frozenset({"/gone", "/gone.db"}),
        )
        if each.check.startswith(CHECK) and each.state is State.ERROR
    ]
    assert any(seen in each.seen and remedy in each.remedy for each in found), found


@pytest.mark.parametrize(
    "text",
    [
        "PERMIT_MYNETWORKS",
        "check_client_access hash:/there",
        "check_client_access\n hash:/there,,\t permit_mynetworks",
        "hash:/there",
        "check_ccert_access { static:OK, { search_order = subject_cn } }",
        "reject_rbl_client bl.example.org=127.0.0.[2..4;9]",
        "check_policy_service { unix:private/x, timeout=5s { default_action = 451 4.3.5 later } }",
        "check_sender_access mysql:/a",
        "good",
    ],
)
def test_a_word_that_smtpd_can_use_is_right(text: str) -> None:
    found = judged(
        after_relay_check(f"{text} {LINE}"),
        classes={"good": "reject_non_fqdn_sender, check_client_access static:OK"},
        missing_files=frozenset({"/gone"}),
    )
    assert {each.state for each in found if each.check == CHECK} == {State.OK}


@pytest.mark.parametrize(
    ("word", "version", "state"),
    [
        ("check_client_a_access static:OK", "2.11.3", State.ERROR),
        ("check_client_a_access static:OK", "3.0.0", State.OK),
        ("reject_known_sender_login_mismatch", "2.10.9", State.ERROR),
        ("reject_known_sender_login_mismatch", "2.11.0", State.OK),
        ("permit_dnswl_client a.example", "2.7.1", State.ERROR),
        ("permit_naked_ip_address", "3.8.1", State.OK),
        ("permit_naked_ip_address", "3.9.0", State.ERROR),
        ("check_relay_domains", "3.10.1", State.ERROR),
        ("reject_maps_rbl", "3.11-20250101", State.ERROR),
        ("check_policy_service { inet:127.0.0.1:9, timeout=9s }", "2.11.3", State.ERROR),
        # An unknown version is no reason for an error.
        ("permit_naked_ip_address", "", State.OK),
        ("check_client_a_access static:OK", "", State.OK),
    ],
)
def test_a_word_is_judged_by_the_version_of_postfix(word: str, version: str, state: State) -> None:
    set_ = after_relay_check(f"{word} check_policy_service {OURS}") | {"mail_version": version}
    assert state in {each.state for each in judged(set_) if each.check == CHECK}
    assert (State.ERROR in {each.state for each in judged(set_) if each.check == CHECK}) == (
        state is State.ERROR
    )


@pytest.mark.parametrize("list_name", ["data", "end_of_data"])
def test_a_bare_table_after_the_recipients_is_an_error(list_name: str) -> None:
    found = judged({f"smtpd_{list_name}_restrictions": "hash:/there"})
    assert "what to look up" in of(found, CHECK).seen
    for other in ("client", "helo", "sender", "etrn"):
        assert wrong(judged({f"smtpd_{other}_restrictions": "hash:/there"})) == {}


@pytest.mark.parametrize(
    ("list_name", "word", "delayed", "state"),
    [
        ("client", "reject_unauth_destination", "yes", State.OK),
        ("client", "reject_unauth_destination", "no", State.WARNING),
        ("client", "check_helo_access static:OK", "no", State.WARNING),
        ("client", "permit_mynetworks", "no", State.OK),
        ("helo", "reject_unknown_sender_domain", "no", State.WARNING),
        ("helo", "reject_non_fqdn_helo_hostname", "no", State.OK),
        ("sender", "check_recipient_access static:OK", "no", State.WARNING),
        ("sender", "check_helo_access static:OK", "no", State.OK),
        ("recipient", "check_etrn_access static:OK", "yes", State.WARNING),
        ("etrn", "check_etrn_access static:OK", "yes", State.OK),
        ("etrn", "check_sender_access static:OK", "yes", State.WARNING),
        ("data", "reject_unauth_pipelining", "yes", State.OK),
        ("data", "reject_unlisted_recipient", "yes", State.WARNING),
    ],
)
def test_a_restriction_that_does_nothing_in_its_list_is_a_warning(
    list_name: str, word: str, delayed: str, state: State
) -> None:
    set_ = {"smtpd_delay_reject": delayed, "smtpd_sasl_auth_enable": "no"}
    name = f"smtpd_{list_name}_restrictions"
    set_[name] = f"{word} reject_unauth_destination" if list_name == "recipient" else word
    found = [each for each in judged(set_) if each.check == CHECK]
    assert {each.state for each in found} == {state}


def test_a_word_that_is_never_reached_is_a_warning() -> None:
    found = of(judged(after_relay_check(f"{LINE} permit permit_mynetwork")), CHECK)
    assert (found.state, "if it were reached" in found.seen) == (State.WARNING, True)


@pytest.mark.parametrize(
    ("relay", "recipient", "state"),
    [
        ("", "permit_mynetworks", State.ERROR),
        ("", "permit, reject", State.ERROR),
        ("", "warn_if_reject reject_unauth_destination", State.ERROR),
        ("", "", State.ERROR),
        ("permit_mynetworks, defer_unauth_destination", "", State.OK),
        ("", "permit_mynetworks, reject", State.OK),
        ("", "defer_if_permit", State.OK),
        ("", "closed", State.OK),
    ],
)
def test_without_protection_against_relaying_smtpd_does_not_start(
    relay: str, recipient: str, state: State
) -> None:
    set_ = recipients(recipient) | {"smtpd_relay_restrictions": relay}
    found = judged(set_, classes={"closed": "permit_mynetworks, reject"})
    seen = [each for each in found if each.check == CHECK and "does not start" in each.seen]
    assert bool(seen) == (state is State.ERROR)


def test_an_overlong_list_is_not_reported_as_right() -> None:
    found = judged(after_relay_check("permit_mynetworks " * 1001))
    states = {each.state for each in found if each.check == CHECK}
    assert states == {State.NOT_CHECKED}


def test_classes_are_judged_for_each_service() -> None:
    set_ = {"smtpd_restriction_classes": "good, gone-class"}
    found = of(judged(set_, classes={"good": "permit_mynetworks"}), CHECK)
    assert (found.state, "gone-class has no definition" in found.seen) == (State.ERROR, True)
    own = MasterService("2525", overrides={"smtpd_restriction_classes": "other"})
    found = judged(services=[SMTP, own], classes={"good": "permit_mynetworks"})
    assert "other has no definition" in of(found, f"{CHECK} (2525)").seen
    assert of(found, f"{CHECK} (smtp)").state is State.OK
    set_ = {"smtpd_restriction_classes": "reject"}
    found = of(judged(set_, classes={"reject": "permit"}), CHECK)
    assert (found.state, "also a restriction" in found.seen) == (State.WARNING, True)
