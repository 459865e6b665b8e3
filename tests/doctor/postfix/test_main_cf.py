"""What ``greyd doctor`` says of a Postfix's configuration, by many variants of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as some

from greyd.config.settings import Settings
from greyd.config.vocabulary import Endpoint
from greyd.doctor.findings import FAILED_STATES, Finding
from greyd.doctor.findings import FindingState as State
from greyd.doctor.listeners import Listener, Tcp, configured_listeners, parse_listen_property
from greyd.doctor.postfix.main_cf import check_main_cf
from greyd.doctor.postfix.postconf import PostfixConfig, SmtpdService
from greyd.doctor.postfix.recommended import endpoint, exim_acl, main_cf, policy_service
from greyd.doctor.postfix.restrictions import (
    Restriction,
    parse_restrictions,
    parse_time,
    policy_calls,
    reachable_count,
    split_words,
)
from greyd.doctor.postfix.smtpd import inbound_services

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OURS = "inet:127.0.0.1:10023"
LINE = policy_service(OURS)
LISTENERS: tuple[Listener, ...] = (Tcp("localhost", 10023),)

GOOD_LIST = f"""permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,
    reject_unlisted_recipient, reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname,
    reject_unknown_reverse_client_hostname,
    check_client_access texthash:/etc/postfix/known_clients, reject_unknown_sender_domain,
    reject_rbl_client zen.spamhaus.org=127.0.0.[2..11],
    reject_rhsbl_sender dbl.spamhaus.org=127.0.1.[2..99], {LINE}"""

DEFAULTS = {
    "compatibility_level": "3.6",
    "mail_version": "3.7.11",
    "mynetworks": "127.0.0.0/8 192.0.2.0/24",
    "queue_directory": "/var/spool/postfix",
    "smtpd_client_restrictions": "",
    "smtpd_data_restrictions": "",
    "smtpd_delay_reject": "yes",
    "smtpd_end_of_data_restrictions": "",
    "smtpd_helo_required": "yes",
    "smtpd_helo_restrictions": "",
    "smtpd_policy_service_default_action": "451 4.3.5 Server configuration problem",
    "smtpd_policy_service_max_idle": "300s",
    "smtpd_policy_service_policy_context": "",
    "smtpd_policy_service_timeout": "100s",
    "smtpd_policy_service_try_limit": "2",
    "smtpd_recipient_restrictions": GOOD_LIST,
    "smtpd_reject_unlisted_recipient": "yes",
    "smtpd_relay_before_recipient_restrictions": "yes",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_restriction_classes": "",
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_sender_restrictions": "",
}

SMTP = SmtpdService("smtp")
USERS = "permit_sasl_authenticated,reject"


def recipients(text: str) -> dict[str, str]:
    """Return main.cf's parameters with another list for recipients."""
    return {"smtpd_recipient_restrictions": text}


def behind_guard(text: str) -> dict[str, str]:
    """Return them with a list that begins as it should."""
    return recipients(
        "permit_mynetworks permit_sasl_authenticated reject_unauth_destination"
        f" reject_unlisted_recipient {text}"
    )


def judged(
    set_: Mapping[str, str] | None = None,
    services: Sequence[SmtpdService] = (SMTP,),
    listeners: Sequence[Listener] = LISTENERS,
    settings: Settings | None = None,
    **more: object,
) -> list[Finding]:
    """Return the findings for main.cf's defaults with some parameters set."""
    postfix = PostfixConfig({**DEFAULTS, **(set_ or {})}, services, **more)  # type: ignore[arg-type]
    return check_main_cf(postfix, listeners, settings or Settings())


def wrong(found: Sequence[Finding]) -> dict[str, State]:
    """Return what is wrong."""
    return {each.check: each.state for each in found if each.state in FAILED_STATES}


def of(found: Sequence[Finding], check: str) -> Finding:
    """Return the one finding of a check."""
    (one,) = [each for each in found if each.check == check]
    return one


# A good one ---------------------------------------------------------------------------------------


def test_the_configuration_of_the_page_has_nothing_wrong_and_one_hint() -> None:
    found = judged()
    assert wrong(found) == {}
    hints = [each for each in found if each.state is State.HINT]
    # Tip 3 is left out on purpose, and the hint says why.
    assert [each.check for each in hints] == ["tips: 3 clients whose name and address do not match"]
    assert "rejects much real mail" in hints[0].seen


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


