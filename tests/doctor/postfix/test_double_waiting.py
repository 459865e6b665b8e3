"""Whatever else defers new mail once is found: policy servers, milters, postscreen."""

from __future__ import annotations

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.postfix.config.master_cf import MasterService
from greyd.doctor.postfix.rspamd import RspamdGreylisting, parse_modules_state
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

CHECK = "postfix: other greylisting"


@pytest.mark.parametrize(
    ("other", "state"),
    [
        ("unix:postgrey/socket", State.WARNING),
        ("inet:127.0.0.1:60000", State.WARNING),
        ("{ inet:192.0.2.9:10023, timeout=5s }", State.WARNING),
        ("inet:127.0.0.1:2501", State.WARNING),
        ("inet:localhost:10031", State.WARNING),
        ("unix:/var/spool/postfix/cbpolicyd/socket", State.WARNING),
        ("inet:127.0.0.1:7777", State.WARNING),
        ("unix:private/tumgreyspf", State.WARNING),
        ("unix:private/policyd-spf", State.OK),
        ("inet:127.0.0.1:12525", State.OK),
        ("unix:private/quota-status", State.OK),
        ("inet:127.0.0.1:4711", State.NOT_CHECKED),
        ("unix:private/something", State.NOT_CHECKED),
    ],
)
@pytest.mark.parametrize("list_name", ["client", "sender", "relay", "recipient", "data"])
def test_another_policy_server_is_judged_by_its_product_in_every_list(
    other: str, state: State, list_name: str
) -> None:
    set_ = after_relay_check(LINE)
    name = f"smtpd_{list_name}_restrictions"
    set_[name] = f"check_policy_service {other} " + set_.get(name, "reject_unauth_destination")
    found = of(judged(set_), CHECK)
    assert found.state is state
    assert (other.strip("{ ").split(",")[0] in found.seen) == (state is not State.OK)
    assert bool(found.remedy) == (state is not State.OK)


def test_another_policy_server_of_one_service_or_class_is_found() -> None:
    second = "check_policy_service inet:127.0.0.1:60000"
    own = MasterService("2525", overrides=after_relay_check(f"{second} {LINE}"))
    found = judged(after_relay_check(LINE), services=[SMTP, own])
    assert of(found, f"{CHECK} (2525)").state is State.WARNING
    assert of(found, f"{CHECK} (smtp)").state is State.OK
    # An access table can return the class.
    found = judged(after_relay_check(LINE), classes={"slow": second})
    assert "class slow" in of(found, CHECK).seen
    # greyd in a class, postgrey for all
    found = judged(after_relay_check(second), classes={"slow": f"check_policy_service {OURS}"})
    assert of(found, CHECK).state is State.WARNING


@pytest.mark.parametrize(
    ("program", "state"),
    [
        ("/usr/sbin/postgrey --pidfile=/run/postgrey.pid", State.WARNING),
        ("/usr/bin/perl -w /usr/sbin/sqlgrey -d", State.WARNING),
        ("/usr/bin/policyd-spf", State.OK),
        ("/usr/bin/other", State.NOT_CHECKED),
    ],
)
def test_the_program_that_listens_outweighs_its_port(program: str, state: State) -> None:
    endpoint = "inet:127.0.0.1:60000"
    found = judged(
        after_relay_check(f"check_policy_service {endpoint} {LINE}"), programs={endpoint: program}
    )
    assert of(found, CHECK).state is state


def test_the_program_of_a_spawn_service_is_in_master_cf() -> None:
    policy = MasterService(
        "policy", "unix", "spawn", arguments=["user=nobody", "argv=/usr/bin/tumgreyspf"]
    )
    found = judged(
        after_relay_check(f"check_policy_service unix:private/policy {LINE}"),
        other_services=[policy],
    )
    assert of(found, CHECK).state is State.WARNING


