"""``greyd show``: all that is known of one mail, one client, one key."""

from __future__ import annotations

import json
import re
import shlex
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY
from greyd.rules.correspondence.keys import correspondence_key, keys_to_learn
from greyd.rules.keys import request_keys
from tests.commands import (
    CHECKOUT,
    answer_of,
    content,
    environment_without_settings,
    fill,
    run,
    run_here,
)
from tests.evidence import evidence_for
from tests.fake_dns import address_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time())
"""When this file was read; its tests may come some minutes later."""
SETTINGS = Settings()
MAIL = ("192.0.2.7", "alice@example.com", "bob@example.org")


def keys_of(
    client: str = MAIL[0], sender: str = MAIL[1], identity: str = "provider.example",
    settings: Settings = SETTINGS,
) -> Any:  # fmt: skip
    evidence = evidence_for(identity.encode(), speaks=False)
    return request_keys(address_of(client), sender.encode(), MAIL[2].encode(), settings, evidence)


RECORDS = {
    keys_of().triplet: b"%d,%d" % (NOW - 100, NOW - 40),
    keys_of().client: b"3,%d" % (NOW - 500),
    keys_of(sender="other@example.com").triplet: b"%d" % NOW,
    keys_of("198.51.100.7").triplet: b"%d" % NOW,
    keys_of().identities[0].triplet: b"%d,%d" % (NOW - 2000, NOW - 1000),
    keys_of().identities[0].identity: b"4,%d,%d,1,2" % (NOW, NOW - DAY),
    correspondence_key(MAIL[1].encode(), MAIL[2].encode(), SETTINGS): b"%d" % NOW,
    keys_of("203.0.113.7", "\xfc/%@example.com").triplet: b"%d" % NOW,
    keys_of("203.0.113.8", "late@example.com").triplet: b"1000",
}
IDENTITIES = {"GREYD_IDENTITY": "spf,name"}


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, RECORDS)
    return f"--store={url}"


def shown(store: str, *words: str, **variables: str) -> list[str]:
    """Return the keys of what is shown."""
    return [entry["key"] for entry in answer_of("show", store, *words, **variables)["entries"]]


def names(*wanted: bytes) -> list[str]:
    return [key.decode() for key in wanted]


def test_a_mail_shows_its_triplet_and_its_client(store: str) -> None:
    assert shown(store, *MAIL) == names(keys_of().triplet, keys_of().client)
    options = [f"--client={MAIL[0]}", f"--sender=<{MAIL[1]}>", f"--recipient={MAIL[2].upper()}"]
    assert shown(store, *options) == names(keys_of().triplet, keys_of().client)
    assert shown(store, "192.0.2.99", *MAIL[1:]) == names(keys_of().triplet), "the same network"


def test_a_mail_is_shown_with_the_time_it_may_pass_and_as_it_stands(store: str) -> None:
    text = run("show", store, *MAIL, GREYD_DELAY=str(DAY)).stdout
    passes = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW - 100 + DAY))
    for line in (
        "sender:       alice@example.com",
        f"state:        waiting, passes {passes} (in ",
        f"key:          {keys_of().triplet.decode()}",
        f"record:       {NOW - 100},{NOW - 40}",
        "state:        counted: came back 3 times (5 are enough)",
    ):
        assert line in text
    entry = answer_of("show", store, *MAIL)["entries"][0]
    assert entry["passes_at"] == NOW + 200
    assert entry["record"] == f"{NOW - 100},{NOW - 40}"
    assert entry["counts"] is True


def test_where_identities_are_in_use_those_of_the_same_mail_are_found(store: str) -> None:
    expected = [
        keys_of().triplet, keys_of().client, *keys_of().identities[0],
    ]  # fmt: skip
    assert shown(store, *MAIL, **IDENTITIES) == names(*expected)
    assert shown(store, *MAIL, "--quick", **IDENTITIES) == names(*expected[:2])