def test_the_acl_for_exim_is_that_of_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs/exim.md").read_text()
    block = page.partition('```exim title="/etc/exim4/greyd_acl"\n')[2].partition("```")[0]
    assert exim_acl(LISTENERS) == block
    assert "readsocket{/run/greyd/socket}" in exim_acl([Path("/run/greyd/socket")])


# Is it asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "listener"),
    [
        ("inet:127.0.0.1:10023", Tcp("localhost", 10023)),
        ("inet:localhost:10023", Tcp("localhost", 10023)),
        ("inet:[::1]:10023", Tcp("localhost", 10023)),
        ("inet:localhost:10023", Tcp("127.0.0.1", 10023)),
        ("inet:192.0.2.5:10023", Tcp("", 10023)),
        ("inet:192.0.2.5:10023", Tcp("0.0.0.0", 10023)),
        ("inet:192.0.2.5:10023", Tcp("192.0.2.5", 10023)),
        ("inet:grey.example.org:10023", Tcp("192.0.2.5", 10023)),
        ("unix:private/greyd", Path("/var/spool/postfix/private/greyd")),
        ("unix:/run/greyd/socket", Path("/run/greyd/socket")),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "check_policy_service {}",
        "check_policy_service {{ {}, timeout=10s, default_action=DUNNO }}",
        "check_policy_service {{{},timeout=10s}}",
        "CHECK_POLICY_SERVICE {}",
        "check_policy_service,\n  {}",
    ],
)
def test_the_server_is_known_by_what_it_listens_on(
    form: str, endpoint: str, listener: Listener
) -> None:
    found = judged(
        behind_guard(form.format(endpoint)),
        listeners=[listener],
        addresses={"grey.example.org": frozenset({"192.0.2.5"})},
    )
    assert of(found, "postfix: policy service").state is State.OK


@pytest.mark.parametrize(
    ("endpoint", "listener"),
    [
        ("inet:127.0.0.1:10024", Tcp("localhost", 10023)),
        ("inet:127.0.0.2:10023", Tcp("127.0.0.1", 10023)),
        ("inet:192.0.2.5:10023", Tcp("localhost", 10023)),
        ("inet:grey.example.org:10023", Tcp("192.0.2.5", 10023)),
        ("unix:private/other", Path("/var/spool/postfix/private/greyd")),
        ("unix:/run/greyd/socket", Path("/var/spool/postfix/run/greyd/socket")),
        ("unix:private/policyd-spf", Tcp("localhost", 10023)),
    ],
)
def test_another_place_is_not_the_server(endpoint: str, listener: Listener) -> None:
    found = of(
        judged(behind_guard(f"check_policy_service {endpoint}"), listeners=[listener]),
        "postfix: policy service",
    )
    assert found.state is State.ERROR
    assert endpoint in found.seen
    assert "check_policy_service { " in found.remedy


def test_in_a_chroot_a_path_is_below_the_queue_directory() -> None:
    service = [SmtpdService("smtp", chroot=True)]
    set_ = behind_guard("check_policy_service unix:/run/greyd/socket")
    outside = judged(set_, service, [Path("/run/greyd/socket")])
    inside = judged(set_, service, [Path("/var/spool/postfix/run/greyd/socket")])
    assert of(outside, "postfix: policy service").state is State.ERROR
    assert of(inside, "postfix: policy service").state is State.OK


def test_without_any_policy_service_the_line_is_said() -> None:
    found = of(judged(recipients("reject_unauth_destination")), "postfix: policy service")
    assert found.state is State.ERROR
    assert found.remedy.endswith(LINE)


def test_an_old_postfix_gets_no_braces() -> None:
    set_ = {**recipients(f"reject_unauth_destination check_policy_service {OURS}"),
            "mail_version": "2.11.3"}  # fmt: skip
    found = judged(set_)
    assert of(found, "postfix: timeout").remedy == "main.cf: smtpd_policy_service_timeout = 10s"
    assert "{" not in of(found, "postfix: default action").remedy


