"""``greyd stats`` and ``greyd top`` where no server runs, and what they show of a view."""

from __future__ import annotations

import io
import json
import time
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from greyd.cli.context import CommandContext
from greyd.cli.stats.display import SORT_COLUMNS, print_servers, print_store
from greyd.cli.stats.entry_counts import NamedEntryCounts
from greyd.cli.stats.overview import Overview, StoreStatus
from greyd.cli.tables.sorting import parse_shared_sort
from greyd.monitoring.stats_client import FetchedStats, MetricsAddress
from greyd.rules.reasons import Reason
from greyd.rules.transaction import Record
from tests.cli.test_tally import SETTINGS, keys_of
from tests.commands import fill, run_here
from tests.monitoring.test_stats import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = int(time.time())
WAITS = b"%d" % NOW


@pytest.fixture
def store(tmp_path: Path) -> str:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(
        url,
        {keys_of("192.0.2.7", f"{'x' * number}@e.com").triplet: WAITS for number in range(1, 600)}
        | {keys_of("198.51.100.7").client: b"9,%d" % NOW},
    )
    return f"--store={url}"


def told(*arguments: str, status: int = 0, **variables: str) -> Any:
    done = run_here(*arguments, "--json", **variables)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_without_a_server_the_store_is_shown(store: str) -> None:
    answer = told("stats", store, GREYD_METRICS="0")
    assert answer["servers"] == []
    assert answer["together"] == {}
    shown = answer["store"]
    assert shown["entries"]["triplets"] == {"waiting": 599, "passed": 0, "never_returned": 0}
    assert shown["entries"]["auto_whitelisted_clients"] == 1
    assert shown["entries"]["waiting_clients"] == [
        {"client": "192.0.2.0", "waiting": 599, "client_network": "192.0.2.0/24"}
    ]
    assert (shown["entries"]["complete"], shown["fault"]) == (True, None)
    assert shown["octets"] > 10_000
    assert (
        0 < shown["answers_within_seconds"]["median"] <= shown["answers_within_seconds"]["slowest"]
    )
    done = run_here("stats", store, GREYD_METRICS="0")
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)
    assert "--metrics=0" in done.stderr
    assert "triplets: 599 waiting, 0 passed, 0 never returned" in done.stdout


def test_a_server_that_is_away_is_a_line_and_the_rest_is_shown(store: str) -> None:
    done = run_here("stats", store, "--server=http://127.0.0.1:1")
    assert done.returncode == 1
    assert "http://127.0.0.1:1: connection refused" in done.stdout
    assert "triplets: 599 waiting" in done.stdout
    answer = told("stats", store, GREYD_METRICS="127.0.0.1:1", status=1)
    assert answer["servers"][0]["answers"] is False
    assert answer["store"]["entries"]["looked_at"] == 600


def test_of_the_store_so_much_is_looked_at_as_is_wanted(store: str) -> None:
    entries = told("stats", store, "--most=7", GREYD_METRICS="0")["store"]["entries"]
    assert (entries["looked_at"], entries["complete"]) == (7, False)
    assert "entries" not in told("stats", store, "--most=0", GREYD_METRICS="0")["store"]
    entries = told("stats", store, "--names=0", GREYD_METRICS="0")["store"]["entries"]
    assert entries["waiting_clients"] == []


def test_where_nothing_can_be_shown_that_is_the_status() -> None:
    done = run_here("stats", "--store=sqlite:/nonexistent/x.db", GREYD_METRICS="0")
    assert done.returncode == 2
    assert "nothing is stored there" in done.stdout


def test_with_privacy_nobody_is_named(store: str) -> None:
    done = run_here("stats", store, GREYD_METRICS="0", GREYD_PRIVACY="1")
    assert "with --privacy the store contains only hashes" in done.stdout
    assert "192.0.2" not in done.stdout


