"""Whether 10/11/2026 is in October or November follows from the file's other lines."""

from __future__ import annotations

import gzip
import os
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.maillog.forms import DECISION
from tests.maillog.logs import read, written

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = "may begin with the day or the month, and no other line shows which"

CASES: dict[str, tuple[list[str], str, str]] = {
    # The dates of the lines; when the file was last changed; the first and last date that are read.
    "a day over 12 comes later": (
        ["10/11/2026 12:00:00", "13/11/2026 12:00:00"], "2026-12-30", "2026-11-10 2026-11-13"
    ),
    "a day over 12 comes first": (
        ["31/10/2026 12:00:00", "01/11/2026 12:00:00"], "2026-12-30", "2026-10-31 2026-11-01"
    ),
    "a second number over 12": (
        ["10/11/2026 12:00:00", "10/13/2026 12:00:00"], "2026-12-30", "2026-10-11 2026-10-13"
    ),
    "hyphens": (
        ["10-11-2026 12:00:00", "10-13-2026 12:00:00"], "2026-12-30", "2026-10-11 2026-10-13"
    ),
    "AM and PM": (
        ["10/11/2026 11:00:00 AM", "10/11/2026 1:00:00 PM"], "2026-12-30", "2026-10-11 2026-10-11"
    ),
    "AM and PM with the day first": (
        ["10/11/2026 11:00:00 AM", "13/11/2026 1:00:00 PM"], "2026-12-30", "2026-11-10 2026-11-13"
    ),
    "months would go back": (
        ["10/09/2026 12:00:00", "11/09/2026 12:00:00", "01/10/2026 12:00:00"],
        "2026-12-30", "2026-09-10 2026-10-01"
    ),
    "days would go back": (
        ["09/10/2026 12:00:00", "09/11/2026 12:00:00", "10/01/2026 12:00:00"],
        "2026-12-30", "2026-09-10 2026-10-01"
    ),
    "months would be in the future": (
        ["10/11/2026 12:00:00", "10/12/2026 12:00:00"], "2026-11-01", "2026-10-11 2026-10-12"
    ),
    "midnight, day first": (
        ["10/11/2026 23:50:00", "11/11/2026 00:10:00"], "2026-12-30", "2026-11-10 2026-11-11"
    ),
    "midnight, month first": (
        ["10/10/2026 23:50:00", "10/11/2026 00:10:00"], "2026-12-30", "2026-10-10 2026-10-11"
    ),
    "one day only": (["10/11/2026 12:00:00", "10/11/2026 13:00:00"], "2026-12-30", ""),
    "noon of two days": (["10/11/2026 12:00:00", "11/11/2026 12:00:00"], "2026-12-30", ""),
    "no such day either way": (["31/31/2026 12:00:00"], "2026-12-30", ""),
    "the year first": (["2026/10/11 12:00:00"], "2026-12-30", "2026-10-11 2026-10-11"),
    "points": (["10.11.2026 12:00:00"], "2026-12-30", "2026-11-10 2026-11-10"),
}  # fmt: skip


def log_of(folder: Path, dates: list[str], changed: str, *, between: int = 0) -> Path:
    lines = [f"{date} mx1 postgrey[7]: {DECISION}".encode() for date in dates]
    lines[1:1] = [lines[0]] * between
    return written(folder, *lines, at=datetime.fromisoformat(f"{changed} 12:00:00").timestamp())


def days_of(path: Path) -> list[str]:
    return [
        time.strftime("%Y-%m-%d", time.localtime(each.when)) if each.when else ""
        for each in read(path)
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_other_lines_show_which_number_is_the_day(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dates, changed, wanted = CASES[name]
    days = days_of(log_of(tmp_path, dates, changed))
    assert len(days) == len(dates)
    first, last = (wanted or " ").split(" ")
    assert (days[0], days[-1]) == (first, last)
    is_said = UNKNOWN in capsys.readouterr().err
    assert is_said == (not wanted)


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_far_behind_in_the_file_counts_too(tmp_path: Path, *, packed: bool) -> None:
    path = log_of(
        tmp_path, ["10/11/2026 12:00:00", "13/11/2026 12:00:00"], "2026-12-30", between=1000
    )
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert days_of(path)[0] == "2026-11-10"


def test_only_the_beginning_of_a_pipe_counts(tmp_path: Path) -> None:
    path = log_of(tmp_path, ["10/11/2026 12:00:00", "13/11/2026 12:00:00"], "2026-12-30")
    reader, writer = os.pipe()
    os.write(writer, path.read_bytes())
    os.close(writer)
    try:
        assert [each.when > 0 for each in read(f"/dev/fd/{reader}")] == [True, True]  # type: ignore[arg-type]
    finally:
        os.close(reader)