def test_a_class_counts_where_it_stands_and_is_a_hint_where_only_a_table_can_name_it() -> None:
    classes = {"greylist": f"check_policy_service {OURS}", "outer": "greylist"}
    named = judged(behind_guard("outer"), classes=classes)
    assert of(named, "postfix: policy service").state is State.OK
    by_table = judged(
        behind_guard("check_recipient_access texthash:/etc/postfix/some"), classes=classes
    )
    found = of(by_table, "postfix: policy service")
    assert (found.state, "greylist" in found.seen) == (State.HINT, True)


def test_classes_that_name_each_other_end() -> None:
    classes = {"a": "b", "b": "a permit_mynetworks"}
    assert Restriction("permit_mynetworks", in_class="b") in parse_restrictions("a", classes)


# Where --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("set_", "check", "state"),
    [
        (behind_guard(f"permit {LINE}"), "postfix: place", State.ERROR),
        (behind_guard(f"defer {LINE}"), "postfix: place", State.ERROR),
        (behind_guard(f"warn_if_reject reject {LINE}"), "postfix: place", State.OK),
        (behind_guard(f"permit_auth_destination {LINE}"), "postfix: place", State.ERROR),
        (behind_guard(f"warn_if_reject {LINE}"), "postfix: place", State.ERROR),
        ({**behind_guard(""), "smtpd_data_restrictions": LINE}, "postfix: place", State.ERROR),
        ({**behind_guard(""), "smtpd_end_of_data_restrictions": LINE}, "postfix: place",
         State.ERROR),
        (recipients(LINE), "postfix: relaying", State.OK),
        ({**recipients(LINE), "smtpd_relay_before_recipient_restrictions": "no"},
         "postfix: relaying", State.WARNING),
        (recipients(f"{LINE} reject_unauth_destination")
         | {"smtpd_relay_restrictions": ""}, "postfix: relaying", State.WARNING),
        (recipients(f"defer_unauth_destination {LINE}")
         | {"smtpd_relay_restrictions": ""}, "postfix: relaying", State.OK),
        (recipients(f"warn_if_reject reject_unauth_destination {LINE}")
         | {"smtpd_relay_restrictions": ""}, "postfix: relaying", State.ERROR),
        ({**behind_guard(""), "smtpd_sender_restrictions": LINE}, "postfix: relaying",
         State.WARNING),
        (recipients(f"reject_unauth_destination {LINE}"), "postfix: own networks", State.WARNING),
        (recipients(f"reject_unauth_destination {LINE}") | {"mynetworks": ""},
         "postfix: own networks", State.OK),
        (recipients(f"permit_mynetworks {LINE}"), "postfix: own users", State.HINT),
        (recipients(f"permit_mynetworks {LINE}") | {"smtpd_sasl_auth_enable": "no"},
         "postfix: own users", State.OK),
        ({"smtpd_delay_reject": "no"}, "postfix: delay reject", State.HINT),
        ({**behind_guard(""), "smtpd_sender_restrictions": LINE, "smtpd_delay_reject": "no"},
         "postfix: delay reject", State.ERROR),
    ],
)  # fmt: skip
def test_where_it_is_asked(set_: dict[str, str], check: str, state: State) -> None:
    found = of(judged(set_), check)
    assert found.state is state
    assert bool(found.remedy) == (state is not State.OK)


# With which settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "check", "state"),
    [
        ("timeout=10s", "timeout", State.OK),
        ("timeout=30", "timeout", State.OK),
        ("{ timeout = 1m }", "timeout", State.WARNING),
        ("timeout=2h", "timeout", State.WARNING),
        ("timeout=0s", "timeout", State.ERROR),
        ("default_action=DUNNO", "default action", State.OK),
        ("{ default_action = dunno }", "default action", State.OK),
        ("default_action=OK", "default action", State.WARNING),
        ("{ default_action = 451 4.3.5 later }", "default action", State.WARNING),
        ("{default_action=REJECT gone}", "default action", State.ERROR),
        ("default_action=550", "default action", State.ERROR),
        ("policy_context=outbound", "policy context", State.WARNING),
        ("policy_context=mx", "policy context", State.OK),
    ],
)
def test_the_settings_in_braces_are_judged(options: str, check: str, state: State) -> None:
    found = judged(behind_guard(f"check_policy_service {{ {OURS}, {options} }}"))
    assert of(found, f"postfix: {check}").state is state


