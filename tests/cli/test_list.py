"""``greyd list``: as people and programs read it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from greyd.cli.entries.list import DEFAULT_LIMIT, default_limit
from greyd.config.settings import Settings
from greyd.rules.correspondence.keys import correspondence_key
from greyd.rules.entries import is_internal_key
from greyd.rules.keys import request_keys
from tests.commands import (
    CHECKOUT,
    answer_of,
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


def keys_of(
    client: str = "192.0.2.7",
    sender: str = "alice@example.com",
    settings: Settings = SETTINGS,
) -> Any:
    evidence = evidence_for(b"example.com", speaks=False)
    return request_keys(address_of(client), sender.encode(), b"bob@example.org", settings, evidence)


WAITS = keys_of().triplet
PASSED = keys_of("198.51.100.7", "carol@example.net").triplet
GONE = keys_of("203.0.113.7", "").triplet
RECORDS = {
    WAITS: b"%d" % (NOW - 60),
    PASSED: b"%d,%d,%d" % (NOW - 21_000, NOW - 20_000, NOW - 20_000),
    GONE: b"%d" % (NOW - 30_000),
    keys_of("198.51.100.7").client: b"7,%d" % (NOW - 8000),
    keys_of("198.51.100.8").client: b"1,%d" % (NOW - 8000),
    keys_of().identities[0].identity: b"1,%d,%d" % (NOW, NOW),
    correspondence_key(b"dave@example.edu", b"bob@example.org", SETTINGS): b"%d" % NOW,
    b"probe": b"%d" % NOW,
    keys_of("192.0.2.9", "old@example.com").triplet: b"1000",
}
ENTRIES = sum(not is_internal_key(key) for key in RECORDS)
"""What the messages count: records of greyd's own are not entries."""

MEANT = len(RECORDS) - 2


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, RECORDS)
    return f"--store={url}"


def found(store: str, *options: str) -> list[str]:
    """Return the keys of what is listed."""
    return [each["key"] for each in answer_of("list", store, *options)["entries"]]


def test_all_that_means_something_is_listed(store: str) -> None:
    answer = answer_of("list", store)
    assert (answer["shown"], answer["more"], answer["looked_at"]) == (MEANT, False, len(RECORDS))
    assert len(answer["entries"]) == MEANT
    kinds = {entry["kind"] for entry in answer["entries"]}
    assert kinds == {"triplet", "client", "identity", "correspondence"}


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--waiting"], WAITS),
        (["--passed"], PASSED),
        (["--never-returned"], GONE),
        (["--auto-whitelisted"], keys_of("198.51.100.7").client),
        (["--client=192.0.2.0/25"], WAITS),
        (["--client=198.51.100.7", "--passed"], PASSED),
        (["--client=example.com"], keys_of().identities[0].identity),
        (["--sender=<>"], GONE),
        (["--sender=example.net"], PASSED),
        (["--recipient=bob@example.org", "--since=1h"], WAITS),
    ],
)
def test_entries_are_selected(store: str, options: list[str], key: bytes) -> None:
    assert found(store, *options) == [key.decode()]


def test_states_add_up_and_other_options_narrow_down(store: str) -> None:
    assert set(found(store, "--waiting", "--passed")) == {WAITS.decode(), PASSED.decode()}
    done = run("list", store, "--waiting", "--sender=example.net")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"greyd: none of {ENTRIES} entries matches\n"


