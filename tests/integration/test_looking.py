"""``greyd list``, ``show``, ``stats`` and ``top`` beside servers at work, on both stores."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from tests.commands import CHECKOUT, answer_of, environment_without_settings, run_here
from tests.integration.lives import get, ready
from tests.processes import PolicyClient, free_port, redis_server, request, unavailable, wait_until

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
        done = run_here("stats", one.store, one.url, "--server=127.0.0.1:1")
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
        done = run_here("stats", place.store, place.url)
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
    """``greyd top`` in a terminal of tmux, which interprets what it writes."""

    def __init__(self, folder: Path, *arguments: str, size: tuple[int, int], **variables: str):
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        columns, rows = size
        # tmux sets TERM for what it starts.
        given = [f"{name}={value}" for name, value in variables.items()]
        words = ["env", *given, sys.executable, "-m", "greyd", "top", *arguments]
        environment = environment_without_settings()
        command = f"cd {CHECKOUT}; {shlex.join(words)}; echo ended with $?; exec sleep 60"
        self._run(
            "new-session", "-d", "-x", str(columns), "-y", str(rows), command, env=environment
        )

    def _run(self, *words: str, **options: Any) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, check=True, **options
        )
        return done.stdout

    def text(self, *options: str) -> str:
        return self._run("capture-pane", "-p", *options)

    def shows(self, pattern: str) -> None:
        """Wait until the pattern matches the screen; a long text may be wrapped on it."""
        wait_until(
            lambda: re.search(pattern, " ".join(self.text().split())) is not None, pattern, 40
        )

    def press(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        self._run("kill-server")


@contextlib.contextmanager
def screen(
    folder: Path, *arguments: str, size: tuple[int, int] = (80, 24), **variables: str
) -> Iterator[Screen]:
    if shutil.which("tmux") is None:
        unavailable("tmux is not installed")
    shown = Screen(folder, *arguments, size=size, **variables)
    try:
        yield shown
    finally:
        shown.close()


@pytest.mark.parametrize("key", ["q", "C-c"])
def test_top_shows_what_happens_until_a_key_ends_it(
    tmp_path: Path, key: str, store_url: str
) -> None:
    with (
        server(tmp_path, store_url) as place,
        screen(tmp_path, place.store, place.url, "--every=1s") as top,
    ):
        place.ask(12)
        top.shows(r"ready, mode on")
        top.shows(r"greylisted +12 ")
        assert re.search(r"\x1b\[[0-9;]*33m", top.text("-e"))
        top.shows(r"12 waiting, newest first")
        top.shows(r"192\.0\.2\.0/24 +s\S*@example\.com +bob@example\.org")
        top.press("r")
        top.shows(r"Release s\S*@example\.com to")
        top.press("y")
        top.shows(r"released: the sender's next attempt passes")
        top.resize(45, 20)
        top.shows(r"sender \(client: below\)")
        assert all(len(line) <= 45 for line in top.text().splitlines())
        top.press(key)
        top.shows(r"ended with 0")
        assert "Traceback" not in top.text()


@pytest.mark.parametrize(
    "variables", [{"NO_COLOR": "1"}, {"TERM": "vt100"}], ids=["NO_COLOR", "vt100"]
)
def test_top_needs_no_colours(tmp_path: Path, variables: dict[str, str]) -> None:
    with (
        server(tmp_path, f"sqlite:{tmp_path / 'greyd.db'}") as place,
        screen(tmp_path, place.store, place.url, **variables) as top,
    ):
        place.ask(1)
        top.shows("1 waiting")
        assert not re.search(r"\x1b\[[0-9;]*[34][0-7][;m]", top.text("-e"))


def test_top_says_that_a_server_is_gone_and_comes_back(tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'greyd.db'}"
    metrics = free_port()
    options = (f"--metrics=127.0.0.1:{metrics}", f"--store={store}")
    address = f"--server=http://127.0.0.1:{metrics}"
    with ready(tmp_path, *options) as running:
        with PolicyClient(running.port) as client:
            client.ask(request())
        with screen(tmp_path, f"--store={store}", address, "--every=1s") as top:
            top.shows(r"ready, mode on")
            running.stop()
            top.shows(r"connection refused; [^()]*\(asking again every 1 s\)")
            # The list stays usable.
            top.shows(r"1 waiting")
            with ready(tmp_path, *options):
                top.shows(r"ready, mode on, just started")


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