@pytest.mark.parametrize(
    ("parameter", "text", "check", "state"),
    [
        ("smtpd_policy_service_timeout", "10s", "timeout", State.OK),
        ("smtpd_policy_service_timeout", "100s", "timeout", State.WARNING),
        ("smtpd_policy_service_timeout", "soon", "timeout", State.NOT_CHECKED),
        ("smtpd_policy_service_default_action", "DUNNO", "default action", State.OK),
        ("smtpd_policy_service_policy_context", "outbound", "policy context", State.WARNING),
        ("smtpd_policy_service_max_idle", "20m", "connections", State.HINT),
        ("smtpd_policy_service_try_limit", "1", "connections", State.HINT),
    ],
)
def test_without_braces_the_parameters_of_all_policy_servers_count(
    parameter: str, text: str, check: str, state: State
) -> None:
    set_ = {**behind_guard(f"check_policy_service {OURS}"), parameter: text}
    assert of(judged(set_), f"postfix: {check}").state is state


# Other things -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    ["unix:postgrey/socket", "inet:127.0.0.1:60000", "{ inet:192.0.2.9:10023, timeout=5s }"],
)
def test_a_postgrey_that_is_still_asked_is_found(other: str) -> None:
    found = judged(behind_guard(f"check_policy_service {other} {LINE}"))
    assert of(found, "postfix: other greylisting").state is State.WARNING


def test_a_policy_server_for_spf_is_none_of_our_business() -> None:
    found = judged(behind_guard(f"check_policy_service unix:private/policyd-spf {LINE}"))
    assert wrong(found) == {}


def test_words_that_are_no_restrictions_are_found() -> None:
    found = judged(behind_guard(f"chek_policy_service {OURS} {LINE}"))
    assert "'chek_policy_service'" in of(found, "postfix: restrictions").seen
    found = judged(behind_guard(f"check_policy_service {{ {OURS}, timeout=10s"))
    assert "brace" in of(found, "postfix: restrictions").seen


def test_what_postconf_remarks_is_passed_on() -> None:
    remark = "warning: /etc/postfix/main.cf: unused parameter: smptd_helo_required=yes"
    found = of(judged(remarks=[remark]), "postfix: files")
    assert (found.state, remark in found.seen) == (State.HINT, True)


def test_tests_of_postscreen_after_the_greeting_are_a_warning() -> None:
    on = {"postscreen_pipelining_enable": "yes"}
    assert of(judged(on, has_postscreen=True), "postfix: postscreen").state is State.WARNING
    assert of(judged(has_postscreen=True), "postfix: postscreen").state is State.OK
    assert [each for each in judged(on) if "postscreen" in each.check] == []


# Services -----------------------------------------------------------------------------------------

CLOSED = {"smtpd_recipient_restrictions": USERS}


def test_strangers_come_in_by_services_that_are_not_closed() -> None:
    services = [
        SMTP,
        SmtpdService("192.0.2.1:25"),
        SmtpdService("smtpd", "pass"),
        SmtpdService("submission"),
        SmtpdService("465", overrides=CLOSED),
        SmtpdService("2525", overrides=CLOSED),
        SmtpdService(
            "127.0.0.1:10025", overrides={"smtpd_recipient_restrictions": "permit_mynetworks"}
        ),
        SmtpdService("10026", overrides={"smtpd_client_restrictions": "permit_mynetworks,reject"}),
    ]
    names = [each.name for each in inbound_services(PostfixConfig(DEFAULTS, services))]
    assert names == ["smtp", "192.0.2.1:25", "smtpd"]


def test_a_service_on_loopback_counts_where_there_is_no_other() -> None:
    services = [
        SmtpdService("127.0.0.1:2525"),
        SmtpdService("[::1]:25"),
        SmtpdService("submission"),
    ]
    assert len(inbound_services(PostfixConfig(DEFAULTS, services))) == 2


def test_what_differs_between_services_is_said_of_each() -> None:
    other = SmtpdService("2525", overrides=behind_guard(f"check_policy_service {OURS}"))
    found = judged(services=[SMTP, other])
    assert of(found, "postfix: timeout (2525)").state is State.WARNING
    assert of(found, "postfix: timeout (smtp)").state is State.OK
    assert of(found, "postfix: policy service").state is State.OK


