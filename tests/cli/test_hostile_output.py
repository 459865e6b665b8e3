"""What comes from the network or from logs, and how output ends, never gives a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from greyd.cli.stats.display import print_servers
from greyd.cli.stats.overview import Overview, StoreStatus
from greyd.cli.status.display import StatusStyle, render_problems, render_store
from greyd.cli.status.server_status import ServerStatus
from greyd.cli.top.live_data import LiveData
from greyd.cli.top.overview_lines import overview_lines
from greyd.config.running.run_record import RunningServer, RunRecord
from greyd.config.settings import Settings
from greyd.escaping import printable_text, shell_word
from greyd.maillog.decisions import parse_decision
from greyd.maillog.shadow_lines import parse_shadow_decision
from greyd.monitoring.stats import InvalidStats, ServerStats
from greyd.monitoring.stats_client import FetchedStats, MetricsAddress
from tests.commands import environment_without_settings, run_here
from tests.monitoring.test_stats import Server

VALUES: list[Any] = [None, [], {}, "", "5", True, -1, -5, 1e15, -1e15, 10**400, float("nan"),
          "x" * 10_000, "\ud800", "\udc80", "\x1b[31m\u202e[red]x[/]\n"]  # fmt: skip
"""Values of each kind that a hostile server or log may have where another is due."""


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a document; of a list, only those of the first item."""
    keys = document if isinstance(document, dict) else range(min(len(document), 1))
    found = [path]
    for key in keys:
        inner = document[key]
        found += places(inner, (*path, key)) if isinstance(inner, dict | list) else [(*path, key)]
    return found


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = json.loads(json.dumps(document))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


DOCUMENT = {
    **Server().told(),
    "mode_set": {"by": "alice@mx1", "at": 1, "until": 2},
    "problems": [{"level": "error", "text": "wrong", "remedy": "greyd doctor"}],
    "triplets": {"waiting": 1, "passed": 1, "never_returned": 1, "complete": True,
                 "age_seconds": 1, "waiting_in_delay": 1, "waiting_due": 0},
}  # fmt: skip
RECORD = RunRecord(1, "0.2", 1, ("inet:127.0.0.1:1",), "127.0.0.1:2", "sqlite:/x", ())