def test_the_sender_s_domain_is_found_as_an_identity_without_a_look_through(
    tmp_path: Path,
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    known = keys_of(identity="example.com")
    fill(url, {known.identities[0].triplet: b"%d" % NOW})
    assert shown(f"--store={url}", *MAIL, "--quick", **IDENTITIES) == names(
        known.identities[0].triplet
    )


def test_that_a_user_has_written_to_the_sender_is_shown(store: str) -> None:
    found = shown(store, *MAIL, "--quick", GREYD_LEARN_OUTBOUND="1", **IDENTITIES)
    assert found[2:] == names(correspondence_key(MAIL[1].encode(), MAIL[2].encode(), SETTINGS))


@pytest.mark.parametrize("privacy", ["0", "1"])
def test_all_forms_of_a_correspondence_are_shown_and_forgotten(
    tmp_path: Path, privacy: str
) -> None:
    settings = Settings(learn_outbound=True, correspondents="organisation", privacy=privacy == "1")
    keys = keys_to_learn(MAIL[2].encode(), b"alice+shop@example.com", settings)
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {each.key: b"%d" % NOW for each in keys})
    variables = {
        "GREYD_LEARN_OUTBOUND": "1", "GREYD_CORRESPONDENTS": "organisation",
        "GREYD_PRIVACY": privacy, **IDENTITIES,
    }  # fmt: skip
    mail = ("192.0.2.7", "alice+shop@example.com", MAIL[2])
    found = shown(f"--store={url}", *mail, "--quick", **variables)
    assert len(found) == len(keys) == 4
    assert found == names(*(each.key for each in keys))
    # Of other addresses the organisation's are shown.
    found = shown(
        f"--store={url}", "192.0.2.7", "carol@example.com", MAIL[2], "--quick", **variables
    )
    assert found == names(*(each.key for each in keys[2:]))
    options = ["--sender=alice+shop@example.com"]
    if privacy == "1":
        options += ["--client=192.0.2.7", f"--recipient={MAIL[2]}"]
    else:
        options = ["--sender=example.com"]
    told = answer_of("forget", *options, f"--store={url}", **variables)
    assert told["correspondence"] == 4
    assert set(content(url)) == {b"control"}


def test_a_client_shows_its_count_and_the_mail_of_its_network(store: str) -> None:
    answer = answer_of("show", store, MAIL[0])
    assert [entry["key"] for entry in answer["entries"]] == names(keys_of().client)
    of_network = {entry["sender"] for entry in answer["of_network"]}
    assert of_network == {"alice@example.com", "other@example.com"}
    assert "other@example.com" in run("show", store, f"--client={MAIL[0]}").stdout
    assert answer_of("show", store, MAIL[0], "--quick")["of_network"] == []


def test_of_a_large_network_a_part_is_shown(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {keys_of(sender=f"{'x' * n}@e.com").triplet: b"%d" % NOW for n in range(1, 150)})
    answer = answer_of("show", f"--store={url}", MAIL[0])
    assert (len(answer["of_network"]), answer["more"]) == (100, True)
    assert "greyd list --client=192.0.2.7" in run("show", f"--store={url}", MAIL[0]).stderr


