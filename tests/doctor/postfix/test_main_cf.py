"""A good configuration has no faults; services are judged by what they are for."""

from __future__ import annotations

import pytest

from greyd.config.settings import Settings
from greyd.doctor.findings import FindingState as State
from greyd.doctor.postfix.config.master_cf import MasterService
from greyd.doctor.postfix.config.postconf import PostfixConfig
from greyd.doctor.postfix.recommended import main_cf, policy_service
from greyd.doctor.postfix.smtpd import inbound_services
from tests.doctor.postfix.configs import (
    DEFAULTS,
    LINE,
    OURS,
    SMTP,
    USERS,
    after_relay_check,
    judged,
    of,
    recipients,
    wrong,
)


def test_the_configuration_of_the_page_has_nothing_wrong_and_one_hint() -> None:
    found = judged()
    assert wrong(found) == {}
    hints = [each for each in found if each.state is State.HINT]
    # Tip 3 is left out on purpose, and the hint says why.
    assert [each.check for each in hints] == ["tips: 3 clients whose name and address do not match"]
    assert "rejects much legitimate mail" in hints[0].seen


@pytest.mark.parametrize("minimal", [True, False])
def test_what_postfix_config_prints_has_nothing_wrong(*, minimal: bool) -> None:
    lines = [
        line
        for line in main_cf(OURS, Settings(), minimal=minimal).splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]
    text = "\n".join(lines).replace("\n ", " ")
    set_ = dict(map(str.strip, line.split("=", 1)) for line in text.splitlines())
    found = judged(set_)  # type: ignore[arg-type]
    assert wrong(found) == {}
    assert of(found, "postfix: timeout").seen == "10s"
    if not minimal:
        tips = [each for each in found if each.group == "tips" and each.state is State.OK]
        assert len(tips) == 6  # all but the third, the second in two parts


CLOSED = {"smtpd_recipient_restrictions": USERS}


def test_services_that_do_not_reject_everybody_accept_mail_from_strangers() -> None:
    services = [
        SMTP,
        MasterService("192.0.2.1:25"),
        MasterService("smtpd", "pass"),
        MasterService("submission"),
        MasterService("465", overrides=CLOSED),
        MasterService("2525", overrides=CLOSED),
        MasterService(
            "127.0.0.1:10025", overrides={"smtpd_recipient_restrictions": "permit_mynetworks"}
        ),
        MasterService(
            "2526",
            overrides={
                "smtpd_relay_restrictions": "permit_mynetworks permit_auth_destination reject"
            },
        ),
        MasterService("10026", overrides={"smtpd_client_restrictions": "permit_mynetworks,reject"}),
    ]
    names = [each.name for each in inbound_services(PostfixConfig(DEFAULTS, services))]
    assert names == ["smtp", "192.0.2.1:25", "smtpd", "2526"]


def test_a_service_on_loopback_counts_if_it_is_the_only_one() -> None:
    services = [
        MasterService("127.0.0.1:2525"),
        MasterService("[::1]:25"),
        MasterService("submission"),
    ]
    assert len(inbound_services(PostfixConfig(DEFAULTS, services))) == 2


def test_findings_that_differ_between_services_name_the_service() -> None:
    other = MasterService("2525", overrides=after_relay_check(f"check_policy_service {OURS}"))
    found = judged(services=[SMTP, other])
    assert of(found, "postfix: timeout (2525)").state is State.WARNING
    assert of(found, "postfix: timeout (smtp)").state is State.OK
    assert of(found, "postfix: policy service").state is State.OK


def test_without_a_service_for_strangers_the_call_is_not_checked() -> None:
    found = judged(services=[MasterService("submission", overrides=CLOSED)])
    assert of(found, "postfix: policy service").state is State.NOT_CHECKED


OUTBOUND = policy_service(OURS, "outbound")


@pytest.mark.parametrize(
    ("text", "learns", "state"),
    [
        (USERS, False, State.OK),
        (USERS, True, State.WARNING),
        (f"{OUTBOUND} {USERS}", True, State.OK),
        (f"{OUTBOUND} {USERS}", False, State.HINT),
        (f"permit_sasl_authenticated {OUTBOUND} reject", True, State.WARNING),
        (f"{LINE} {USERS}", False, State.HINT),
        (f"{LINE} {USERS}", True, State.WARNING),
    ],
)
def test_submission_calls_greyd_only_to_learn(text: str, learns: bool, state: State) -> None:
    settings = Settings(learn_outbound=learns)
    service = MasterService("submission", overrides=recipients(text))
    found = judged(services=[SMTP, service], settings=settings)
    assert of(found, "postfix: submission (submission)").state is state


