"""Dates without a year or a zone, and the order of lines."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from greyd.maillog.reader import read_decisions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
from tests.maillog.logs import NEW, NOON, read, written


def when(path: Path, **how: Any) -> list[str]:
    return [str(datetime.fromtimestamp(each.when, UTC))[:16] for each in read(path, **how)]


def test_a_date_without_a_year_is_the_last_before_the_file_was_written(tmp_path: Path) -> None:
    texts = [b"Dec 31 23:59:00 mx greyd: " + NEW, b"Jan  1 00:01:00 mx greyd: " + NEW]
    path = written(tmp_path, *texts, at=datetime(2025, 1, 2, tzinfo=UTC).timestamp())
    assert when(path, now=NOON) == ["2024-12-31 23:59", "2025-01-01 00:01"]


def test_a_clock_that_is_ahead_by_hours_does_not_cost_a_year(tmp_path: Path) -> None:
    path = written(tmp_path, b"Nov 24 20:00:00 mx greyd: " + NEW, at=NOON)
    assert when(path) == ["2026-11-24 20:00"]


def test_a_file_from_the_future_is_of_this_year(tmp_path: Path) -> None:
    path = written(tmp_path, b"Nov 24 10:00:00 mx greyd: " + NEW, at=NOON + 400 * 86400)
    assert when(path, now=NOON) == ["2026-11-24 10:00"]


def test_the_29th_of_february_is_in_a_leap_year(tmp_path: Path) -> None:
    path = written(
        tmp_path, b"Feb 29 12:00:00 mx greyd: " + NEW, b"Feb 31 12:00:00 mx greyd: " + NEW
    )
    assert when(path, now=NOON) == ["2024-02-29 12:00", "1970-01-01 00:00"]


def test_a_time_without_a_zone_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Zurich")
    time.tzset()
    path = written(
        tmp_path, b"Nov 24 13:00:00 mx greyd: " + NEW, b"Jul 24 14:00:00 mx greyd: " + NEW
    )
    assert when(path) == ["2026-11-24 12:00", "2026-07-24 12:00"]


def test_each_time_is_in_its_own_zone(tmp_path: Path) -> None:
    zones = (b"+01:00", b"Z", b"-0500")
    path = written(tmp_path, *(b"2026-11-24T12:00:00%b mx greyd: " % each + NEW for each in zones))
    assert [each.when - NOON for each in read(path)] == [-3600, 0, 5 * 3600]


def test_rotated_files_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    files = [
        written(tmp_path, b"Nov %d 12:00:00 mx greyd: " % day + NEW, name=f"mail.log.{day}")
        for day in (24, 22, 23)
    ]
    assert [each.when for each in read_decisions(files)] == [NOON - 2 * 86400, NOON - 86400, NOON]


def test_files_of_two_machines_are_merged(tmp_path: Path) -> None:
    files = [
        written(
            tmp_path,
            *(b"Nov 24 12:00:%02d mx%d greyd: " % (second, number) + NEW for second in seconds),
            name=f"mx{number}.log",
        )
        for number, seconds in enumerate([(1, 4, 5), (2, 3, 9), (0, 6)])
    ]
    assert [each.when - NOON for each in read_decisions(files)] == [0, 1, 2, 3, 4, 5, 6, 9]
