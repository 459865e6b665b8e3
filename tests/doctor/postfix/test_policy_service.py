"""How Postfix calls greyd, in many variants."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from greyd.config.settings import Settings
from greyd.doctor.findings import FindingState as State
from greyd.doctor.listeners import Listener, TcpListener
from greyd.doctor.postfix.config.master_cf import MasterService
from greyd.doctor.postfix.config.restrictions import (
    Restriction,
    parse_restrictions,
)
from tests.doctor.postfix.configs import (
    LINE,
    OURS,
    after_relay_check,
    judged,
    of,
    recipients,
)

KNOWS_SERVICES = False
with contextlib.suppress(OSError):
    KNOWS_SERVICES = socket.getservbyname("smtp", "tcp") == 25


@pytest.mark.parametrize(
    ("endpoint", "listener"),
    [
        ("inet:127.0.0.1:10023", TcpListener("localhost", 10023)),
        ("inet:localhost:10023", TcpListener("localhost", 10023)),
        ("inet:[::1]:10023", TcpListener("localhost", 10023)),
        ("inet:localhost:10023", TcpListener("127.0.0.1", 10023)),
        ("inet:192.0.2.5:10023", TcpListener("", 10023)),
        ("inet:192.0.2.5:10023", TcpListener("0.0.0.0", 10023)),
        ("inet:192.0.2.5:10023", TcpListener("192.0.2.5", 10023)),
        ("inet:grey.example.org:10023", TcpListener("192.0.2.5", 10023)),
        ("unix:private/greyd", Path("/var/spool/postfix/private/greyd")),
        ("local:private/greyd", Path("/var/spool/postfix/private/greyd")),
        ("unix:../../../run/greyd/socket", Path("/run/greyd/socket")),
        ("inet:10023", TcpListener("localhost", 10023)),
        pytest.param(
            "inet:localhost:smtp",
            TcpListener("localhost", 25),
            marks=pytest.mark.skipif(
                not KNOWS_SERVICES, reason="no names of ports in /etc/services"
            ),
        ),
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
def test_an_endpoint_on_which_greyd_listens_is_greyd(
    form: str, endpoint: str, listener: Listener
) -> None:
    found = judged(
        after_relay_check(form.format(endpoint)),
        listeners=[listener],
        addresses={"grey.example.org": frozenset({"192.0.2.5"})},
    )
    assert of(found, "postfix: policy service").state is State.OK


@pytest.mark.parametrize(
    ("endpoint", "listener"),
    [
        ("inet:127.0.0.1:10024", TcpListener("localhost", 10023)),
        ("inet:127.0.0.2:10023", TcpListener("127.0.0.1", 10023)),
        ("inet:192.0.2.5:10023", TcpListener("localhost", 10023)),
        ("inet:grey.example.org:10023", TcpListener("192.0.2.5", 10023)),
        ("unix:private/other", Path("/var/spool/postfix/private/greyd")),
        ("unix:/run/greyd/socket", Path("/var/spool/postfix/run/greyd/socket")),
        ("unix:private/policyd-spf", TcpListener("localhost", 10023)),
    ],
)
def test_another_endpoint_is_not_greyd(endpoint: str, listener: Listener) -> None:
    found = of(
        judged(after_relay_check(f"check_policy_service {endpoint}"), listeners=[listener]),
        "postfix: policy service",
    )
    assert found.state is State.ERROR
    assert endpoint in found.seen
    assert "check_policy_service { " in found.remedy


@pytest.mark.parametrize(
    ("endpoint", "addresses", "state"),
    [
        ("inet:grey.example.org:10023", None, State.NOT_CHECKED),
        ("inet:grey.example.org:10024", None, State.ERROR),
        ("inet:grey.example.org:10023", frozenset(), State.ERROR),
        ("inet:grey.example.org:10023", frozenset({"192.0.2.9"}), State.ERROR),
        ("inet:grey.example.org:10023", frozenset({"192.0.2.5"}), State.OK),
        ("inet:192.0.2.9:10023", None, State.ERROR),
    ],
)
def test_a_name_that_dns_does_not_answer_for_may_be_greyd(
    endpoint: str, addresses: frozenset[str] | None, state: State
) -> None:
    found = of(
        judged(
            after_relay_check(f"check_policy_service {endpoint}"),
            listeners=[TcpListener("192.0.2.5", 10023)],
            addresses={"grey.example.org": addresses},
        ),
        "postfix: policy service",
    )
    assert found.state is state
    # Another call beside one that may be greyd's would let mail wait twice.
    assert bool(found.edits) == (state is State.ERROR)
    assert ("DNS did not answer" in found.seen) == (state is State.NOT_CHECKED)


def test_in_a_chroot_a_path_is_below_the_queue_directory() -> None:
    service = [MasterService("smtp", chroot=True)]
    set_ = after_relay_check("check_policy_service unix:/run/greyd/socket")
    outside = judged(set_, service, [Path("/run/greyd/socket")])
    inside = judged(set_, service, [Path("/var/spool/postfix/run/greyd/socket")])
    assert of(outside, "postfix: policy service").state is State.ERROR
    assert "in the chroot: /var/spool/postfix/run" in of(outside, "postfix: policy service").seen
    assert of(inside, "postfix: policy service").state is State.OK


def test_without_a_policy_service_the_remedy_is_the_line_to_add() -> None:
    found = of(judged(recipients("reject_unauth_destination")), "postfix: policy service")
    assert found.state is State.ERROR
    assert found.remedy.endswith(LINE)


def test_an_old_postfix_gets_no_braces() -> None:
    set_ = {**recipients(f"reject_unauth_destination check_policy_service {OURS}"),
            "mail_version": "2.11.3"}  # fmt: skip
    found = judged(set_)
    assert of(found, "postfix: timeout").remedy == "main.cf: smtpd_policy_service_timeout = 10s"
    assert "{" not in of(found, "postfix: default action").remedy


def test_a_class_in_a_list_counts_and_one_that_only_a_table_can_return_is_a_hint() -> None:
    classes = {"greylist": f"check_policy_service {OURS}", "outer": "greylist"}
    named = judged(after_relay_check("outer"), classes=classes)
    assert of(named, "postfix: policy service").state is State.OK
    by_table = judged(
        after_relay_check("check_recipient_access texthash:/etc/postfix/some"), classes=classes
    )
    found = of(by_table, "postfix: policy service")
    assert (found.state, "greylist" in found.seen) == (State.HINT, True)


def test_classes_that_name_each_other_end() -> None:
    classes = {"a": "b", "b": "a permit_mynetworks"}
    assert Restriction("permit_mynetworks", in_class="b") in parse_restrictions("a", classes)


@pytest.mark.parametrize(
    ("set_", "check", "state"),
    [
        (after_relay_check(f"permit {LINE}"), "postfix: place", State.ERROR),
        (after_relay_check(f"defer {LINE}"), "postfix: place", State.ERROR),
        (after_relay_check(f"warn_if_reject reject {LINE}"), "postfix: place", State.OK),
        (after_relay_check(f"permit_auth_destination {LINE}"), "postfix: place", State.ERROR),
        (after_relay_check(f"warn_if_reject {LINE}"), "postfix: place", State.ERROR),
        ({**after_relay_check(""), "smtpd_data_restrictions": LINE}, "postfix: place", State.ERROR),
        ({**after_relay_check(""), "smtpd_end_of_data_restrictions": LINE}, "postfix: place",
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
        ({**after_relay_check(""), "smtpd_sender_restrictions": LINE}, "postfix: relaying",
         State.WARNING),
        (recipients(f"reject_unauth_destination {LINE}"), "postfix: own networks", State.WARNING),
        (recipients(f"reject_unauth_destination {LINE}") | {"mynetworks": ""},
         "postfix: own networks", State.OK),
        (recipients(f"permit_mynetworks {LINE}"), "postfix: own users", State.HINT),
        (recipients(f"permit_mynetworks {LINE}") | {"smtpd_sasl_auth_enable": "no"},
         "postfix: own users", State.OK),
        ({"smtpd_delay_reject": "no"}, "postfix: delay reject", State.HINT),
        ({**after_relay_check(""), "smtpd_sender_restrictions": LINE, "smtpd_delay_reject": "no"},
         "postfix: delay reject", State.ERROR),
    ],
)  # fmt: skip
def test_a_call_that_is_not_reached_or_not_protected_is_found(
    set_: dict[str, str], check: str, state: State
) -> None:
    found = of(judged(set_), check)
    assert found.state is state
    assert bool(found.remedy) == (state is not State.OK)


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
def test_the_options_in_braces_are_judged(options: str, check: str, state: State) -> None:
    found = judged(after_relay_check(f"check_policy_service {{ {OURS}, {options} }}"))
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
def test_without_braces_the_parameters_of_main_cf_count(
    parameter: str, text: str, check: str, state: State
) -> None:
    set_ = {**after_relay_check(f"check_policy_service {OURS}"), parameter: text}
    assert of(judged(set_), f"postfix: {check}").state is state


def test_links_count_outside_a_chroot(tmp_path: Path) -> None:
    real = tmp_path / "run"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    set_ = after_relay_check(f"check_policy_service unix:{tmp_path}/link/socket")
    found = judged(set_, listeners=[real / "socket"])
    assert of(found, "postfix: policy service").state is State.OK


def test_a_call_for_etrn_does_not_affect_mail() -> None:
    set_ = after_relay_check("") | {"smtpd_etrn_restrictions": LINE}
    assert of(judged(set_), "postfix: place").state is State.ERROR


@pytest.mark.parametrize(
    ("relay", "state"),
    [
        ("permit_mynetworks, permit_auth_destination, reject", State.OK),
        ("permit_mynetworks, permit_auth_destination, defer", State.OK),
        ("permit_mynetworks, permit_auth_destination, warn_if_reject reject", State.ERROR),
    ],
)
def test_a_relay_list_may_end_with_reject(relay: str, state: State) -> None:
    set_ = recipients(f"permit_mynetworks, permit_sasl_authenticated, {LINE}")
    found = judged(set_ | {"smtpd_relay_restrictions": relay})
    assert of(found, "postfix: relaying").state is state


@pytest.mark.parametrize(
    "before", ["static:OK", "check_client_access static:ok", "check_sender_access static:permit"]
)
def test_a_table_that_permits_everything_ends_the_list(before: str) -> None:
    found = of(judged(after_relay_check(f"{before} {LINE}")), "postfix: place")
    assert (found.state, "permits all mail" in found.seen) == (State.ERROR, True)
    found = of(judged(after_relay_check(f"check_client_access static:DUNNO {LINE}")),
               "postfix: place")  # fmt: skip
    assert found.state is State.OK


def test_warn_if_reject_does_not_affect_a_permit() -> None:
    found = judged(after_relay_check(f"warn_if_reject permit {LINE}"))
    assert of(found, "postfix: place").state is State.ERROR


@pytest.mark.parametrize(
    ("settings", "state"),
    [
        (Settings(), State.OK),
        (Settings(store_timeout_seconds=9.9), State.OK),
        (Settings(store_timeout_seconds=10), State.WARNING),
        (Settings(store_timeout_seconds=9, dns_timeout_seconds=2), State.OK),
        (Settings(store_timeout_seconds=9, dns_timeout_seconds=2, identity=("spf",)),
         State.WARNING),
    ],
)  # fmt: skip
def test_postfix_must_wait_longer_than_the_server(settings: Settings, state: State) -> None:
    found = judged(after_relay_check(LINE), settings=settings)
    assert of(found, "postfix: timeout").state is state


@pytest.mark.parametrize("end", ["permit", "reject", "defer", "warn_if_reject permit"])
@pytest.mark.parametrize("list_name", ["client", "helo", "sender", "relay", "recipient"])
def test_a_call_after_the_end_of_its_list_is_never_reached(list_name: str, end: str) -> None:
    name = f"smtpd_{list_name}_restrictions"
    set_ = recipients("permit_mynetworks, reject_unauth_destination")
    set_[name] = f"permit_mynetworks, reject_unauth_destination, {end}, {LINE}"
    found = of(judged(set_), "postfix: place")
    assert (found.state, "never reached" in found.seen) == (State.ERROR, True)
