"""``greyd list``, ``show``, ``stats`` and ``top`` beside servers at work, on both stores."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from tests.commands import CHECKOUT, answer_of, environment_without_settings, run
from tests.integration.lives import get, ready
from tests.processes import PolicyClient, free_port, redis_server, request, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


class Place:
    """A server, and how its commands are called."""

    def __init__(self, port: int, metrics: int, store: str) -> None:
        self.port = port
        self.metrics = metrics
        self.store = f"--store={store}"
        self.url = f"--server=http://127.0.0.1:{metrics}"

    def figures(self) -> Any:
        status, body = get(self.metrics, "/stats.json")
        assert status == 200
        return json.loads(body)

    def ask(self, number: int, client: str = "192.0.2.7") -> None:
        """Ask for new mail, over a connection each, so that all workers take some."""
        for each in range(number):
            with PolicyClient(self.port) as connection:
                connection.ask(request(sender=f"s{'x' * each}@example.com", client_address=client))


@contextlib.contextmanager
def server(folder: Path, store: str, *options: str) -> Iterator[Place]:
    metrics = free_port()
    with ready(folder, f"--metrics=127.0.0.1:{metrics}", f"--store={store}", *options) as running:
        yield Place(running.port, metrics, store)


# The figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_the_figures_add_up_to_the_requests(tmp_path: Path, workers: int) -> None:
    store = f"sqlite:{tmp_path / 'greyd.db'}"
    with server(tmp_path, store, f"--workers={workers}") as place:
        place.ask(20)
        place.ask(5)
        # Whichever worker answers.
        for _ in range(6):
            figures = place.figures()
            assert figures["workers"] == workers
            assert figures["ready"] is True
            for period in figures["periods"].values():
                assert (period["requests"], period["greylisted"], period["passed"]) == (25, 25, 0)
                counts = {each["reason"]: each["count"] for each in period["outcomes"]}
                # Who comes back within a second is new still.
                assert counts["new"] + counts["early-retry"] == 25
                assert counts["new"] >= 20
                assert (period["store_requests"], period["store_errors"]) == (25, 0)


def test_the_figures_name_nobody(tmp_path: Path) -> None:
    with server(tmp_path, f"sqlite:{tmp_path / 'greyd.db'}", "--status-details") as place:
        place.ask(3)
        told = get(place.metrics, "/stats.json")[1]
        assert not re.search(r"192\.0\.2|example\.com|example\.org|bob", told)


def test_what_was_asked_a_minute_ago_counts_for_the_hour_alone(tmp_path: Path) -> None:
    with server(tmp_path, f"sqlite:{tmp_path / 'greyd.db'}") as place:
        place.ask(3)
        wait_until(lambda: place.figures()["periods"]["minute"]["requests"] == 0, "gone", 90)
        figures = place.figures()
        assert figures["periods"]["hour"]["requests"] == 3
        assert 40 <= figures["periods"]["minute"]["seconds"] <= 60


# The commands -------------------------------------------------------------------------------------


def test_stats_add_servers_and_store_up(tmp_path: Path, store_url: str) -> None:
    with server(tmp_path / "1", store_url) as one, server(tmp_path / "2", store_url) as other:
        one.ask(12)
        other.ask(7, "198.51.100.7")
        answer = answer_of("stats", one.store, one.url, other.url)
        assert [each["periods"]["minute"]["requests"] for each in answer["servers"]] == [12, 7]
        assert answer["together"]["minute"]["requests"] == 19
        assert answer["together"]["minute"]["per_second"] > 0
        entries = answer["store"]["entries"]
        assert entries["triplets"] == {"waiting": 19, "passed": 0, "never_returned": 0}
        assert entries["waiting_clients"][0] == {
            "client": "192.0.2.0",
            "waiting": 12,
            "client_network": "192.0.2.0/24",
        }
        assert entries["waiting_recipients"] == [{"recipient": "bob@example.org", "waiting": 19}]
        assert answer["store"]["octets"] > 10_000
        done = run("stats", one.store, one.url, "--server=127.0.0.1:1")
        assert done.returncode == 1
        assert "127.0.0.1:1: connection refused" in done.stdout
        assert re.search(r"^greylist new +12 ", done.stdout, re.MULTILINE)
        assert "triplets: 19 waiting" in done.stdout


def test_the_settings_say_which_server_to_ask(tmp_path: Path) -> None:
    with server(tmp_path, f"sqlite:{tmp_path / 'greyd.db'}") as place:
        place.ask(2)
        answer = answer_of("stats", place.store, GREYD_METRICS=f"0.0.0.0:{place.metrics}")
        assert answer["servers"][0]["periods"]["hour"]["requests"] == 2


def test_a_store_that_is_away_is_told_and_the_server_is_shown(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path) as redis,
        server(tmp_path, f"redis://127.0.0.1:{redis.port}/0") as place,
    ):
        place.ask(2)
        redis.stop()
        place.ask(1)
        wait_until(lambda: not place.figures()["ready"], "it is noticed")
        done = run("stats", place.store, place.url)
        assert done.returncode == 1
        assert "NOT READY: its store does not answer" in done.stdout
        assert "store errors: 1" in done.stdout
        assert "pass store unavailable" in done.stdout


def test_what_is_asked_while_lists_run_is_answered_and_listed(
    tmp_path: Path, store_url: str
) -> None:
    stop = threading.Event()
    with server(tmp_path, store_url) as place:
        place.ask(30)

        def keep_asking() -> None:
            with PolicyClient(place.port) as client:
                for number in range(100_000):
                    if stop.is_set():
                        break
                    reply = client.ask(request(sender=f"n{'y' * (number % 300)}@example.net"))
                    assert reply is not None
                    assert reply.startswith("action=DEFER_IF_PERMIT")

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            for _ in range(3):
                answer = answer_of("list", place.store, "--waiting", "--sender=example.com")
                assert answer["shown"] == 30
                assert len({entry["key"] for entry in answer["entries"]}) == 30
            entry = answer_of("show", place.store, "192.0.2.7", "s@example.com", "bob@example.org")
            assert entry["entries"][0]["state"] == "waiting"
        finally:
            stop.set()
            asking.join(20)
        failed = {
            each["reason"]: each["count"]
            for each in place.figures()["periods"]["start"]["outcomes"]
        }["store unavailable"]
        assert failed == 0


# In a terminal ------------------------------------------------------------------------------------


class Screen:
    """``greyd top`` in a terminal."""

    def __init__(self, *arguments: str, rows: int = 24, columns: int = 80) -> None:
        environment = environment_without_settings()
        self.child = pexpect.spawn(
            sys.executable, ["-m", "greyd", "top", *arguments], cwd=str(CHECKOUT), timeout=30,
            dimensions=(rows, columns), encoding="utf-8", env={**environment, "TERM": "xterm"},
        )  # fmt: skip

    def shows(self, text: str) -> None:
        self.child.expect(text)

    def ends(self) -> int | None:
        self.child.expect(pexpect.EOF)
        self.child.close()
        return self.child.exitstatus


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_top_shows_what_happens_until_a_key_ends_it(
    tmp_path: Path, key: str, store_url: str
) -> None:
    with server(tmp_path, store_url) as place:
        place.ask(12)
        screen = Screen(place.store, place.url, "--every=1s")
        screen.shows(r"ready; mode on")
        screen.shows(r"greylist new[^\r\n]* 12 ")
        screen.shows(r"12 waiting")
        screen.shows(r"12  192\.0\.2\.0")
        place.ask(12)
        screen.shows(r"all [^\r\n]*\b24\b")
        screen.child.send(key)
        assert screen.ends() == 0
        # The terminal is as it was: the other screen is left, the cursor is back.
        assert "\x1b[?1049l" in screen.child.before
        assert "\x1b[?25h" in screen.child.before
        assert "Traceback" not in screen.child.before


def test_top_keeps_to_the_size_of_its_terminal(tmp_path: Path) -> None:
    with server(tmp_path, f"sqlite:{tmp_path / 'greyd.db'}") as place:
        place.ask(30)
        screen = Screen(place.store, place.url, "--every=1s")
        screen.shows(r"\[H(.*)30 waiting")
        for rows, columns in ((40, 132), (12, 60)):
            screen.child.setwinsize(rows, columns)
            screen.shows(r"30 waiting")
            screen.shows(r"\x1b\[H(.*?)\x1b\[H")
            lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.child.match[1]).split("\r\n")
            assert len(lines) <= rows
            assert max(map(len, lines)) <= columns
        screen.child.kill(signal.SIGTERM)
        assert screen.ends() == 0


def test_top_writes_lines_until_it_is_interrupted(tmp_path: Path) -> None:
    with server(tmp_path, f"sqlite:{tmp_path / 'greyd.db'}") as place:
        place.ask(3)
        output = tmp_path / "lines"
        command = f"{sys.executable} -m greyd top {place.store} {place.url} --every=1s > {output}"
        child = pexpect.spawn("sh", ["-c", f"exec {command}"], cwd=str(CHECKOUT), timeout=30)
        wait_until(lambda: output.exists() and output.read_bytes().count(b"\n") >= 2, "lines", 30)
        place.ask(3)
        seen = output.read_bytes().count(b"\n")
        wait_until(lambda: output.read_bytes().count(b"\n") >= seen + 2, "more lines", 30)
        child.kill(signal.SIGINT)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        lines = [json.loads(line) for line in output.read_text().splitlines()]
        counted = [line["together"]["start"]["requests"] for line in lines]
        assert (counted[0], counted[-1]) == (3, 6)
        between = [line["together"].get("now", {}).get("requests", 0) for line in lines]
        assert sum(between) == 3
        assert all(time.time() - line["time"] < 60 for line in lines)