@pytest.mark.parametrize(
    ("milters", "state"),
    [
        ("inet:localhost:11332", State.WARNING),
        ("inet:127.0.0.1:11333", State.WARNING),
        ("inet:rspamd:9900", State.WARNING),
        ("unix:rspamd/milter.sock", State.WARNING),
        ("{ inet:localhost:11332, connect_timeout=10s }", State.WARNING),
        ("unix:/milter-greylist/milter-greylist.sock", State.WARNING),
        ("inet:localhost:8891, unix:/milter-greylist/milter-greylist.sock", State.WARNING),
        ("unix:opendkim/opendkim.sock unix:clamav/clamav-milter.ctl", State.OK),
        ("inet:localhost:8891", State.NOT_CHECKED),
        ("", State.OK),
    ],
)
@pytest.mark.parametrize("of_service", [False, True])
def test_milters_are_judged_by_their_product(milters: str, state: State, of_service: bool) -> None:
    value = {"smtpd_milters": milters}
    if of_service:
        found = judged(services=[MasterService("smtp", overrides=value)])
    else:
        found = judged(value)
    assert state in {each.state for each in found if each.check == CHECK}


RSPAMD = "inet:localhost:11332"
RUNNING = {RSPAMD: "rspamd: main process"}


@pytest.mark.parametrize(
    ("rspamd", "programs", "state", "seen"),
    [
        (None, RUNNING, State.WARNING, "on by default"),
        (RspamdGreylisting(None, "rspamadm is not installed here"), RUNNING, State.WARNING,
         "not checked: rspamadm"),
        (RspamdGreylisting(True, "enabled"), RUNNING, State.WARNING, "enabled"),
        (RspamdGreylisting(False, "disabled (no Redis)"), RUNNING, State.OK, "no Redis"),
        # The state of this machine's rspamd says nothing about one in a container or elsewhere.
        (RspamdGreylisting(False, "disabled"), {}, State.WARNING, "no rspamd process appears"),
    ],
)  # fmt: skip
def test_rspamd_waits_twice_unless_its_own_program_says_that_greylisting_is_off(
    rspamd: RspamdGreylisting | None, programs: dict[str, str], state: State, seen: str
) -> None:
    found = of(judged({"smtpd_milters": RSPAMD}, rspamd=rspamd, programs=programs), CHECK)
    assert (found.state, seen in found.seen) == (state, True)


@pytest.mark.parametrize(
    ("line", "is_on"),
    [
        ("Modules enabled: whitelist, greylist, maillist", True),
        ("Modules disabled (explicitly): bimi, greylist", False),
        ("Modules disabled (no Redis): greylist", False),
        ("Modules enabled: whitelist, my_greylist", None),
        # rspamd 3.4 as Debian 12 ships it: without Redis, with one, and with enabled = false
        (
            "Modules disabled (no Redis): url_redirector, replies, ratelimit, greylist, neural",
            False,
        ),
        ("Modules enabled: fuzzy_check, dkim_signing, hfilter, settings, greylist", True),
        ("Modules disabled (explicitly): rspamd_update, aws_s3, greylist, spamtrap, dcc", False),
        ("", None),
    ],
)
def test_the_state_of_rspamds_module_is_read(line: str, is_on: bool | None) -> None:
    text = f"Modules experimental: a\n{line}\nModules disabled (failed): \n"
    assert parse_modules_state(text, "rspamadm").is_on is is_on


def test_without_greyd_nothing_waits_twice() -> None:
    set_ = recipients("reject_unauth_destination") | {"smtpd_milters": "inet:localhost:11332"}
    assert [each for each in judged(set_) if each.check == CHECK] == []


@pytest.mark.parametrize(
    "test",
    ["pipelining", "non_smtp_command", "bare_newline"],
)
def test_tests_of_postscreen_after_the_greeting_are_a_warning(test: str) -> None:
    name = f"postscreen_{test}_enable"
    screen = MasterService("smtp", "inet", "postscreen")
    on = {name: "yes"}
    found = of(judged(on, other_services=[screen]), "postfix: postscreen")
    assert (found.state, found.remedy) == (State.WARNING, f"main.cf: {name} = no")
    # -o of the service counts more than main.cf, in both directions.
    own = MasterService("smtp", "inet", "postscreen", overrides={name: "no"})
    assert of(judged(on, other_services=[own]), "postfix: postscreen").state is State.OK
    own = MasterService("smtp", "inet", "postscreen", overrides=on)
    found = of(judged(other_services=[own]), "postfix: postscreen")
    assert (found.state, found.remedy.startswith("master.cf")) == (State.WARNING, True)
    # Without postscreen the parameter does nothing.
    assert [each for each in judged(on) if "postscreen" in each.check] == []
    assert wrong(judged(on)) == {}
