"""What commands tell servers that run: release, expect, forget, mode."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.commands import answer_of, content, run_here
from tests.dns_server import dns_server
from tests.processes import PolicyClient, free_port, greyd, redis_server, request, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

DELAYED = re.compile(r"action=DEFER_IF_PERMIT .*")


def ask(server: Running, **attributes: str) -> str | None:
    """Return the action that a server tells: pass, wait, or the whole reply."""
    with PolicyClient(server.port) as client:
        reply = client.ask(request(**attributes))
    assert reply is not None
    if DELAYED.fullmatch(reply):
        return "wait"
    return "pass" if reply.startswith(("action=DUNNO", "action=PREPEND")) else reply


def soon(server: Running, answer: str, **attributes: str) -> None:
    """Wait until a server, which looks once a second, answers so."""
    wait_until(lambda: ask(server, **attributes) == answer, f"{answer} of {attributes}")


def has_said(server: Running, *texts: str) -> None:
    """Wait until a server's log has a line with all of the texts."""
    wait_until(
        lambda: any(all(text in line for text in texts) for line in server.log().splitlines()),
        f"a line of {texts}",
    )


# Release ------------------------------------------------------------------------------------------


def test_released_mail_passes_and_other_mail_waits_on(store: str, tmp_path: Path) -> None:
    with greyd(tmp_path, store) as server:
        others = {"client_address": "198.51.100.7", "sender": "carol@example.net"}
        assert (ask(server), ask(server, **others)) == ("wait", "wait")
        told = answer_of("release", "--sender=alice@example.com", "--dry-run", store)
        assert (told["released"], told["waiting"], told["would_release"]) == (0, 1, 1)
        assert ask(server) == "wait"
        told = answer_of("release", "--sender=alice@example.com", store)
        assert (told["released"], told["waiting"], told["dry_run"]) == (1, 1, False)
        with PolicyClient(server.port) as client:
            reply = client.ask(request())
        assert reply is not None
        waited = re.match(r"action=PREPEND X-Greylist: delayed ([0-9]+) seconds", reply)
        assert waited, reply
        assert int(waited[1]) < 60, "the true wait, not the delay of 300 s"
        assert ask(server, **others) == "wait"
        has_said(
            server, "released 1 waiting triplets --sender=alice@example.com, by ", "@", " at 20"
        )


def test_nothing_to_release_is_status_1_and_nobody_named_is_status_2(
    store: str, tmp_path: Path
) -> None:
    with greyd(tmp_path, store) as server:
        assert ask(server) == "wait"
        done = run_here("release", "--client=203.0.113.1", store)
        assert (done.returncode, done.stdout) == (1, "no matching mail waits\n")
        done = run_here("release", store)
        assert done.returncode == 2
        assert "--client, --sender or --recipient" in done.stderr
        assert ask(server) == "wait"


@pytest.mark.parametrize(
    "selected",
    [
        ["--client=192.0.2.99"],
        ["--client=192.0.0.0/16"],
        ["--recipient=example.org"],
        ["--sender=EXAMPLE.com", "--recipient=bob@example.org"],
    ],
)
def test_mail_is_released_by_network_domain_and_all_together(
    tmp_path: Path, selected: list[str]
) -> None:
    with greyd(tmp_path) as server:
        assert ask(server) == "wait"
        assert answer_of("release", *selected, "--dbdir", tmp_path)["released"] == 1
        assert ask(server) == "pass"


def test_under_privacy_only_one_exact_triplet_can_be_released(store: str, tmp_path: Path) -> None:
    private = {"GREYD_PRIVACY": "yes"}
    with greyd(tmp_path, store, "--privacy") as server:
        assert ask(server) == "wait"
        done = run_here("release", "--recipient=bob@example.org", store, **private)
        assert done.returncode == 2
        assert "the store contains only hashes" in done.stderr
        exact = ["--client=192.0.2.7", "--sender=alice@example.com", "--recipient=bob@example.org"]
        assert answer_of("release", *exact, store, **private)["released"] == 1
        assert ask(server) == "pass"
        has_said(server, "released 1 waiting triplets, by ")
        assert "bob" not in repr(content(store.removeprefix("--store=")))


# Expect -------------------------------------------------------------------------------------------