@pytest.mark.parametrize(
    ("sender_list", "recipient_list", "state"),
    [
        ("", f"{OUTBOUND} {USERS}", State.WARNING),
        ("reject_sender_login_mismatch", f"{OUTBOUND} {USERS}", State.OK),
        ("reject_authenticated_sender_login_mismatch", f"{OUTBOUND} {USERS}", State.OK),
        ("", f"reject_sender_login_mismatch {OUTBOUND} {USERS}", State.OK),
        ("", f"{OUTBOUND} reject_sender_login_mismatch {USERS}", State.WARNING),
        ("warn_if_reject reject_sender_login_mismatch", f"{OUTBOUND} {USERS}", State.WARNING),
        ("permit_sasl_authenticated reject_sender_login_mismatch", f"{OUTBOUND} {USERS}",
         State.WARNING),
        # It compares only the senders that the table has.
        ("reject_known_sender_login_mismatch", f"{OUTBOUND} {USERS}", State.WARNING),
    ],
)  # fmt: skip
def test_if_greyd_compares_no_logins_postfix_must(
    sender_list: str, recipient_list: str, state: State
) -> None:
    lists = recipients(recipient_list) | {"smtpd_sender_restrictions": sender_list}
    services = [SMTP, MasterService("submission", overrides=lists)]
    for rule, expected in (("any", state), ("domain", State.OK), ("own", State.OK)):
        settings = Settings(learn_outbound=True, outbound_senders=rule)
        found = judged(services=services, settings=settings)
        assert of(found, "postfix: submission (submission)").state is expected


def test_the_policy_context_may_be_a_parameter_of_the_service() -> None:
    service = MasterService(
        "submission",
        overrides=recipients(f"check_policy_service {OURS} {USERS}")
        | {"smtpd_policy_service_policy_context": "outbound"},
    )
    found = judged(services=[SMTP, service], settings=Settings(learn_outbound=True))
    assert of(found, "postfix: submission (submission)").state is State.OK


def test_learning_without_a_submission_service_is_a_hint() -> None:
    found = of(judged(settings=Settings(learn_outbound=True)), "postfix: submission")
    assert found.state is State.HINT


@pytest.mark.parametrize(
    ("overrides", "state"),
    [
        ({}, State.HINT),
        ({"smtpd_sasl_auth_enable": "no"}, State.WARNING),
        ({"smtpd_recipient_restrictions": USERS, "smtpd_sasl_auth_enable": "no"}, State.OK),
    ],
)
def test_a_submission_service_without_login_must_not_be_greylisted(
    overrides: dict[str, str], state: State
) -> None:
    lists = recipients(f"reject_unauth_destination {LINE}")
    service = MasterService("submission", overrides={**lists, **overrides})
    found = judged(services=[SMTP, service])
    assert of(found, "postfix: submission (submission)").state is state


def test_the_words_of_submission_services_are_judged_too() -> None:
    lists = recipients("permit_sasl_authenticate,reject")
    found = judged(services=[SMTP, MasterService("submission", overrides=lists)])
    wrong_words = of(found, "postfix: restrictions (submission)")
    assert (wrong_words.state, "did you mean" in wrong_words.seen) == (State.ERROR, True)
    assert wrong_words.remedy.startswith("master.cf, -o of submission: write")
    assert of(found, "postfix: restrictions").state is State.OK
    # A fault in main.cf is shown once.
    found = judged(
        {"smtpd_sender_restrictions": "permit_mynetwork"},
        services=[SMTP, MasterService("submission", overrides=recipients(USERS))],
    )
    assert len([each for each in found if "permit_mynetwork'" in each.seen]) == 1


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("check_policy_service inet:127.0.0.1:60000 permit_sasl_authenticated reject", True),
        ("permit_sasl_authenticated check_policy_service inet:127.0.0.1:60000 reject", False),
        ("check_policy_service unix:private/policyd-spf permit_sasl_authenticated reject", False),
    ],
)
def test_another_greylisting_of_own_users_is_found(text: str, is_found: bool) -> None:
    found = judged(services=[SMTP, MasterService("submission", overrides=recipients(text))])
    seen = [each for each in found if "may greylist your own users" in each.seen]
    assert bool(seen) == is_found
    assert all(each.state is State.WARNING for each in seen)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        (f"permit_mynetworks, reject_unauth_destination, {LINE}, reject", State.ERROR),
        (f"permit_mynetworks, reject_unauth_destination, {LINE} reject", State.ERROR),
        (f"reject_unauth_destination, {LINE}, reject rhsbl_client x.example", State.ERROR),
        ("permit_mynetworks, reject", State.NOT_CHECKED),
        (f"permit_mynetworks, reject, {LINE}", State.OK),
        (f"reject_unauth_destination, {LINE}, permit_auth_destination, reject", State.OK),
        (f"reject_unauth_destination, {LINE}, permit", State.OK),
    ],
)
def test_a_list_that_rejects_what_greyd_passes_is_an_error(text: str, state: State) -> None:
    found = of(judged(recipients(text)), "postfix: policy service")
    assert found.state is state
    assert ("even what greyd passes" in found.seen) == (state is State.ERROR)
