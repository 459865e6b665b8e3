"""The main screen of ``greyd top`` at all sizes, with servers that are well and not."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len

from greyd.cli.top.help_text import HELP
from greyd.cli.top.main_view import ListState, main_lines
from greyd.cli.top.overview_lines import sparkline
from greyd.cli.top.waiting_mail import Order
from greyd.monitoring.stats import MinuteCounts, ServerStats
from greyd.monitoring.stats_client import FetchedStats, MetricsAddress
from greyd.rules.reasons import OUTCOMES
from tests.cli.top.mails import MAIL, WAITING_COUNT, data_of, key_of, waiting
from tests.monitoring.test_stats import Server

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.cli.top.live_data import LiveData

SIZES = [(80, 24), (45, 20), (132, 50), (60, 12), (40, 10), (20, 6), (250, 80)]


def stats(**changes: Any) -> ServerStats:
    server = Server()
    for outcome, number in ((("greylist", "new"), 30), (("pass", "triplet found"), 12)):
        server.metrics.requests[OUTCOMES[outcome]].inc(number)
    figures = replace(server.figures(), mode="on", up_seconds=90_000.0)
    return replace(ServerStats.load(json.dumps(figures.dump()).encode()), **changes)


def with_servers(data: LiveData, *servers: ServerStats | str) -> LiveData:
    addresses = [MetricsAddress(f"mx{number}", 9923) for number in range(len(servers))]
    data.addresses = addresses
    data.view.heard = [
        FetchedStats(address, fault=each) if isinstance(each, str) else FetchedStats(address, each)
        for address, each in zip(addresses, servers, strict=True)
    ]
    return data


def scanned(data: LiveData) -> LiveData:
    asyncio.run(data._scan_once())
    return data


def screen(data: LiveData, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    state = ListState(**options)
    state.set_rows(data.waiting.sorted(state.order, state.pattern))
    lines = [line.plain for line in main_lines(data, state, width, height, time.time())]
    assert len(lines) == height
    assert all(cell_len(line) <= width and line.isprintable() for line in lines)
    return lines


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_each_size_is_filled_and_no_sender_disturbs_it(
    tmp_path: Path, width: int, height: int
) -> None:
    data = with_servers(scanned(data_of(tmp_path)), stats())
    lines = screen(data, width, height, message="released " * 20)
    text = "\n".join(lines)
    assert "waiting" in text
    if width >= 40:
        assert "alice@" in text or "a…@" in text
    if height >= 20:
        assert f"{WAITING_COUNT} waiting" in text
        assert "to bob@example.org" in text
    if height < 18:
        assert "greylisted   " not in text


def test_the_usual_screen_has_server_store_charts_list_and_keys(tmp_path: Path) -> None:
    text = "\n".join(screen(with_servers(scanned(data_of(tmp_path)), stats())))
    for part in (
        "mx.example.org: ready, mode on, up 1 d 1 h",
        f"{WAITING_COUNT} waiting, 1 passed, 0 never returned",
        "greylisted      30",
        "passed          12",
        "greylist new",
        f"{WAITING_COUNT} waiting, newest first",
        "192.0.2.0/24",
        "? help q quit",
    ):
        assert part in text


def test_a_server_with_a_fault_comes_first_and_the_others_are_counted(tmp_path: Path) -> None:
    data = scanned(data_of(tmp_path))
    servers = [stats() for _ in range(6)]
    lines = screen(with_servers(data, *servers, "connection refused", stats(ready=False)))
    assert "connection refused (asking again every 1 s)" in lines[1]
    assert "NOT READY" in lines[2]
    assert "and 5 more servers, all ready" in "\n".join(lines)
    restarted = screen(with_servers(data, stats(up_seconds=3.0)))
    assert "just started" in restarted[1]


def test_without_servers_the_store_is_shown(tmp_path: Path) -> None:
    text = "\n".join(screen(scanned(data_of(tmp_path))))
    assert "--metrics=0" in text
    assert "alice@example.com" in text


def test_a_fault_of_the_store_is_shown_and_the_list_stays(tmp_path: Path) -> None:
    data = scanned(data_of(tmp_path))
    data.view.store.fault = "database is locked\x1b[2J"
    text = "\n".join(screen(data))
    assert "database is locked%1B[2J" in text
    assert "alice@example.com" in text


def test_the_list_follows_its_selected_mail(tmp_path: Path) -> None:
    many = {key_of(b"s%03d@example.com" % n): waiting(n + 1) for n in range(100)}
    data = scanned(data_of(tmp_path, many))
    state = ListState(order=Order.NEWEST)
    state.set_rows(data.waiting.sorted(state.order))
    state.move_to(60)
    lines = [line.plain for line in main_lines(data, state, 80, 24, time.time())]
    assert state.top <= 60 < state.top + state.page
    assert any("s060@example.com" in line for line in lines)
    selected = state.selected
    state.set_rows(data.waiting.sorted(Order.OLDEST))
    assert state.selected == selected
    # A mail that is gone leaves the selection in its place.
    rest = [mail for mail in state.rows if mail != selected]
    state.set_rows(rest)
    assert state.index == 39
    state.set_rows([])
    assert state.selected is None
    state.move_to(5)
    assert state.index == 0


def test_what_is_not_listed_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greyd.cli.top.waiting_mail.MAX_LISTED", 5)
    data = scanned(data_of(tmp_path))
    text = "\n".join(screen(data))
    assert f"5 newest of {WAITING_COUNT} waiting, newest first" in text
    assert "newest first, 1–3" in "\n".join(screen(data, height=11))
    text = "\n".join(screen(data, pattern="alice"))
    assert '1 with "alice"' in text
    assert 'no waiting mail has "zz"' in "\n".join(screen(data, pattern="zz"))


def test_with_privacy_the_list_has_hashes(tmp_path: Path) -> None:
    hashed = {b"/" + b"a1" * 20: waiting()}
    text = "\n".join(screen(scanned(data_of(tmp_path, hashed, privacy="yes"))))
    assert "a1a1" in text


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([0, 0], "··"), ([0, 1, 8], "·▂█"), ([5, 5], "██"), ([1, 10**9], "▁█")],
)
def test_a_sparkline_has_a_column_for_each_value(values: list[int], drawn: str) -> None:
    assert sparkline(values) == drawn


def test_the_minutes_of_several_servers_are_added_up(tmp_path: Path) -> None:
    minutes = MinuteCounts(passed=(0,) * 60, greylisted=(*(0,) * 59, 7))
    data = with_servers(scanned(data_of(tmp_path)), stats(minutes=minutes), stats(minutes=minutes))
    assert any("greylisted      14" in line for line in screen(data))
    old = with_servers(data, stats(minutes=None))
    assert not any("greylisted   " in line for line in screen(old))


def test_the_help_fits_a_narrow_terminal() -> None:
    assert max(map(len, HELP.splitlines())) <= 45
    assert len(MAIL) > WAITING_COUNT