def test_awaited_mail_passes_while_the_window_is_open(store: str, tmp_path: Path) -> None:
    spf = '300 TXT "v=spf1 ip4:203.0.113.0/24 -all"'
    with (
        dns_server({"example.com": [spf]}) as dns,
        greyd(tmp_path, store, f"--resolver={dns.address}") as server,
    ):
        # A server that answers has read what was done before its start.
        assert ask(server, client_address="203.0.113.9", recipient="rob@example.org") == "wait"
        shown = answer_of("expect", "bob@example.org", "--from=example.com", "--for=10m", store)
        assert [each["recipient"] for each in shown] == ["bob@example.org"]
        assert 590 < shown[0]["until"] - time.time() <= 600
        soon(server, "pass", client_address="203.0.113.1")
        assert ask(server, client_address="198.51.100.66") == "wait"
        assert ask(server, client_address="198.51.100.67", sender="a@new.example.com") == "wait"
        assert ask(server, client_address="203.0.113.2", sender="a@example.net") == "wait"
        assert ask(server, client_address="203.0.113.3", recipient="rob@example.org") == "wait"
        has_said(server, "reason=expected", "client_address=203.0.113.1")
        has_said(server, "expects mail to bob@example.org from example.com until", ", by ")
        assert answer_of("expect", store) == shown
        assert answer_of("expect", "bob@example.org", "--close", store) == []
        soon(server, "wait", client_address="203.0.113.4")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bob"], "RECIPIENT=bob: understood as the domain bob; write @bob"),
        (["bob@example.org", "--for=2d"], "--for=2d"),
        (["bob@example.org", "--for=soon"], "--for=soon"),
        (["bob@example.org", "--for=0"], "--for=0"),
        (["bob@example.org", "--from=a b"], "--from=a b"),
        (["--close"], "--close"),
    ],
)
def test_a_window_that_is_none_is_refused_in_a_line(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = run_here("expect", *arguments, "--dbdir", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("greyd: ")
    assert said in line
    assert list(tmp_path.iterdir()) == []


# Mode ---------------------------------------------------------------------------------------------


def test_all_servers_on_a_store_follow_a_switch_and_say_so(store: str, tmp_path: Path) -> None:
    with (
        greyd(tmp_path / "1", store, f"--metrics=127.0.0.1:{free_port()}") as one,
        greyd(tmp_path / "2", store, "--workers=2", f"--metrics=127.0.0.1:{free_port()}") as two,
    ):
        assert ask(one) == "wait"
        answer = answer_of("mode", "off", "--for=2h", store)
        assert 7190 < answer["told"]["until"] - time.time() <= 7200
        assert [each["in_force"] for each in answer["servers"]] == [True, True]
        for server in (one, two):
            # No matter which worker answers.
            assert [ask(server) for _ in range(6)] == ["pass"] * 6
            has_said(server, "mode off until 20", ", by ", "@")
        assert answer_of("mode", store)["mode"] == "off"
        answer = answer_of("mode", "reset", store)
        assert answer["mode"] is None
        assert [each["in_force"] for each in answer["servers"]] == [True, True]
        for server in (one, two):
            assert [ask(server) for _ in range(6)] == ["wait"] * 6
            has_said(server, "mode on, as it is set here")
            has_said(server, "mode reset, by ")


def test_a_switch_outlives_a_restart_and_ends_by_itself(store: str, tmp_path: Path) -> None:
    answer_of("mode", "learn", "--for=5s", store)
    with greyd(tmp_path, store) as server:
        assert ask(server) == "pass"
        has_said(server, "reason=learning (new)")
        soon(server, "wait")
        has_said(server, "mode on, as it is set here")


def test_learning_by_a_switch_stores_what_it_sees(store: str, tmp_path: Path) -> None:
    answer_of("mode", "learn", store)
    with greyd(tmp_path, store, "--delay=1") as server:
        assert ask(server) == "pass"
        time.sleep(1.1)
        answer_of("mode", "on", "--for=1h", store)
        has_said(server, "mode on until ")
        assert ask(server) == "pass"
        assert ask(server, sender="new@example.com") == "wait"


def test_a_store_that_goes_away_leaves_the_mode_as_it_is(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port=port) as redis:
        store = f"--store=redis://127.0.0.1:{port}/0"
        answer_of("mode", "off", store)
        with greyd(tmp_path / "greyd", store) as server:
            assert ask(server) == "pass"
            redis.stop()
            has_said(server, "store away")
            assert ask(server) == "pass"
            assert "mode on" not in server.log().partition("mode off")[2]


# Forget -------------------------------------------------------------------------------------------


def test_everything_about_an_address_is_forgotten(store: str, tmp_path: Path) -> None:
    url = store.removeprefix("--store=")
    with greyd(tmp_path, store) as server:
        assert ask(server) == "wait"
        assert ask(server, sender="bob@example.org", recipient="alice@example.com") == "wait"
        assert ask(server, sender="carol@example.net", recipient="dan@example.org") == "wait"
        answer_of("expect", "bob@example.org", store)
        answer_of("release", "--recipient=bob@example.org", store)
        assert b"bob@example.org" in b" ".join(list(content(url)) + list(content(url).values()))
        before = answer_of("forget", "--address=bob@example.org", "--dry-run", store)
        assert before["triplet"] == 2
        told = answer_of("forget", "--address=bob@example.org", store)
        assert (told["triplet"], told["entries"]) == (2, 5)
        left = content(url)
        assert b"bob" not in b" ".join([*left, *left.values()])
        assert any(b"dan@example.org" in key for key in left)
        has_said(server, "forgot 5 entries, by ")
        assert run_here("forget", "--address=bob@example.org", store).returncode == 1


@pytest.mark.parametrize(
    ("mail", "command"),
    [("bücher.example", "xn--bcher-kva.example"), ("xn--bcher-kva.example", "BÜCHER.example")],
)
def test_commands_accept_either_form_of_an_internationalised_domain(
    mail: str, command: str, tmp_path: Path
) -> None:
    store = f"--dbdir={tmp_path}"
    domain = "xn--bcher-kva.example"
    with (
        dns_server({domain: ['300 TXT "v=spf1 ip4:203.0.113.0/24 -all"']}) as dns,
        greyd(tmp_path, f"--resolver={dns.address}") as server,
    ):
        names = {"sender": f"änne@{mail}", "recipient": f"jörg@{mail}"}
        assert ask(server, **names) == "wait"
        for selection in (f"--sender=änne@{command}", f"--recipient={command}"):
            (found,) = answer_of("list", selection, store)["entries"]
            assert found["sender"].endswith(f"@{domain}")
        (window,) = answer_of("expect", f"jörg@{command}", f"--from={command}", store)
        assert (window["recipient"], window["from"]) == (f"jörg@{domain}", domain)
        soon(server, "pass", client_address="203.0.113.1", **names)
        assert ask(server, client_address="198.51.100.7", **names) == "wait"
        # A third one if the server had not read the window yet.
        released = answer_of("release", f"--sender=änne@{command}", store)["released"]
        assert released in (2, 3)
        told = answer_of("forget", f"--address=jörg@{command}", store)
        assert told["triplet"] == released
        assert not [key for key in content(f"sqlite:{tmp_path}/greyd.db") if b"xn--" in key]
        assert answer_of("expect", store) == []
        soon(server, "wait", client_address="203.0.113.1", **names)


def test_a_client_is_forgotten_with_its_count(store: str, tmp_path: Path) -> None:
    url = store.removeprefix("--store=")
    with greyd(tmp_path, store, "--delay=1", "--auto-whitelist-clients=1") as server:
        assert ask(server) == "wait"
        time.sleep(1.1)
        assert ask(server) == "pass"
        assert ask(server, sender="new@example.com") == "pass"
        told = answer_of("forget", "--client=192.0.2.7", store)
        assert (told["triplet"], told["client"]) == (1, 1)
        assert not [key for key in content(url) if key.startswith(b"{192")]
        assert ask(server, sender="other@example.com") == "wait"


def test_under_privacy_an_exact_triplet_or_a_client_is_forgotten(tmp_path: Path) -> None:
    private: dict[str, Any] = {"GREYD_PRIVACY": "yes", "GREYD_DBDIR": str(tmp_path)}
    with greyd(tmp_path, "--privacy", "--delay=1") as server:
        assert ask(server) == "wait"
        time.sleep(1.1)
        assert ask(server) == "pass"
        done = run_here("forget", "--address=bob@example.org", **private)
        assert done.returncode == 2
        assert "hashes" in done.stderr
        assert run_here("forget", "--sender=alice@example.com", **private).returncode == 2
        assert answer_of("forget", "--client=192.0.2.7", **private)["client"] == 1
        exact = ["--client=192.0.2.7", "--sender=alice@example.com", "--recipient=bob@example.org"]
        assert answer_of("forget", *exact, **private)["triplet"] == 1
        assert ask(server) == "wait"


def test_a_store_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    done = run_here("release", "--client=192.0.2.1", "--dbdir", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"greyd: sqlite:{tmp_path}/greyd.db: nothing is stored there")
    done = run_here("mode", "off", "--store=redis://:geheim@127.0.0.1:1/0")
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr
    assert "geheim" not in done.stderr
    assert run_here("mode", "off", "--store=memory://").returncode == 2