@pytest.mark.parametrize(
    ("words", "senders", "more"),
    [
        ((MAIL[2], "--limit=2", "--sort=sender"), ["x" * 1, "x" * 2], "greyd list --recipient="),
        ((MAIL[2], "-n", "2", "--sort=-sender"), ["x" * 9, "x" * 8], "greyd list --recipient="),
        ((MAIL[2], "--limit=2"), ["x" * 9, "x" * 8], "greyd list --recipient="),
        ((MAIL[2], "--sort=last-seen", "-n3"), ["x" * n for n in (1, 2, 3)], "… and 6 more"),
        (("e.com", "--limit=1"), ["x" * 9], "… and 8 more; --limit=0 or greyd list --sender="),
        ((MAIL[0], "--limit=1", "--sort=sender"), ["x"], "greyd list --client="),
        ((MAIL[2], "--limit=0", "--sort=sender"), ["x" * n for n in range(1, 10)], ""),
        ((MAIL[2], "--limit=9", "--sort=sender"), ["x" * n for n in range(1, 10)], ""),
    ],
)
def test_the_table_is_sorted_and_limited_as_asked(
    tmp_path: Path, words: tuple[str, ...], senders: list[str], more: str
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    mails = {n: keys_of(sender=f"{'x' * n}@e.com").triplet for n in (3, 9, 1, 5, 7, 2, 8, 4, 6)}
    fill(url, {key: b"%d" % (NOW - 100 + n) for n, key in mails.items()})
    done = run_here("show", f"--store={url}", *words)
    assert re.findall(r"(x+)@e\.com", done.stdout) == senders
    assert (more in done.stderr) if more else ("more" not in done.stderr)
    document = json.loads(run_here("show", f"--store={url}", *words, "--json").stdout)
    found = document["of_network"] + document["of_address"]
    assert [each["sender"] for each in found] == [f"{each}@e.com" for each in senders]
    assert document["more"] is bool(more)


def test_mail_from_and_to_a_domain_is_in_one_table_once(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {keys_of(sender=f"{n}@example.org").triplet: b"%d" % NOW for n in "abcd"})
    done = run_here("show", f"--store={url}", "example.org", "--limit=3")
    assert done.stdout.count("@example.org  bob@example.org") == 3
    assert "… and 1 more; --limit=0 shows all" in done.stderr


def test_an_unknown_column_is_refused_with_those_that_exist(store: str) -> None:
    done = run_here("show", store, MAIL[2], "--sort=sendr")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the columns are state, last-seen" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        keys_of().triplet.decode(),
        "greyd:" + keys_of().triplet.decode(),
        '"greyd:' + keys_of().triplet.decode() + '"',
        "192.0.2.0/alice@example.com/bob@example.org",  # postgrey's
    ],
)
def test_a_key_is_found_as_programs_write_it(store: str, text: str) -> None:
    assert shown(store, text) == names(keys_of().triplet)


@pytest.mark.parametrize("escape", ["%{:02X}", "\\x{:02x}"])
def test_a_key_of_odd_bytes_is_found_as_it_is_shown(store: str, escape: str) -> None:
    key = keys_of("203.0.113.7", "\xfc/%@example.com").triplet
    text = "".join(chr(o) if o < 128 else escape.format(o) for o in key)
    (entry,) = answer_of("show", store, text)["entries"]
    assert entry["sender"] == "\xfc/%@example.com"


def test_a_domain_is_that_identity(store: str) -> None:
    assert shown(store, "Provider.example") == names(keys_of().identities[0].identity)
    enough = {"GREYD_AUTO_WHITELIST_IDENTITIES": "3", **IDENTITIES}
    text = run("show", store, "provider.example", **enough).stdout
    assert "auto-whitelisted: came back 4 times (3 are enough)" in text


def test_what_the_rules_pass_over_is_shown_as_such(store: str) -> None:
    mail = ("203.0.113.8", "late@example.com", MAIL[2])
    assert "expired:      it is too old" in run("show", store, *mail).stdout
    assert answer_of("show", store, *mail)["entries"][0]["counts"] is False