def test_without_a_service_for_strangers_nothing_is_said_of_it() -> None:
    found = judged(services=[SmtpdService("submission", overrides=CLOSED)])
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
def test_submission_is_asked_only_to_learn(text: str, learns: bool, state: State) -> None:
    settings = Settings(learn_outbound=learns)
    service = SmtpdService("submission", overrides=recipients(text))
    found = judged(services=[SMTP, service], settings=settings)
    assert of(found, "postfix: submission (submission)").state is state


def test_the_context_may_be_a_parameter_of_the_service() -> None:
    service = SmtpdService(
        "submission",
        overrides=recipients(f"check_policy_service {OURS} {USERS}")
        | {"smtpd_policy_service_policy_context": "outbound"},
    )
    found = judged(services=[SMTP, service], settings=Settings(learn_outbound=True))
    assert of(found, "postfix: submission (submission)").state is State.OK


def test_learning_without_a_service_for_users_is_a_hint() -> None:
    found = of(judged(settings=Settings(learn_outbound=True)), "postfix: submission")
    assert found.state is State.HINT


# Tips ---------------------------------------------------------------------------------------------

TIPS = {
    "tips: 1 clients without a PTR record": "reject_unknown_reverse_client_hostname",
    "tips: 2 HELO names that are none": "reject_non_fqdn_helo_hostname",
    "tips: 3 clients whose name and address do not match": "reject_unknown_client_hostname",
    "tips: 4 sender domains that no answer can reach": "reject_unknown_sender_domain",
    "tips: 6 DNS blocklists": "reject_rbl_client zen.spamhaus.org=127.0.0.[2..11]",
}


@pytest.mark.parametrize(("tip", "line"), TIPS.items())
def test_a_missing_tip_is_a_hint_with_its_line(tip: str, line: str) -> None:
    found = of(judged(behind_guard(LINE)), tip)
    assert found.state is State.HINT
    assert found.seen.startswith("off")
    assert line in found.remedy


@pytest.mark.parametrize(("tip", "line"), TIPS.items())
@pytest.mark.parametrize("list_name", ["client", "helo", "sender", "recipient"])
def test_a_tip_is_on_in_whichever_list(tip: str, line: str, list_name: str) -> None:
    parameter = f"smtpd_{list_name}_restrictions"
    text = f"permit_mynetworks permit_sasl_authenticated reject_unauth_destination {line}"
    found = judged({**behind_guard(LINE), parameter: f"{text} {LINE}"})
    assert of(found, tip).seen.startswith("on")


@pytest.mark.parametrize(("tip", "line"), TIPS.items())
def test_a_tip_that_is_not_reached_or_only_warns_is_not_on(tip: str, line: str) -> None:
    dead = of(judged(behind_guard(f"{LINE} permit {line}")), tip)
    assert (dead.state, dead.seen.startswith("off")) == (State.HINT, True)
    tried = of(judged(behind_guard(f"warn_if_reject {line} {LINE}")), tip)
    assert (tried.state, "tried" in tried.seen) == (State.HINT, True)


def test_the_risks_of_what_is_on_are_said() -> None:
    found = judged(behind_guard(f"reject_unknown_client_hostname {LINE}"))
    assert "real mail" in of(found, "tips: 3 clients whose name and address do not match").seen
    text = f"reject_non_fqdn_helo_hostname reject_unknown_helo_hostname {LINE}"
    found = judged(behind_guard(text))
    assert of(found, "tips: 2 HELO names that are none").state is State.HINT


def test_helo_checks_need_a_helo() -> None:
    found = of(judged({"smtpd_helo_required": "no"}), "tips: 2 HELO is required")
    assert found.remedy == "main.cf: smtpd_helo_required = yes"