def test_a_new_store_has_no_entries_yet(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {b"probe": b"%d" % NOW, b"swept": b"%d" % NOW, b"{hits}!since": b"%d" % NOW})
    for options in ([], ["--waiting"], ["--sender=example.net"]):
        done = run("list", f"--store={url}", *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith("greyd: the store has no entries yet\n")


def test_nothing_is_a_document_too(store: str) -> None:
    done = run("list", store, "--recipient=nobody@example.org", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["entries"] == []


def test_a_program_gets_all_that_is_known_of_an_entry(store: str) -> None:
    (entry,) = answer_of("list", store, "--passed")["entries"]
    assert 0 <= entry.pop("forgotten_at") - (NOW + 100_000) < 3600
    assert entry == {
        "kind": "triplet",
        "state": "passed",
        "client": "198.51.100.0",
        "client_network": "198.51.100.0/24",
        "sender": "carol@example.net",
        "recipient": "bob@example.org",
        "first_seen": NOW - 21_000,
        "last_seen": NOW - 20_000,
        "passes_at": NOW - 20_700,
        "passed_at": NOW - 20_000,
        "key": PASSED.decode(),
    }
    (client,) = answer_of("list", store, "--auto-whitelisted")["entries"]
    assert client["successes"] == 7


def test_what_waits_is_forgotten_with_the_retry_window(store: str) -> None:
    (entry,) = answer_of("list", store, "--waiting", GREYD_RETRY_WINDOW="6h")["entries"]
    assert entry["forgotten_at"] == entry["first_seen"] + 6 * 3600
    (entry,) = answer_of("list", store, "--passed", GREYD_MAX_AGE="1")["entries"]
    assert entry["forgotten_at"] == entry["last_seen"] + 86400


def test_a_document_has_an_entry_a_line(store: str) -> None:
    lines = run("list", store, "--json").stdout.splitlines()
    assert [json.loads(line.rstrip(","))["kind"] for line in lines[1:-1]]
    assert len(lines) == MEANT + 2


def test_people_get_a_line_an_entry_where_no_terminal_is(store: str) -> None:
    done = run("list", store, "--waiting")
    head, line = done.stdout.splitlines()
    assert " ".join(head.split()) == "state last seen passes at client sender recipient"
    passes = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(NOW - 60 + 300))
    assert passes in line
    assert line.split()[-3:] == ["192.0.2.0/24", "alice@example.com", "bob@example.org"]
    assert done.stderr == f"greyd: 1 of {ENTRIES} entries shown\n"
    assert run("list", store, "--never-returned").stdout.splitlines()[1].split()[-2] == "<>"


def test_keys_are_shown_where_they_are_wanted(store: str) -> None:
    line = run("list", store, "--waiting", "--keys").stdout.splitlines()[1]
    assert line.split()[-1] == WAITS.decode()


def test_no_more_is_shown_than_wanted_and_it_says_so(store: str) -> None:
    done = run("list", store, "-n", "2")
    assert len(done.stdout.splitlines()) == 3
    # On a busy machine the time for counting may end first.
    said = done.stderr.replace("at least ", "")
    assert said == f"greyd: 2 entries shown … and {MEANT - 2} more; --limit=0 shows all\n"
    answer = answer_of("list", store, "--limit=2")
    assert (len(answer["entries"]), answer["shown"], answer["more"]) == (2, 2, True)
    answer = answer_of("list", store, f"--limit={MEANT}")
    assert (len(answer["entries"]), answer["more"]) == (MEANT, False)


def test_a_thousand_are_shown_to_people_and_all_to_programs(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {keys_of(sender=f"{'x' * n}@e.com").triplet: b"%d" % NOW for n in range(1, 1202)})
    store = f"--store={url}"
    assert len(run("list", store).stdout.splitlines()) == 1001
    assert len(run("list", store, "--limit=0").stdout.splitlines()) == 1202
    assert answer_of("list", store)["shown"] == 1201


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {keys_of(sender=f"{'x' * n}@e.com").triplet: b"%d" % NOW for n in range(1, 3000)})
    for more in ("", "--json"):
        command = f"{sys.executable} -m greyd list --store={url} --limit=0 {more} | head -n 2"
        done = subprocess.run(
            ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
            cwd=CHECKOUT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


def test_what_a_stranger_sent_steers_no_terminal(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {b"{192.0.2.0}/\x1b[31m\xc2\x9b@example.com/\nbob@example.org": b"%d" % NOW})
    shown = run("list", f"--store={url}").stdout
    assert "%1B[31m%C2%9B@example.com" in shown
    assert shown.replace("\n", "").isprintable()
    assert len(shown.splitlines()) == 2
    written = run("list", f"--store={url}", "--json").stdout
    assert written.isascii()
    assert written.replace("\n", "").isprintable()
    assert json.loads(written)["entries"][0]["sender"] == "\x1b[31m\x9b@example.com"


# Order and repetition ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sort", "clients"),
    [
        ([], ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
        (["--sort=last-seen"], ["203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"]),
        (["--sort=client"], ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
        (["--sort=-client", "--limit=2"], ["203.0.113.0/24", "198.51.100.0/24"]),
        (["--sort", "-state"], ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
        (["--sort=state", "--limit=0"], ["203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24"]),
        (["--sort=passes-at", "-n1"], ["192.0.2.0/24"]),
    ],
)
def test_entries_are_sorted_by_what_the_table_shows(
    store: str, sort: list[str], clients: list[str]
) -> None:
    options = ["--recipient=bob@example.org", *sort]
    lines = run_here("list", store, *options).stdout.splitlines()[1:]
    assert [line.split()[-3] for line in lines] == clients
    if sort:
        answer = json.loads(run_here("list", store, *options, "--json").stdout)
        assert [each["client_network"] for each in answer["entries"]] == clients


def test_a_sort_by_no_column_is_one_line(store: str) -> None:
    done = run_here("list", store, "--sort=size")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the columns are state, last-seen, passes-at, client, sender, recipient" in done.stderr


def test_the_order_holds_beyond_the_limit_and_the_rest_is_counted(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    times = {keys_of(sender=f"{'x' * n}@e.com").triplet: NOW - (n * 37) % 101 for n in range(1, 90)}
    fill(url, {key: b"%d" % seen for key, seen in times.items()})
    done = run_here("list", f"--store={url}", "--sort=sender", "--limit=3")
    senders = [line.split()[-2] for line in done.stdout.splitlines()[1:]]
    assert senders == sorted(f"{'x' * n}@e.com" for n in range(1, 90))[:3]
    assert done.stderr.endswith("3 entries shown … and 86 more; --limit=0 shows all\n")


def test_watching_in_a_pipe_prints_blocks_until_interrupted(store: str) -> None:
    command = [sys.executable, "-m", "greyd", "list", store, "--waiting", "--watch=0.2"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert lines[0] == lines[3]
    assert lines[2] == "\n"


def test_watching_on_a_terminal_redraws_in_place_until_ctrl_c(store: str) -> None:
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (8, 60))
    process = subprocess.Popen(
        [sys.executable, "-m", "greyd", "list", store, "--watch=0.2"],
        cwd=CHECKOUT, stdin=its, stdout=its, stderr=its,
        # An empty COLUMNS counts as none: the terminal's own width counts.
        env={**environment_without_settings(), "TERM": "xterm", "NO_COLOR": "1", "COLUMNS": ""},
    )  # fmt: skip
    os.close(its)
    text = b""
    while text.count(b"\x1b[J") < 2:
        text += os.read(ours, 10_000)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    os.close(ours)
    first, second, *_ = text.decode().split("\x1b[J")
    assert first.startswith("\x1b[H\x1b[2J")
    assert second.startswith("\x1b[H")
    lines = second.removeprefix("\x1b[H").replace("\x1b[K", "").splitlines()
    assert "Ctrl-C ends" in lines[0]
    assert lines[-1].endswith(" more lines")
    assert len(lines) < 8
    assert max(map(len, lines)) <= 60


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1e9", ""])
def test_a_pause_that_is_none_is_refused(store: str, value: str) -> None:
    done = run_here("list", store, f"--watch={value}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--watch={value}: expected seconds" in done.stderr


# With --privacy -----------------------------------------------------------------------------------


@pytest.fixture
def private(tmp_path: Path) -> str:
    settings = Settings(privacy=True)
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    names = keys_of(settings=settings)
    fill(url, {names.triplet: b"%d" % NOW, names.client: b"7,%d" % NOW})
    return f"--store={url}"


def test_hashes_are_shown_in_the_place_of_names(private: str) -> None:
    assert run("list", private, GREYD_PRIVACY="1").stdout.count("-  ") >= 2
    answer = answer_of("list", private, GREYD_PRIVACY="1")
    assert {entry["state"] for entry in answer["entries"]} == {"waiting", "auto-whitelisted"}
    assert all("sender" not in entry and "client" not in entry for entry in answer["entries"])


def test_one_triplet_and_one_client_can_be_found_by_their_hashes(private: str) -> None:
    exact = ["--client=192.0.2.7", "--sender=Alice@example.com", "--recipient=bob@example.org"]
    (entry,) = answer_of("list", private, *exact, GREYD_PRIVACY="1")["entries"]
    assert entry["kind"] == "triplet"
    (entry,) = answer_of("list", private, exact[0], GREYD_PRIVACY="1")["entries"]
    assert entry["kind"] == "client"
    assert run("list", private, *exact, "--passed", GREYD_PRIVACY="1").returncode == 1
    assert run("list", private, *exact[:2], "--recipient=x@y.org", GREYD_PRIVACY="1").returncode


@pytest.mark.parametrize("options", [["--sender=example.com"], ["--client=192.0.2.0/24"]])
def test_other_names_are_refused_and_it_says_why(private: str, options: list[str]) -> None:
    done = run("list", private, *options, GREYD_PRIVACY="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--privacy" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--since=soon"], "--since=soon: expected a duration"),
        (["--client=192.0.2"], "for the network write 192.0.2.0/24; expected"),
        (["--store=sqlite:/nonexistent/greyd.db"], "nothing is stored there"),
    ],
)
def test_what_cannot_be_done_is_one_line(store: str, options: list[str], said: str) -> None:
    done = run("list", store, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("lines", "columns", "shown"), [(20, 45, 5), (8, 45, 5), (50, 45, 14), (24, 80, 18), (5, 80, 5)]
)
def test_a_terminal_gets_what_fits(lines: int, columns: int, shown: int) -> None:
    console = Console(force_terminal=True, width=columns, height=lines)
    assert default_limit(console) == shown
    assert default_limit(Console(force_terminal=False, width=columns)) == DEFAULT_LIMIT