def test_nothing_known_is_told_with_what_follows(store: str) -> None:
    done = run("show", store, "192.0.2.7", "<>", "nobody@example.org")
    assert (done.returncode, done.stderr) == (0, ""), "the client is known"
    done = run("show", store, "203.0.114.1", "<>", "nobody@example.org")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no entry of 203.0.114.1, <>, nobody@example.org" in done.stderr
    assert "its first mail waits 5 min" in done.stderr
    done = run("show", store, "\x1b[31mno-key")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["192.0.2.7", "alice@example.com"],
        ["a", "b", "c", "d"],
        ["x", "alice@example.com", "bob@example.org"],
        ["192.0.2.0/24", "alice@example.com", "bob@example.org"],
        ["192.0.2.7", "--client=192.0.2.7"],
        ["<>"],
        ["--sender=192.0.2.7"],
        ["bob smith@example.org"],
        ["--client=192.0.2.7", "--sender=alice@example.com"],
    ],
)
def test_a_question_that_is_none_is_one_line(store: str, words: list[str]) -> None:
    done = run("show", store, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_with_privacy_a_mail_and_a_client_are_found_by_their_hashes(tmp_path: Path) -> None:
    settings = Settings(privacy=True)
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    known = keys_of(settings=settings, identity="example.com")
    fill(
        url,
        {
            known.triplet: b"%d" % NOW,
            known.client: b"1,%d" % NOW,
            known.identities[0].triplet: b"%d" % NOW,
        },
    )
    private = {"GREYD_PRIVACY": "1", "GREYD_IDENTITY": "spf"}
    found = shown(f"--store={url}", *MAIL, **private)
    assert found == names(known.triplet, known.client, known.identities[0].triplet)
    assert shown(f"--store={url}", MAIL[0], **private) == names(known.client)
    assert "hidden by --privacy" in run("show", f"--store={url}", *MAIL, **private).stdout
    assert shown(f"--store={url}", known.triplet[1:].decode(), **private) == names(known.triplet)


@pytest.mark.parametrize(
    ("what", "entry"),
    [
        ("white.example", "clients:1: white.example"),
        ("mx.white.example", "clients:1: white.example"),
        ("192.0.2.7", "clients:2: 192.0.2.0/24"), ("black.example", ""), ("198.51.100.7", ""),
        ("postmaster@example.org", "recipients:1: postmaster@"), ("bob@example.org", ""),
    ],
)  # fmt: skip
def test_what_a_whitelist_lets_pass_is_said_to_have_no_entry_for_that(
    tmp_path: Path, what: str, entry: str
) -> None:
    (tmp_path / "clients").write_text("white.example\n192.0.2.0/24\n")
    (tmp_path / "recipients").write_text("postmaster@\n")
    store = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(store, {b"{example.net}~abc": b"1700000000"})
    done = run_here(
        "show", what, f"--store={store}", GREYD_WHITELIST_CLIENTS=str(tmp_path / "clients"),
        GREYD_WHITELIST_RECIPIENTS=str(tmp_path / "recipients"),
    )  # fmt: skip
    assert done.returncode == 1
    assert ("a client's name is not stored" in done.stderr) == (what == "black.example")
    assert (f"{tmp_path}/{entry}" in done.stderr) if entry else ("waits" in done.stderr)


@pytest.mark.parametrize(
    ("error", "is_said"),
    [(socket.EAI_AGAIN, True), (socket.EAI_FAIL, True), (socket.EAI_NONAME, False)],
)
def test_a_host_whose_addresses_dns_does_not_answer_is_not_one_without_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, is_said: bool
) -> None:
    store = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(store, {b"{example.net}~abc": b"1700000000"})

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(error, "failed")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    done = run_here("show", "black.example", f"--store={store}", GREYD_RUN_DIR=str(tmp_path))
    assert done.returncode == 1
    assert ("DNS did not answer for its addresses: name one" in done.stderr) is is_said


@pytest.mark.parametrize(
    ("sender", "explained"),
    [(MAIL[1], "192.0.2.0 alice@example.com bob@example.org"),
     ("", "192.0.2.0 '<>' bob@example.org"),
     ("o'neil@example.com", """192.0.2.0 'o'"'"'neil@example.com' bob@example.org"""),
     ("-v@example.com", "")],
)  # fmt: skip
def test_on_a_terminal_waiting_mail_comes_with_the_command_that_explains_it(
    tmp_path: Path, sender: str, explained: str
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {keys_of(sender=sender).triplet: b"%d" % (time.time() - 60)})
    words = ["-m", "greyd", "show", MAIL[2], f"--store={url}"]
    output = pexpect.spawn(
        sys.executable, words, dimensions=(24, 80), encoding="utf-8", cwd=str(CHECKOUT),
        env={**environment_without_settings(), "TERM": "xterm", "NO_COLOR": "1"}, timeout=60,
    ).read()  # fmt: skip
    lines = [each for each in output.splitlines() if each.startswith("why it waits: ")]
    assert lines == (
        [f"why it waits: greyd explain {explained} --store={url}"] if explained else []
    )
    if explained:
        done = run_here(*shlex.split(lines[0])[4:], "--no-dns")
        assert done.stdout.startswith("Deferred now (early-retry)"), done
