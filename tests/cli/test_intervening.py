"""``greyd release``, ``expect``, ``forget``, ``mode``, ``show``: twice is once, and all is true."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.entries.confirmation import MAX_UNCONFIRMED_ENTRIES
from greyd.config.running.run_record import RunRecord
from greyd.config.settings import Settings
from greyd.config.vocabulary import DAY, HOUR
from greyd.rules.correspondence.keys import keys_to_learn
from greyd.rules.keys import identity_keys, request_keys
from greyd.rules.reserved_keys import CONTROL_KEY, SHADOW_PREFIX
from greyd.rules.triplets import ReleaseOutcome, release
from greyd.server.files.run_file import RunFile
from tests.commands import content, fill, run_here
from tests.fake_dns import address_of
from tests.fake_redis import FakeRedis
from tests.processes import redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NOW = int(time.time())
SETTINGS = Settings()

SLOW = {"GREYD_DELAY": "7200"}
"""A delay that does not end while these tests run, even on a slow machine."""


@pytest.fixture(params=["sqlite", "fakeredis", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'greyd.db'}"
    elif request.param == "fakeredis":
        with FakeRedis() as fake:
            yield f"redis://127.0.0.1:{fake.port}/0"
    else:
        with redis_server(tmp_path) as redis:
            yield f"redis://127.0.0.1:{redis.port}/0"


def triplet(
    sender: str = "alice@example.com", recipient: str = "bob@example.org", client: str = "192.0.2.7"
) -> bytes:
    return request_keys(address_of(client), sender.encode(), recipient.encode(), SETTINGS).triplet


def answer(url: str, command: str, *words: str, status: int = 0, **variables: Any) -> Any:
    done = run_here(command, *words, f"--store={url}", "--json", **{**SLOW, **variables})
    assert done.returncode == status, (done.stdout, done.stderr)
    return json.loads(done.stdout)


def text(url: str, command: str, *words: str, status: int = 0, **variables: Any) -> str:
    done = run_here(command, *words, f"--store={url}", **{**SLOW, **variables})
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout


@contextlib.contextmanager
def run_record(folder: Path, store: str, *, mode: str, pid: int) -> Iterator[None]:
    """Keep the record of a running server in a folder."""
    record = RunRecord(
        pid=pid,
        version="0.2.0",
        started_at=NOW,
        sockets=("inet:127.0.0.1:10023",),
        metrics=None,
        store=store,
        options=(("mode", mode),),
    )
    file = RunFile(record, folder)
    try:
        yield
    finally:
        file.remove()


def actions(url: str) -> list[str]:
    """Return what the servers log of the commands."""
    record = content(url).get(CONTROL_KEY, b"{}")
    return [each["what"] for each in json.loads(record).get("acts", [])]


# Release -----------------------------------------------------------------------------------------


def test_a_second_release_changes_nothing_and_keeps_the_first_attempts_time(url: str) -> None:
    fill(url, {triplet(): b"%d" % (NOW - 60)})
    first = answer(url, "release", "--recipient=bob@example.org")
    assert (first["released"], first["waiting"], first["already_released"]) == (1, 1, 0)
    record = content(url)[triplet()]
    assert record.startswith(b"%d;released=" % (NOW - 60))
    second = answer(url, "release", "--recipient=bob@example.org")
    assert (second["released"], second["waiting"], second["already_released"]) == (0, 1, 1)
    assert content(url)[triplet()] == record
    assert len(actions(url)) == 1
    said = text(url, "release", "--recipient=bob@example.org")
    assert "0 released\n1 released already: the sender's next attempt passes" in said


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (b"%d" % (NOW - 60), {"released": 1}),
        (b"%d,%d" % (NOW - 60, NOW - 30), {"released": 1}),
        (b"%d" % (NOW - 3 * HOUR), {"delay_over": 1}),
        (b"%d;released=%d" % (NOW - 60, NOW - 30), {"already_released": 1}),
    ],
    ids=["new", "early retry", "delay over", "released"],
)
def test_each_waiting_triplet_is_counted_by_its_outcome(
    tmp_path: Path, record: bytes, counts: dict[str, int]
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(): record})
    expected = {"released": 0, "already_released": 0, "delay_over": 0, **counts}
    before = content(url)
    dry = answer(url, "release", "--sender=alice@example.com", "--dry-run")
    assert (dry["released"], dry["would_release"]) == (0, expected["released"])
    assert content(url) == before
    told = answer(url, "release", "--sender=alice@example.com")
    assert {name: told[name] for name in expected} == expected


@pytest.mark.parametrize(
    "record",
    [b"%d,%d,%d" % (NOW - 3 * HOUR, NOW - 100, NOW - 100), b"1000"],
    ids=["passed", "expired"],
)
def test_what_has_passed_or_expired_is_not_released(tmp_path: Path, record: bytes) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(): record})
    assert answer(url, "release", "--sender=alice@example.com", status=1)["waiting"] == 0


def test_a_released_triplet_is_listed_and_shown_as_such(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(): b"%d;released=%d" % (NOW - 60, NOW - 30)})
    (entry,) = answer(url, "list", "--waiting")["entries"]
    assert (entry["first_seen"], entry["passes_at"], entry["released_at"]) == (
        NOW - 60, NOW - 30, NOW - 30,
    )  # fmt: skip
    shown = text(url, "show", "192.0.2.7", "alice@example.com", "bob@example.org")
    assert re.search(r"state:        released \d+ (s|min)\b.* ago; its next attempt passes", shown)
    assert entry["released"] is True
    assert entry["state"] == "waiting"
    assert text(url, "list").splitlines()[-1].startswith("released")
    assert "1 waiting (1 released)" in text(url, "show", "alice@example.com")
    explained = text(
        url, "explain", "--client-address=192.0.2.7", "--sender=alice@example.com",
        "--recipient=bob@example.org", "--no-dns", "--client-name=mail.example.com",
    )  # fmt: skip
    assert "its next attempt passes" in explained
    assert "it was released: it passes" in explained


@pytest.mark.parametrize(("command", "count"), [("release", "released"), ("forget", "entries")])
def test_two_simultaneous_commands_count_each_triplet_once(
    url: str, command: str, count: str
) -> None:
    number = 300
    fill(url, {triplet(f"a{n}x@example.com"): b"%d" % (NOW - 60) for n in range(number)})
    line = [
        sys.executable, "-m", "greyd", command, "--recipient=bob@example.org", "--yes", "--json",
        f"--store={url}",
    ]  # fmt: skip
    running = [
        subprocess.Popen(line, stdout=subprocess.PIPE, env={**os.environ, **SLOW}) for _ in range(2)
    ]
    told = [json.loads(each.communicate(timeout=60)[0]) for each in running]
    assert sum(each[count] for each in told) == number
    if command == "release":
        assert all(each[count] + each["already_released"] == number for each in told)


def test_a_triplet_that_passes_in_the_meantime_keeps_its_pass(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    passed = b"%d,%d,%d" % (NOW - 3 * HOUR, NOW, NOW)
    outcome, changes = release(triplet(), passed, NOW, SETTINGS)
    assert (outcome, changes) == (ReleaseOutcome.NOT_WAITING, ())
    fill(url, {triplet(): passed})
    answer(url, "release", "--recipient=bob@example.org", status=1)
    assert content(url)[triplet()] == passed


@pytest.mark.parametrize("command", ["release", "forget"])
def test_many_entries_are_changed_only_with_yes(tmp_path: Path, command: str) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    number = MAX_UNCONFIRMED_ENTRIES + 1
    fill(url, {triplet(f"a{n}x@example.com"): b"%d" % (NOW - 60) for n in range(number)})
    before = content(url)
    done = run_here(command, "--recipient=bob@example.org", f"--store={url}", **SLOW)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"this would {command} {number}" in done.stderr
    assert "--dry-run, then use --yes" in done.stderr
    assert content(url) == before
    dry = answer(url, command, "--recipient=bob@example.org", "--dry-run")
    assert number in dry.values()
    assert content(url) == before
    told = answer(url, command, "--recipient=bob@example.org", "--yes")
    assert number in told.values()


# Expect ------------------------------------------------------------------------------------------

DECORATED = [
    "bob@example.org", "<bob@example.org>", "'bob@example.org',", "mailto:bob@example.org",
    "recipient=bob@example.org;", '"Bob, Jr." <BOB@Example.org>', "bob@example.org.",
    "\u200bbob@example.org\u00a0",
]  # fmt: skip


def test_expected_mail_is_expected_once_however_it_is_written(url: str) -> None:
    said = [text(url, "expect", each, "--from=@example.com") for each in DECORATED]
    assert said[0].startswith("mail to bob@example.org from example.com is expected until ")
    for each in said[1:]:
        assert each.startswith(
            "mail to bob@example.org from example.com is already expected, until"
        )
    (window,) = answer(url, "expect")
    assert (window["recipient"], window["from"]) == ("bob@example.org", "example.com")
    assert len(actions(url)) == 1


@pytest.mark.parametrize(
    ("recipient", "stored"),
    [
        ("bob@BÜCHER.example", "bob@xn--bcher-kva.example"),
        ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
        ("<@Example.org>", "@example.org"),
        ("bob+shop@example.org", "bob+shop@example.org"),
        ('"bob smith"@example.org', "bob smith@example.org"),
    ],
)
def test_a_recipient_is_stored_as_mail_names_it(
    tmp_path: Path, recipient: str, stored: str
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    assert answer(url, "expect", recipient)[0]["recipient"] == stored


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["example.org"], "understood as the domain example.org; write @example.org"),
        (["192.0.2.7"], "understood as the client's address 192.0.2.7; expected a mail address"),
        (["<>"], "understood as the null sender <>"),
        ([""], "empty; expected"),
        (["bob@example.org, al@example.org"], "several addresses"),
        (["bob@example.org", "--from=192.0.2.7"], "--from=192.0.2.7: understood as the client's"),
        (["bob@example.org", "--from="], "--from=: empty; expected a domain"),
        (["bob@example.org", "--from=*.example.com"], "write example.com"),
    ],
)
def test_an_invalid_expectation_is_refused_in_one_line(
    tmp_path: Path, words: list[str], said: str
) -> None:
    done = run_here("expect", *words, f"--store=sqlite:{tmp_path / 'greyd.db'}")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_longer_or_shorter_window_replaces_the_first_and_both_ends_are_shown(url: str) -> None:
    text(url, "expect", "bob@example.org", "--for=10m")
    for length in ("1h", "5m"):
        said = text(url, "expect", "bob@example.org", f"--for={length}")
        assert "; it was already expected, until " in said
    assert len(answer(url, "expect")) == 1
    assert len(actions(url)) == 3


def test_a_window_is_closed_once(url: str) -> None:
    text(url, "expect", "bob@example.org")
    assert "is no longer expected" in text(url, "expect", "<bob@example.org>", "--close")
    said = text(url, "expect", "bob@example.org", "--close")
    assert said.startswith("no mail to bob@example.org was expected\n")
    assert len(actions(url)) == 2


def test_dry_runs_of_expect_and_mode_write_nothing(url: str) -> None:
    fill(url, {triplet(): b"%d" % NOW})
    before = content(url)
    said = text(url, "expect", "bob@example.org", "--dry-run")
    assert "nothing was changed (--dry-run)" in said
    assert "bob@example.org" in said
    assert "off, until it is reset" in text(url, "mode", "off", "--dry-run")
    assert "greyd mode off 2h" in text(url, "mode", "off", "--dry-run")
    assert "until the mode is changed" not in text(url, "mode", "off", "--for=2h", "--dry-run")
    assert "until the mode is changed" not in text(url, "mode", "on", "--dry-run")
    assert content(url) == before


# An argument instead of options ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "count"),
    [
        ("alice@example.com", 2), ("bob@example.org", 2), ("example.com", 2), ("<>", 1),
        ("192.0.2.7", 3), ("192.0.2.0/24", 3), ("198.51.100.7", 1), ("carol@example.net", 2),
        ("nobody@example.com", 0),
    ],
)  # fmt: skip
def test_an_argument_selects_a_client_or_an_address_in_either_role(
    tmp_path: Path, what: str, count: int
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    mails = [
        triplet(), triplet(recipient="carol@example.net"), triplet("", "bob@example.org"),
        triplet("carol@example.net", "dave@example.net", "198.51.100.7"),
    ]  # fmt: skip
    fill(url, dict.fromkeys(mails, b"%d" % (NOW - 60)))
    assert answer(url, "list", what, status=0 if count else 1)["shown"] == count
    done = run_here("release", what, "--dry-run", "--json", f"--store={url}", **SLOW)
    if what == "carol@example.net":
        assert done.returncode == 2
        assert "--sender=carol@example.net, or greyd release --recipient=carol@" in done.stderr
    else:
        assert json.loads(done.stdout)["would_release"] == count
    done = run_here("forget", what, "--dry-run", "--json", f"--store={url}", **SLOW)
    if what[:2] == "19":
        assert json.loads(done.stdout)["triplet"] == count
    else:
        assert done.returncode == 2
        assert "greyd forget --sender=" in done.stderr


@pytest.mark.parametrize(
    ("words", "logged"),
    [
        (["alice@example.com"], "--sender=alice@example.com"),
        (["bob@example.org"], "--recipient=bob@example.org"),
        (["192.0.2.7"], "--client=192.0.2.7"), (["--sender=example.com"], "--sender=example.com"),
    ],
)  # fmt: skip
def test_what_an_argument_selected_is_logged_as_the_option(
    tmp_path: Path, words: Sequence[str], logged: str
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(): b"%d" % (NOW - 60)})
    text(url, "release", *words)
    assert actions(url) == [f"released 1 waiting triplets {logged}"]


@pytest.mark.parametrize("command", ["list", "release", "forget"])
@pytest.mark.parametrize(
    "words", [("alice@example.com", "--client=192.0.2.7"), ("a@x.example, b@x.example",), ("",)]
)
def test_an_argument_that_is_unclear_changes_nothing(
    tmp_path: Path, command: str, words: Sequence[str]
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(): b"%d" % (NOW - 60)})
    before = content(url)
    done = run_here(command, *words, f"--store={url}", **SLOW)
    assert (done.returncode, done.stdout, content(url)) == (2, "", before)


# What is typed ------------------------------------------------------------------------------------

TYPED = [
    ("--client", "192.0.2.7"), ("--client", "[192.0.2.7]"), ("--client", "192.0.2.7:25"),
    ("--client", "unknown[192.0.2.7]:25"), ("--client", "client_address=192.0.2.7/32,"),
    ("--client", "192.0.2.*"), ("--client", "::ffff:192.0.2.7"),
    ("--sender", "<alice@example.com>,"), ("--sender", "Alice <alice+x@EXAMPLE.com>"),
    ("--sender", "from=<alice@example.com>"), ("--sender", "'example.com'"),
    ("--sender", "@example.com."), ("--recipient", "to=<bob@example.org>, relay=none"),
    ("--recipient", "mailto:bob%40example.org?subject=x"), ("--recipient", "“bob@example.org”"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "typed"), TYPED)
def test_every_command_accepts_decorated_input(tmp_path: Path, option: str, typed: str) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(
        url,
        {
            triplet(): b"%d" % (NOW - 60),
            triplet("a@example.net", "b@example.net", "198.51.100.7"): b"%d" % (NOW - 60),
        },
    )
    assert answer(url, "list", option, typed)["shown"] == 1
    assert text(url, "show", option, typed)
    assert answer(url, "release", option, typed, "--dry-run")["would_release"] == 1
    assert answer(url, "forget", option, typed, "--dry-run")["triplet"] == 1


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("bob smith@example.org", 'to=<"bob smith"@example.org>'),  # Postfix
        ('"bob smith"@example.org', 'to=<"bob smith"@example.org>'),  # others
        ("bob@example.org.", "bob@example.org"),
        ("bob@example.org", "bob@example.org."),
    ],
)
def test_an_address_is_found_as_mail_servers_pass_it_on(
    tmp_path: Path, stored: str, typed: str
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(recipient=stored): b"%d" % (NOW - 60)})
    assert answer(url, "list", "--recipient", typed)["shown"] == 1
    assert answer(url, "forget", "--address", typed)["triplet"] == 1


WRONG = [
    ("--client", "alice@example.com", "the mail address alice@example.com"),
    ("--client", "192.0.2", "192.0.2.0/24"), ("--client", "", "empty"),
    ("--sender", "192.0.2.7", "the client's address 192.0.2.7"), ("--sender", "", "empty"),
    ("--recipient", "<>", "the null sender"), ("--recipient", "", "empty"),
    ("--recipient", "a@x.example, b@x.example", "several addresses"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "typed", "said"), WRONG)
@pytest.mark.parametrize("command", ["list", "show", "release", "forget"])
def test_every_command_refuses_ambiguous_or_invalid_input(
    tmp_path: Path, command: str, option: str, typed: str, said: str
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(): b"%d" % (NOW - 60)})
    before = content(url)
    done = run_here(command, option, typed, f"--store={url}", **SLOW)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[-1]
    assert content(url) == before


def test_explain_accepts_decorated_input(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(): b"%d" % (NOW - 60)})
    told = answer(
        url, "explain", "--client-address=unknown[192.0.2.7]:25", "--sender=<alice@example.com>,",
        "--recipient=Bob <bob@example.org>", "--client-name=mail.example.com.", "--no-dns",
    )  # fmt: skip
    assert told["request"]["client_address"] == "192.0.2.7"
    assert told["request"]["sender"] == "alice@example.com"
    assert told["request"]["recipient"] == "bob@example.org"


# Mode --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["off"], ["learn", "--for=2h"], ["on"]])
def test_a_repeated_mode_is_set_once_and_its_author_is_shown(url: str, words: list[str]) -> None:
    first = answer(url, "mode", *words, SUDO_USER="alice")
    second = answer(url, "mode", *words, SUDO_USER="carol")
    assert second == first
    said = text(url, "mode", *words, SUDO_USER="carol")
    assert said.startswith(f"the mode was already set; nothing was changed\n{words[0]}, until ")
    assert "by alice@" in said


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["off", "1h"], " (in 1 h); by "),
        (["learn", "--for", "90m"], " (in 1 h 30 min); by "),
        (["off"], "off, until it is reset; by "),
        (["on"], "applies to all servers on the store, whatever their --mode\n"),
    ],
)
def test_a_mode_is_shown_with_its_end_and_how_to_undo_it(
    url: str, words: list[str], shown: str
) -> None:
    said = text(url, "mode", *words)
    assert shown in said
    assert said.splitlines()[-1].startswith("to undo: greyd mode reset")
    assert text(url, "mode", "reset").startswith("on, as configured")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["off", "1h", "--for=2h"], "--for: the time is also given as an argument"),
        (["off", "soon"], "TIME=soon: expected "),
        (["off", "1h", "2h"], "unexpected extra argument"),
    ],
)
def test_a_time_that_is_wrong_or_given_twice_switches_nothing(
    url: str, words: list[str], said: str
) -> None:
    before = content(url)
    done = run_here("mode", *words, f"--store={url}")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert content(url) == before


@pytest.mark.parametrize(
    ("configured", "is_reset"), [((), True), (("on", "on"), True), (("on", "learn"), False)]
)
def test_mode_on_is_a_reset_if_all_servers_are_on(
    tmp_path: Path, configured: Sequence[str], is_reset: bool
) -> None:
    store = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(store, {triplet(): b"%d" % (NOW - 60)})
    with contextlib.ExitStack() as stack:
        for number, mode in enumerate(configured or ("on",)):
            stack.enter_context(run_record(tmp_path, store, mode=mode, pid=4711 + number))
        found = {"GREYD_RUN_DIR": str(tmp_path)}
        answer(store, "mode", "off", **found)
        said = text(store, "mode", "on", **found)
        assert said.startswith("the mode was reset: ") == is_reset
        assert answer(store, "mode", **found)["mode"] == (None if is_reset else "on")
        assert answer(store, "mode", "on", "--for=1h", **found)["mode"] == "on"


def test_a_different_end_or_mode_replaces_the_mode(url: str) -> None:
    answer(url, "mode", "off", SUDO_USER="alice")
    for words in (["off", "--for=1h"], ["off", "--for=3h"], ["off"], ["learn"]):
        told = answer(url, "mode", *words, SUDO_USER="carol")
        assert told["told"]["by"].startswith("carol@")


def test_a_reset_without_a_mode_changes_nothing(url: str) -> None:
    answer(url, "mode", "off")
    text(url, "mode", "reset")
    before = actions(url)
    assert text(url, "mode", "reset").startswith("no mode was set; nothing was changed\n")
    assert actions(url) == before == ["mode reset"]


# Forget ------------------------------------------------------------------------------------------

BOB = "bob@example.org"


@pytest.mark.parametrize(
    "typed",
    ["bob@example.org", "Bob <BOB@example.org>,", "mailto:bob@example.org", "bob+shop@example.org"],
)
def test_all_forms_of_an_address_are_forgotten(tmp_path: Path, typed: str) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    of_bob = [
        triplet(recipient=BOB),
        triplet(recipient="bob+shop@example.org"),
        triplet(recipient="prvs=1234567890=bob@example.org"),
        triplet(sender=BOB, recipient="x@example.net"),
        triplet(sender="bob+list@example.org", recipient="x@example.net", client="198.51.100.1"),
        triplet(sender="list-bob=example.org@lists.example", recipient="x@example.net"),
        triplet(sender="SRS0=ab12=xy=example.org=bob@fwd.example", recipient="x@example.net"),
        identity_keys(b"example.com", b"alice@example.com", BOB.encode(), SETTINGS).triplet,
        SHADOW_PREFIX + triplet(recipient=BOB),
        b"{192.0.2.0}/odd/bob@example.org",
    ]
    others = [
        triplet(recipient="jimbob@example.org"),
        triplet(recipient="bob@example.com"),
        triplet(recipient="bob@sub.example.org"),
        triplet(sender="list-jimbob=example.org@lists.example", recipient="x@example.net"),
        b"{192.0.2.0}:192.0.2.7",
        b"{example.org}:example.org",
    ]
    values = dict.fromkeys(of_bob[:-1] + others[:-2], b"%d" % NOW)
    values |= {of_bob[-1]: b"garbage", others[-2]: b"3,%d" % NOW, others[-1]: b"3,%d,1" % NOW}
    fill(url, values)
    dry = answer(url, "forget", f"--address={typed}", "--dry-run")
    assert {each["key"] for each in dry["removed"]} == {key.decode() for key in of_bob}
    assert set(content(url)) == set(of_bob + others)
    told = answer(url, "forget", f"--address={typed}")
    assert told["entries"] == len(of_bob)
    assert set(content(url)) == {*others, CONTROL_KEY}
    assert BOB not in repr(content(url)[CONTROL_KEY])
    assert answer(url, "forget", f"--address={typed}", status=1)["entries"] == 0


@pytest.mark.parametrize("typed", ["info@bücher.example", "info@xn--bcher-kva.example"])
def test_both_forms_of_a_domain_are_forgotten(tmp_path: Path, typed: str) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    stored = [
        triplet(sender="info@xn--bcher-kva.example"),
        "{192.0.2.0}/info@bücher.example/bob@example.org".encode(),  # version 0.1.0
    ]
    fill(url, dict.fromkeys(stored, b"%d" % NOW))
    assert answer(url, "forget", f"--address={typed}")["triplet"] == 2


LEARNING: dict[str, Any] = {"GREYD_LEARN_OUTBOUND": "1", "GREYD_IDENTITY": "spf,name"}


@pytest.mark.parametrize("scope", ["address", "organisation"])
@pytest.mark.parametrize("who", ["user", "correspondent"])
def test_hashed_correspondences_of_an_address_are_forgotten(url: str, scope: str, who: str) -> None:
    settings = Settings(learn_outbound=True, correspondents=scope)
    ours = keys_to_learn(b"bob@example.org", b"alice@example.com", settings)
    others = [
        *keys_to_learn(b"carol@example.org", b"dave@example.net", settings),
        *keys_to_learn(b"carol@example.org", b"erin@example.com", settings),
    ]
    mail = triplet("alice@example.com", "bob@example.org")
    fill(url, {**{each.key: b"%d" % NOW for each in [*ours, *others]}, mail: b"%d" % NOW})
    address = "bob@example.org" if who == "user" else "alice@example.com"
    told = answer(url, "forget", f"--address={address}", GREYD_CORRESPONDENTS=scope, **LEARNING)
    # Of a correspondent, the records of its organisation are its colleagues' too.
    by_address = [each for each in ours if b"@" in each.correspondent]
    gone = ours if who == "user" else by_address
    assert told["correspondence"] == len(gone)
    remaining = {each.key for each in [*ours, *others]} - {each.key for each in gone}
    assert set(content(url)) - {CONTROL_KEY} == remaining


def test_correspondences_with_organisations_are_found_without_any_triplet(tmp_path: Path) -> None:
    settings = Settings(learn_outbound=True, correspondents="organisation")
    keys = keys_to_learn(b"bob@example.org", b"alice@example.com", settings, [b"mx.host.example"])
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {each.key: b"%d" % NOW for each in keys})
    told = answer(url, "forget", "--address=bob@example.org")
    assert told["correspondence"] == len([each for each in keys if b"@" not in each.correspondent])


@pytest.mark.parametrize("privacy", ["0", "1"])
def test_a_sender_and_a_recipient_identify_their_correspondence(
    tmp_path: Path, privacy: str
) -> None:
    settings = Settings(learn_outbound=True, privacy=privacy == "1")
    keys = keys_to_learn(b"bob@example.org", b"alice@example.com", settings)
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {each.key: b"%d" % NOW for each in keys})
    words = ["--sender=alice@example.com", "--recipient=<bob@example.org>"]
    told = answer(url, "forget", *words, GREYD_PRIVACY=privacy, **LEARNING)
    assert told["correspondence"] == len(keys)


def test_a_domain_is_forgotten_with_its_identities_and_subdomains(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    gone = [
        identity_keys(b"example.com", b"", b"", SETTINGS).identity,
        identity_keys(b"mail.example.com", b"", b"", SETTINGS).identity,
        identity_keys(b"example.com", b"@example.com", b"x@example.net", SETTINGS).triplet,
        triplet("a@sub.example.com"),
    ]
    kept = [identity_keys(b"badexample.com", b"", b"", SETTINGS).identity, triplet("a@example.net")]
    values = {key: b"4,%d,1,1,2" % NOW if b"}:" in key else b"%d" % NOW for key in gone + kept}
    fill(url, values)
    told = answer(url, "forget", "--address=@Example.com")
    assert (told["identity"], told["identity_triplet"], told["triplet"]) == (2, 1, 1)
    assert set(content(url)) == {*kept, CONTROL_KEY}


def test_windows_and_actions_that_name_the_address_are_forgotten(url: str) -> None:
    text(url, "expect", "bob@example.org")
    text(url, "expect", "bob+shop@example.org")
    text(url, "expect", "jimbob@example.org")
    dry = answer(url, "forget", "--address=bob@example.org", "--dry-run")
    assert dry["other"] == 4
    assert answer(url, "forget", "--address=bob@example.org")["other"] == 4
    assert [each["recipient"] for each in answer(url, "expect")] == ["jimbob@example.org"]
    assert [each for each in actions(url) if "bob" in each] == [
        each for each in actions(url) if "jimbob@" in each
    ]


def test_with_privacy_a_window_is_forgotten_and_the_limits_are_stated(
    tmp_path: Path,
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    private: dict[str, Any] = {"GREYD_PRIVACY": "1"}
    text(url, "expect", "bob@example.org", **private)
    done = run_here("forget", "--address=bob@example.org", f"--store={url}", **private)
    assert done.returncode == 2
    assert "has only hashes" in done.stderr
    assert answer(url, "expect", **private) == []


def test_the_receipt_names_what_was_removed(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {triplet(): b"%d" % NOW})
    said = text(url, "forget", "--address=bob@example.org")
    assert "alice@example.com" in said
    assert said.splitlines()[-1].split() == ["triplets", "1"]


# Show --------------------------------------------------------------------------------------------

MAIL = {
    triplet("alice@example.com"): b"%d" % (NOW - 60),
    triplet("alice@example.com", "carol@example.org"): b"%d,%d,%d" % (NOW - 3 * HOUR, NOW, NOW),
    triplet("dave@example.com", "alice@example.com"): b"%d" % (NOW - DAY),
    triplet("x@other.example", client="198.51.100.9"): b"%d" % (NOW - 60),
    b"{192.0.2.0}:192.0.2.7": b"3,%d" % NOW,
    b"{192.0.2.0}:192.0.2.8": b"9,%d" % NOW,
    b"{example.com}:example.com": b"4,%d,%d,1,2" % (NOW, NOW - DAY),
}


@pytest.mark.parametrize(
    ("what", "counts"),
    [
        ("alice@example.com", {"as sender": (1, 1, 0), "as recipient": (0, 0, 1)}),
        ("Alice <ALICE@example.com>,", {"as sender": (1, 1, 0), "as recipient": (0, 0, 1)}),
        ("sender=alice+x@example.com,", {"as sender": (1, 1, 0), "as recipient": (0, 0, 1)}),
        ("example.com", {"as sender": (1, 1, 1), "as recipient": (0, 0, 1)}),
        ("@example.com", {"as sender": (1, 1, 1), "as recipient": (0, 0, 1)}),
        ("192.0.2.7", {"mail": (1, 1, 1)}),
        ("[192.0.2.7]", {"mail": (1, 1, 1)}),
        ("192.0.2.7:25", {"mail": (1, 1, 1)}),
        ("mail.invalid[192.0.2.7]:25", {"mail": (1, 1, 1)}),
        ("client_address=192.0.2.7/32,", {"mail": (1, 1, 1)}),
        ("::ffff:192.0.2.7", {"mail": (1, 1, 1)}),
        ("192.0.2.0/24", {"mail": (1, 1, 1)}),
        ("192.0.0.0/16", {"mail": (1, 1, 1)}),
        ("0.0.0.0/0", {"mail": (2, 1, 1)}),
        ("198.51.100.0/30", {"mail": (1, 0, 0)}),
    ],
)
def test_every_kind_of_query_is_answered(
    tmp_path: Path, what: str, counts: dict[str, tuple[int, int, int]]
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, MAIL)
    told = answer(url, "show", what)
    states = ("waiting", "passed", "never returned")
    for title, numbers in counts.items():
        found = told["counts"][title]
        assert tuple(found.get(state, 0) for state in states) == numbers
    assert text(url, "show", what)


def test_a_client_shows_its_count_and_a_network_those_of_its_clients(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, MAIL)
    assert answer(url, "show", "192.0.2.7")["entries"][0]["successes"] == 3
    found = answer(url, "show", "192.0.2.0/25")["of_network"]
    assert {each["successes"] for each in found if each["kind"] == "client"} == {3, 9}


def test_an_address_shows_its_identity_correspondences_and_windows(url: str) -> None:
    settings = Settings(learn_outbound=True, correspondents="organisation")
    keys = keys_to_learn(b"alice@example.com", b"bob@example.net", settings)
    fill(url, {**MAIL, **{each.key: b"%d" % NOW for each in keys}})
    text(url, "expect", "alice@example.com")
    told = answer(url, "show", "alice@example.com")
    assert [each["kind"] for each in told["entries"]] == ["identity"]
    # The correspondent's own address is nowhere in the store.
    assert told["counts"]["correspondences"] == {"known": 2}
    assert [each["recipient"] for each in told["expected"]] == ["alice@example.com"]
    said = text(url, "show", "alice@example.com")
    assert "2 correspondences" in said
    assert "expected:     mail from anybody passes until" in said


def test_with_privacy_the_input_is_hashed_to_find_entries(tmp_path: Path) -> None:
    settings = Settings(privacy=True)
    private: dict[str, Any] = {"GREYD_PRIVACY": "1"}
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    identity = identity_keys(b"example.com", b"", b"", settings).identity
    fill(url, {identity: b"4,%d,%d,1,2" % (NOW, NOW - DAY)})
    text(url, "expect", "alice@example.com", **private)
    for what in ("alice@example.com", "example.com", "EXAMPLE.COM."):
        done = run_here("show", what, f"--store={url}", "--json", **private)
        told = json.loads(done.stdout)
        assert [each["key"] for each in told["entries"]] == [identity.decode()]
        assert "only hashes" in done.stderr
    assert len(answer(url, "show", "Alice@example.com", **private)["expected"]) == 1


@pytest.mark.parametrize("what", ["::/0", "::1/128", "https://example.com/x", "group:big"])
def test_text_that_only_looks_like_a_key_is_read_as_an_address(tmp_path: Path, what: str) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(
        url,
        {
            b"{2001:db8::}/a@example.com/b@example.org": b"%d" % NOW,
            b"{::}/a@example.com/b@example.org": b"%d" % NOW,
            b"{group:big}:group:big": b"4,%d,%d,1,2" % (NOW, NOW - DAY),
        },
    )
    assert text(url, "show", what)


def test_an_address_without_entries_exits_with_1_and_empty_input_with_2(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, MAIL)
    done = run_here("show", "nobody@nowhere.example", f"--store={url}")
    assert (done.returncode, done.stdout) == (1, "")
    done = run_here("show", "bob smith@example.org", f"--store={url}")
    assert (done.returncode, done.stdout) == (2, "")
    assert '"bob smith"@example.org' in done.stderr
