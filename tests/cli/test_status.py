"""``greyd`` without a command shows what runs, what waits, what is wrong, and what to do."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.status import command
from greyd.cli.status.sparkline import sparkline
from greyd.config.running.run_record import RunRecord
from greyd.monitoring.health.problems import HealthProblem, ProblemLevel, mode_in_words
from greyd.monitoring.mode_in_force import ModeInForce, ModeSetting
from greyd.monitoring.stats import TripletCounts
from greyd.rules.reasons import OUTCOMES
from greyd.server.files.run_file import RunFile
from tests.commands import environment_without_settings, run_here
from tests.metrics_port import metrics_port
from tests.monitoring.test_stats import FOUND, NEW, Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

TRIPLETS = TripletCounts(
    waiting=50, passed=900, never_returned=1234, complete=True, age_seconds=130,
    waiting_in_delay=42, waiting_due=8,
)  # fmt: skip
STORE_DOWN = HealthProblem(ProblemLevel.ERROR, "the store does not answer", "greyd doctor")
DNS_DOWN = HealthProblem(ProblemLevel.WARNING, "zen.example is out of order", "greyd doctor --dns")


def document(*, mails: int = 60, **more: Any) -> dict[str, Any]:
    """Return the document of a server that has answered ``mails`` requests in ten minutes."""
    server = Server()
    for _ in range(10):
        server.metrics.requests[OUTCOMES[NEW]].inc(mails // 20)
        server.metrics.requests[OUTCOMES[FOUND]].inc(mails // 20)
        server.run(60)
    more.setdefault("mode", ModeInForce("on", "on"))
    stats = server.figures(triplets=more.pop("triplets", TRIPLETS), **more)
    told = replace(stats, ready=STORE_DOWN not in more.get("problems", ()), host="mx1")
    found: dict[str, Any] = json.loads(json.dumps(told.dump()))
    return found


def serving(answer: dict[str, Any]) -> contextlib.AbstractContextManager[str]:
    """Serve a document as a metrics port does; yield the address."""
    return metrics_port(lambda _path: json.dumps(answer))


@contextlib.contextmanager
def silent_port() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def record_in(folder: Path, metrics: str | None, store: str, pid: int = 4711) -> Iterator[None]:
    """Keep the record of a running server in a folder."""
    record = RunRecord(
        pid=pid,
        version="0.2.0",
        started_at=1_794_000_000,
        sockets=("inet:127.0.0.1:10023",),
        metrics=metrics,
        store=store,
        options=(),
    )
    file = RunFile(record, folder)
    try:
        yield
    finally:
        file.remove()


def status_of(
    folder: Path, *answers: dict[str, Any], words: tuple[str, ...] = (), columns: int = 80
) -> CompletedProcess[str]:
    """Run ``greyd`` while servers run that give these answers, each with a store of its own."""
    with contextlib.ExitStack() as stack:
        for number, answer in enumerate(answers):
            port = stack.enter_context(serving(answer))
            store = f"sqlite:/var/lib/greyd{number}/greyd.db"
            stack.enter_context(record_in(folder, port, store, 4711 + number))
        return run_here(*words, COLUMNS=str(columns), GREYD_RUN_DIR=str(folder))


@pytest.mark.parametrize("columns", [45, 80, 160])
def test_a_server_that_is_well_is_shown_in_ten_lines(tmp_path: Path, columns: int) -> None:
    done = status_of(tmp_path, document(), columns=columns)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "● greyd on mx1 is healthy"
    assert all(len(line) <= columns and line == line.rstrip() for line in lines)
    assert len(lines) <= (10 if columns >= 80 else 20)
    text = " ".join(done.stdout.split())
    for expected in (
        "Server: 127.0.0.1:10023, pid 4711, greyd 0.2.0, up 10 min",
        "Store: sqlite:/var/lib/greyd0/greyd.db, answers",
        "Mode: on, as configured; delay 1 min",
        "30 passed, 30 greylisted; at most 6 a minute",
        "Waiting: 50 triplets: 42 in the delay, 8 due for a retry; 1,234 never returned",
        "(counted 2 min 10 s ago)",
        "Next: greyd list --waiting a user misses mail: greyd show ADDRESS",
    ):
        assert expected in text


def test_who_set_the_mode_and_until_when_is_shown_with_the_way_back(tmp_path: Path) -> None:
    mode = ModeInForce("off", "on", ModeSetting("alice@mx1", 1_794_000_000, 1_794_007_200))
    problem = HealthProblem(ProblemLevel.WARNING, "mode off: all mail passes", "greyd mode reset")
    done = status_of(tmp_path, document(mode=mode, problems=[problem]))
    assert done.returncode == 0
    text = " ".join(done.stdout.split())
    assert "● greyd on mx1 is running but passes all mail: mode off" in text
    assert "Mode: off until 20" in text
    assert "by alice@mx1 at 20" in text
    assert "Next: greyd mode reset" in text


@pytest.mark.parametrize("until", [0, 1_794_007_200])
@pytest.mark.parametrize("mode", ["off", "learn"])
def test_a_mode_that_somebody_has_set_needs_no_more_than_ten_lines(
    tmp_path: Path, mode: str, until: int
) -> None:
    found = ModeInForce(mode, "on", ModeSetting("alice@mx1", 1_794_000_000, until))
    text = f"mode {mode_in_words(found)}: all mail passes, nothing is stored"
    problem = HealthProblem(ProblemLevel.WARNING, text, "greyd mode reset")
    done = status_of(tmp_path, document(mode=found, problems=[problem]))
    lines = done.stdout.splitlines()
    assert len(lines) <= 10
    assert f"   Problems: mode {mode}: all mail passes, nothing is stored" in lines
    assert done.stdout.count("alice@mx1") == 1, "in the row of the mode"
    answer = json.loads(
        status_of(tmp_path, document(mode=found, problems=[problem]), words=("--json",)).stdout
    )
    assert answer["problems"][0]["text"] == text


@pytest.mark.parametrize(
    ("problems", "status", "verdict", "next_command"),
    [
        ([DNS_DOWN], 0, "works but needs attention", "greyd doctor --dns"),
        ([STORE_DOWN], 1, "is running, with errors", "greyd doctor"),
        ([STORE_DOWN, DNS_DOWN], 1, "is running, with errors", "greyd doctor"),
    ],
)
def test_what_looks_wrong_decides_the_verdict_and_the_next_command(
    tmp_path: Path, problems: list[HealthProblem], status: int, verdict: str, next_command: str
) -> None:
    done = status_of(tmp_path, document(problems=problems))
    assert done.returncode == status
    assert verdict in done.stdout.splitlines()[0]
    assert all(each.text in done.stdout for each in problems)
    assert done.stdout.splitlines()[-1].strip() == f"Next: {next_command}"


def test_a_server_whose_record_cannot_be_read_has_not_stopped(tmp_path: Path) -> None:
    with record_in(tmp_path, None, "sqlite:/var/lib/greyd/greyd.db", 4711):
        (file,) = [each for each in tmp_path.iterdir() if each.is_file()]
        file.write_text("{")
        done = run_here(GREYD_RUN_DIR=str(tmp_path), COLUMNS="80")
    assert done.returncode == 4
    assert done.stdout.startswith("● a server is running here, but its state can't be fetched\n")


@pytest.mark.parametrize(
    ("problems", "colour"), [([], "32"), ([DNS_DOWN], "33"), ([STORE_DOWN], "31")]
)
def test_the_dot_has_the_colour_of_the_worst(
    tmp_path: Path, problems: list[HealthProblem], colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = status_of(tmp_path, document(problems=problems))
    assert done.stdout.startswith(f"\x1b[{colour}m●\x1b[0m ")


def test_all_problems_are_counted_if_not_all_are_shown(tmp_path: Path) -> None:
    problems = [HealthProblem(ProblemLevel.WARNING, f"fault {number}") for number in range(12)]
    done = status_of(tmp_path, document(problems=problems))
    assert "… and 7 more: greyd doctor" in done.stdout


def test_without_a_server_the_status_is_3_and_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SYSTEMD", tmp_path / "none")
    done = status_of(tmp_path)
    assert done.returncode == 3
    assert done.stdout.startswith("○ no greyd server is running here\n")
    assert str(tmp_path) in done.stdout
    assert done.stdout.endswith(" Next: greyd serve\n")
    monkeypatch.setattr(command, "SYSTEMD", tmp_path)
    monkeypatch.setattr(command, "UNIT_FOLDERS", (tmp_path,))
    (tmp_path / "greyd.service").touch()
    assert status_of(tmp_path).stdout.endswith(" Next: systemctl start greyd\n")


def test_a_server_that_does_not_answer_is_an_error_after_a_bounded_time(tmp_path: Path) -> None:
    with silent_port() as port, record_in(tmp_path, port, "memory://"):
        done = run_here(GREYD_RUN_DIR=str(tmp_path), COLUMNS="80")
    assert done.returncode == 1
    assert "greyd is running but does not answer" in done.stdout
    assert "no answer within 1 s" in " ".join(done.stdout.split())


def test_without_metrics_the_state_is_called_unknown_not_well(tmp_path: Path) -> None:
    with record_in(tmp_path, None, "memory://"):
        done = run_here(GREYD_RUN_DIR=str(tmp_path), COLUMNS="80")
    assert done.returncode == 4
    assert "its health is unknown" in done.stdout
    assert "--metrics=off" in done.stdout


def test_an_invalid_setting_is_a_problem_and_hides_no_server(tmp_path: Path) -> None:
    file = tmp_path / "greyd.toml"
    file.write_text("delay = soon")
    with serving(document()) as port, record_in(tmp_path, port, "memory://"):
        done = run_here("status", f"--run-dir={tmp_path}", f"--config={file}", COLUMNS="200")
    assert done.returncode == 0
    assert "● greyd on mx1" in done.stdout
    assert str(file) in done.stdout


def test_all_servers_are_listed_and_the_worst_decides(tmp_path: Path) -> None:
    done = status_of(tmp_path, document(), document(problems=[STORE_DOWN]))
    assert done.returncode == 1
    assert done.stdout.count("● greyd on mx1") == 2
    assert "pid 4711" in done.stdout
    assert "pid 4712" in done.stdout
    one = status_of(tmp_path, document(), document(), words=("status", "--dbdir=/var/lib/greyd1"))
    assert "pid 4711" not in one.stdout
    assert "pid 4712" in one.stdout


@pytest.mark.parametrize("words", [("--json",), ("status", "--json")])
def test_the_document_has_what_the_lines_show(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = status_of(tmp_path, document(problems=[DNS_DOWN]), words=words)
    told = json.loads(done.stdout)
    assert told["health"] == "well"
    assert told["next"] == "greyd doctor --dns"
    assert told["problems"] == [
        {"level": "warning", "text": DNS_DOWN.text, "remedy": DNS_DOWN.remedy}
    ]
    (server,) = told["servers"]
    assert (server["pid"], server["answers"]) == (4711, True)
    assert server["stats"]["triplets"]["waiting"] == 50
    assert json.loads(status_of(tmp_path, words=words).stdout)["health"] == "stopped"


def test_nothing_from_a_server_controls_the_terminal(tmp_path: Path) -> None:
    evil = {**document(), "host": "mx\x1b[31m1", "store": "\x1b]0;x\x07"}
    evil["problems"] = [{"level": "error", "text": "a\x1b[2Jb\nc", "remedy": "rm\x1b[0m"}]
    done = status_of(tmp_path, evil)
    assert "\x1b" not in done.stdout
    assert done.stdout.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("numbers", "width", "line"),
    [
        ([0, 1, 2, 4, 8], 60, "▁▂▃▅█"),
        ([0, 0, 0], 60, "▁▁▁"),
        ([], 60, ""),
        ([1000, 1], 60, "█▂"),
        ([1, 1, 2, 2], 2, "▅█"),
        ([1, 1, 1], 2, "█▅"),
    ],
)
def test_a_sparkline_scales_to_its_highest_number(
    numbers: list[int], width: int, line: str
) -> None:
    assert sparkline(numbers, width) == line


def test_an_output_of_ascii_gets_ascii(tmp_path: Path) -> None:
    problems = [HealthProblem(ProblemLevel.WARNING, f"fault {n}", "greyd top") for n in range(7)]
    with serving(document(problems=problems)) as port, record_in(tmp_path, port, "memory://"):
        done = subprocess.run(
            [sys.executable, "-m", "greyd"],
            env={**environment_without_settings(), "GREYD_RUN_DIR": str(tmp_path),
                 "PYTHONIOENCODING": "ascii"},
            capture_output=True, text=True,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("* greyd on mx1")
    assert "... and 2 more" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.parametrize("mails", [0, 20])
def test_without_requests_the_status_says_that_postfix_was_not_checked(
    tmp_path: Path, mails: int
) -> None:
    text = status_of(tmp_path, document(mails=mails)).stdout
    assert ("Postfix: not checked here; greyd doctor checks it" in text) is (mails == 0)
    assert len(text.splitlines()) <= 10