class Printed:
    """What a command prints."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.settings, self.store_url = Settings(), "sqlite:/x"

    def print(self, *lines: str) -> None:
        self.lines += lines

    def print_rows(self, columns: Any, rows: Any, **_: Any) -> None:
        self.lines += [str(column.value(row)) for row in rows for column in columns[:1]]


def shown(stats: ServerStats) -> list[str]:
    """Return the lines of ``greyd status``, ``stats`` and ``top``."""
    status = ServerStatus(RunningServer(RECORD, Path("/x")), stats)
    style = StatusStyle(80)
    lines = [*render_store([status], style), *render_problems(status.problems(), "", style)]
    printed: Any = Printed()
    heard = [FetchedStats(MetricsAddress("127.0.0.1", 1), stats)]
    data = LiveData(printed, [MetricsAddress("127.0.0.1", 1)], 2)
    data.view = Overview(StoreStatus("sqlite:/x"), Settings(), heard)
    print_servers(printed, data.view)
    top = [line.plain for line in overview_lines(data, 80, 4, charts=True)]
    return [*lines, *printed.lines, *top]


@pytest.mark.parametrize("path", [each for each in places(DOCUMENT) if each], ids=str)
def test_whatever_a_server_answers_is_refused_or_shown_safely(path: tuple[Any, ...]) -> None:
    for value in VALUES:
        try:
            stats = ServerStats.load(json.dumps(replaced(DOCUMENT, path, value)).encode())
        except InvalidStats:
            continue
        text = "".join(shown(stats)).replace("\n", "")
        assert text.replace("\xa0", "").isprintable()
        assert len(text) < 10_000
        if path != ("delay_seconds",):
            assert "-1" not in text
            assert "-5" not in text


@pytest.mark.parametrize(
    ("text", "expected", "word"),
    [
        ("mx1", "mx1", "mx1"),
        ("\udcff", "%FF", r"$'\377'"),
        ("\ud800", "%ED%A0%80", r"$'\355\240\200'"),
        ("\ud800\udcff", "%ED%A0%80%ED%B3%BF", r"$'\355\240\200\355\263\277'"),
        ("\u202e", "%E2%80%AE", r"$'\342\200\256'"),
    ],
)
def test_text_with_any_surrogates_can_be_printed(text: str, expected: str, word: str) -> None:
    assert (printable_text(text), shell_word(text)) == (expected, word)


DECISION = {
    "time": "2026-11-27T10:00:49.584Z", "action": "greylist", "reason": "new", "delay": 3,
    "client_name": "mail.example.com", "client_address": "192.0.2.1", "sender": "a@b.example",
    "recipient": "c@d.example", "helo": "h", "identity": "i", "signals": ["s"], "dns": "d",
    "answer": "pass", "shadow": "greylist", "shadow_reason": "new",
}  # fmt: skip


@pytest.mark.parametrize("field", DECISION)
def test_whatever_stands_in_a_field_of_a_json_line_the_line_is_read_or_skipped(field: str) -> None:
    for value in VALUES:
        line = json.dumps({**DECISION, field: value}).encode()
        for decision in (parse_decision(0.0, line), parse_shadow_decision(0.0, line)):
            assert decision is None or repr(decision)
        if (found := parse_decision(0.0, line)) is not None:
            assert found.reason.encode(errors="ignore").decode() == found.reason


def test_one_hostile_line_does_not_hide_the_others_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    changes: list[dict[str, Any]] = [
        {}, {"time": "\ud800"}, {"action": []}, {"reason": "\ud800"}, {"reason": {}}, {}
    ]  # fmt: skip
    log.write_text(
        "".join(
            json.dumps({**DECISION, "time": f"2026-11-27T10:{number:02}:00Z", **change}) + "\n"
            for number, change in enumerate(changes)
        )
    )
    done = run_here("report", str(log), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["decisions"]


def exit_of(*words: str, output: str) -> tuple[int, str]:
    """Run ``greyd`` in a shell; return its exit status and the errors."""
    greyd = " ".join(("exec", sys.executable, "-m", "greyd", *words))
    if output == "|":
        # The reader has gone before the command writes.
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            greyd, shell=True, stdout=writer, stderr=subprocess.PIPE,
            env=environment_without_settings(), timeout=60,
        )  # fmt: skip
        os.close(writer)
    else:
        done = subprocess.run(
            f"{greyd} {output}", shell=True, stderr=subprocess.PIPE,
            env=environment_without_settings(), timeout=60,
        )  # fmt: skip
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize(
    "words", [("--version",), ("-h",), ("list", "-h"), ("config", "--example")]
)
def test_an_output_that_ends_gives_no_traceback(words: tuple[str, ...]) -> None:
    assert exit_of(*words, output="|") == (0, "")
    assert exit_of(*words, output=">&-") == (0, "")
    if Path("/dev/full").exists():
        full = "greyd: can't write the output: No space left on device\n"
        assert exit_of(*words, output=">/dev/full") == (2, full)


@pytest.mark.parametrize("width", [30, 37, 38, 45, 80])
def test_the_status_fits_a_narrow_terminal(width: int) -> None:
    stats = ServerStats.load(json.dumps({**DOCUMENT, "store": "redis"}).encode())
    status = ServerStatus(RunningServer(RECORD, Path("/x")), stats)
    lines = "\n".join(render_store([status], StatusStyle(width))).split("\n")
    assert all(len(line) <= width and line == line.rstrip() for line in lines)


@pytest.mark.parametrize(
    ("up_seconds", "text"),
    [(3, "no mail since the start"), (3599, "no mail since the start"), (3600, "no mail")],
)
def test_an_hour_without_mail_is_not_claimed_of_a_server_that_has_just_started(
    up_seconds: int, text: str
) -> None:
    stats = ServerStats.load(json.dumps({**DOCUMENT, "up_seconds": up_seconds}).encode())
    status = ServerStatus(RunningServer(RECORD, Path("/x")), stats)
    assert f"  Last hour: {text}" in list(render_store([status], StatusStyle(80)))