# Order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "check", "state", "said"),
    [
        (f"{LINE} permit reject_rbl_client bl.example", "reached", State.WARNING, "bl.example"),
        (f"{LINE} permit", "reached", State.OK, ""),
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
def test_the_order_is_judged(text: str, check: str, state: State, said: str) -> None:
    found = of(judged(behind_guard(text)), f"order: {check}")
    assert found.state is state
    assert said in found.seen


def test_guessed_recipients_are_better_rejected_before() -> None:
    text = f"permit_mynetworks reject_unauth_destination {LINE}"
    check = "order: unknown recipients"
    assert of(judged(recipients(text)), check).state is State.HINT
    set_ = {**recipients(text), "smtpd_reject_unlisted_recipient": "no"}
    assert of(judged(set_), check).state is State.OK
    assert of(judged(), check).state is State.OK


@pytest.mark.parametrize("list_name", ["client", "helo", "sender"])
def test_a_list_without_permits_hits_own_users(list_name: str) -> None:
    parameter = f"smtpd_{list_name}_restrictions"
    bare = of(judged({parameter: "reject_unknown_client_hostname"}), "order: own users")
    assert (bare.state, parameter in bare.seen) == (State.WARNING, True)
    assert "permit_mynetworks, permit_sasl_authenticated" in bare.remedy
    half = of(
        judged({parameter: "permit_mynetworks reject_unknown_client_hostname"}),
        "order: own users",
    )
    assert "main.cf: permit_sasl_authenticated at" in half.remedy
    late = judged({parameter: "reject_unknown_client_hostname permit_mynetworks"})
    assert of(late, "order: own users").state is State.WARNING
    for harmless in ("reject_non_fqdn_sender", "warn_if_reject reject_unknown_client_hostname"):
        assert of(judged({parameter: harmless}), "order: own users").state is State.OK


def test_checks_in_the_list_of_senders_count_as_before_those_of_recipients() -> None:
    set_ = behind_guard(LINE) | {
        "smtpd_sender_restrictions": "permit_mynetworks permit_sasl_authenticated"
        " reject_unknown_sender_domain"
    }
    assert of(judged(set_), "order: greylisting last").state is State.OK


# Reading ------------------------------------------------------------------------------------------


def test_lists_are_split_as_smtpd_does() -> None:
    text = "a, b\n c {d, e {f}} , check_x_access { g h },,"
    assert split_words(text) == ["a", "b", "c", "{d, e {f}}", "check_x_access", "{ g h }"]
    assert parse_restrictions("check_sender_access hash:/a hash:/b", {}) == [
        Restriction("check_sender_access", "hash:/a"),
        Restriction("check_map", "hash:/b"),
    ]


@given(some.text(alphabet="ab {},=:\n\t"), some.text(alphabet="ab {},"))
def test_any_list_can_be_read(text: str, of_class: str) -> None:
    listed = parse_restrictions(f"{text} check_policy_service", {"a": of_class, "b": text})
    assert reachable_count(listed) <= len(listed)
    assert (
        len(policy_calls({"recipient": parse_restrictions(f"x, check_policy_service {text}", {})}))
        <= 1
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [("10", 10), ("10s", 10), ("2M", 120), ("1h", 3600), ("1d", 86400), ("1w", 604800),
     ("", None), ("ten", None), ("1.5s", None)],
)  # fmt: skip
def test_times_are_postfixs(text: str, number: int | None) -> None:
    assert parse_time(text) == number


def test_systemds_sockets_are_read() -> None:
    lines = ["127.0.0.1:10023 (Stream)", "[::1]:10023 (Stream)", "/run/g/s (Stream)",
             "[::]:53 (Datagram)", "@abstract (Stream)"]  # fmt: skip
    assert parse_listen_property(lines) == [
        Tcp("127.0.0.1", 10023),
        Tcp("::1", 10023),
        Path("/run/g/s"),
    ]


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (Settings(), "inet:127.0.0.1:10023"),
        (Settings(inet=(Endpoint("", 7),)), "inet:127.0.0.1:7"),
        (Settings(inet=(Endpoint("::", 7),)), "inet:[::1]:7"),
        (Settings(inet=(Endpoint("192.0.2.1", 7),)), "inet:192.0.2.1:7"),
        (Settings(unix=(Path("/var/spool/postfix/private/g"),)), "unix:private/g"),
        (Settings(unix=(Path("/run/g"),)), "unix:/run/g"),
        (Settings(inet=(Endpoint("::1", 7),), unix=(Path("/run/g"),)), "inet:[::1]:7"),
        (Settings(inet=(Endpoint("::1", 7),), unix=(Path("/var/spool/postfix/g"),)), "unix:g"),
    ],
)
def test_the_place_to_ask_is_one_that_postfix_can_reach(settings: Settings, place: str) -> None:
    assert endpoint(configured_listeners(settings)) == place