def test_top_writes_a_line_of_json_for_each_refresh(store: str) -> None:
    done = run_here("top", store, "--every=1s", "--count=2", GREYD_METRICS="127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 2
    assert all(line["servers"][0]["answers"] is False for line in lines)
    assert lines[1]["store"]["entries"]["triplets"]["waiting"] == 599
    assert lines[1]["time"] >= lines[0]["time"] + 1


@pytest.mark.parametrize("every", ["0s", "soon", "2w"])
def test_top_refuses_a_pace_that_is_none(store: str, every: str) -> None:
    done = run_here("top", store, f"--every={every}", "--count=1", GREYD_METRICS="0")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


# What is shown of a view --------------------------------------------------------------------------


def view(number: int = 12, **changes: Any) -> Overview:
    server = Server()
    server.metrics.requests[Reason.NEW].inc(number)
    server.metrics.requests[Reason.TRIPLET_FOUND].inc(3)
    server.metrics.delay.observe(400)
    server.metrics.duration.observe(0.001)
    server.run(3600)
    figures = replace(server.figures(), **changes)
    tally = NamedEntryCounts(complete=True)
    waiting = [keys_of(f"192.0.{n % 40}.7", f"{n}@e.com").triplet for n in range(100)]
    tally.add_all([Record(key, WAITS, 60) for key in waiting], SETTINGS)
    return Overview(
        StoreStatus("redis://user:secret@db.example/0?password=secret", tally),
        SETTINGS,
        [
            FetchedStats(MetricsAddress("mx1", 9923), figures),
            FetchedStats(MetricsAddress("mx2", 9923), fault="connection refused"),
        ],
    )


def text_of(print_it: Callable[..., None], *arguments: Any) -> str:
    """Return what is printed in a pipe."""
    output = io.StringIO()
    with redirect_stdout(output):
        print_it(CommandContext(SETTINGS), *arguments)
    return output.getvalue()


def test_each_server_has_a_line_and_all_are_added_up() -> None:
    text = text_of(print_servers, view())
    assert "mx.example.org: ready" in text
    assert "ready; mode learn, up 1 h; 99 % of answers within 1 ms; greyd" in text
    assert "http://mx2:9923: connection refused" in text
    assert "greylist new" in text
    assert "80.0 % greylisted, 1 passed for the first time after 6 min 40 s on average" in text


def rows_of(text: str, head: str) -> list[list[str]]:
    """Return the cells of the table with this head."""
    lines = text.splitlines()
    begin = next(at for at, line in enumerate(lines) if line.split() == head.split())
    end = lines.index("", begin) if "" in lines[begin:] else len(lines)
    return [line.split() for line in lines[begin + 1 : end]]


@pytest.mark.parametrize("sort", SORT_COLUMNS)
@pytest.mark.parametrize("sign", ["", "-"])
def test_tables_are_sorted_by_the_columns_that_they_have(sort: str, sign: str) -> None:
    order, shown = parse_shared_sort(f"{sign}{sort}", SORT_COLUMNS), view()
    text = text_of(print_store, shown, 12, order)
    ranked = text_of(print_store, shown, 12)
    clients, recipients = (rows_of(text, f"waiting {each}") for each in ("client", "recipient"))
    # The rows are the same: those with the most waiting mail.
    assert sorted(clients) == sorted(rows_of(ranked, "waiting client"))
    if sort == "client":
        numbers = [int(each[1].split(".")[2]) for each in clients]
        assert numbers == sorted(numbers, reverse=bool(sign))
        assert recipients == rows_of(ranked, "waiting recipient")
    if sort == "waiting":
        assert [int(each[0]) for each in clients] == sorted(
            (int(each[0]) for each in clients), reverse=bool(sign)
        )
    decisions = text_of(print_servers, shown, order).split("\n\n")[1].splitlines()[1:]
    assert decisions[-1].startswith("all ")
    counts = [each.split()[:2] for each in decisions[:-1]]
    if sort == "requests":
        assert counts == sorted(counts, reverse=bool(sign))
    if sort == "1-d":
        assert [each[0] for each in counts] == (
            ["greylist", "pass"] if sign else ["pass", "greylist"]
        )


def test_a_column_that_no_table_has_is_refused(store: str) -> None:
    for option, words in (
        ("--sort=colour", "the columns are requests, 1-min"),
        ("--sort=client --json", "--sort: sorts the printed tables"),
    ):
        done = run_here("stats", store, *option.split(), GREYD_METRICS="0")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert words in done.stderr


def test_a_store_that_is_away_and_errors_are_told() -> None:
    shown = view(ready=False)
    assert "NOT READY" in text_of(print_servers, shown)
    assert not shown.is_well
    shown.store.fault = "redis: connection refused"
    assert "redis: connection refused" in text_of(print_store, shown, 5)


def test_the_store_s_password_is_never_shown() -> None:
    assert "redis://db.example/0" in text_of(print_store, view(), 5)
    assert "secret" not in text_of(print_store, view(), 5) + json.dumps(view().dump(5))
    assert "user" not in json.dumps(view().dump(5)["store"]["url"])


def test_what_another_server_says_of_itself_steers_no_terminal() -> None:
    text = text_of(print_servers, view(host="\x1b[31mx", mode="\x9b", version="\n"))
    assert text.replace("\n", "").isprintable()
    assert "%1B[31mx" in text
