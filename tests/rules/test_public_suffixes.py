"""The public suffix list: the newest one of the machine is in force, and a damaged one never."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.public_suffixes import findings_of_list
from greyd.rules.public_suffixes import MAX_LIST_BYTES, SelectedSuffixList, SuffixList, newest_list

if TYPE_CHECKING:
    from pathlib import Path

BUNDLED = newest_list(()).suffixes
NEWER = BUNDLED.date + timedelta(days=1)
OLDER = BUNDLED.date - timedelta(days=1)


def text_of(day: date | None, rules: str = "new.example\n") -> str:
    version = f"// VERSION: {day}_08-36-41_UTC\n" if day else ""
    return (
        f"{version}// ===BEGIN ICANN DOMAINS===\nexample\n// ===END ICANN DOMAINS===\n"
        f"// ===BEGIN PRIVATE DOMAINS===\n{rules}// ===END PRIVATE DOMAINS===\n"
    )


def write(path: Path, text: str | bytes, modified: date | None = None) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if modified:
        seconds = datetime.combine(modified, datetime.min.time(), UTC).timestamp()
        os.utime(path, (seconds, seconds))
    return path


def test_the_one_that_comes_with_greyd_is_in_force_where_there_is_no_other(tmp_path: Path) -> None:
    found = newest_list((tmp_path / "nowhere", tmp_path / "nor" / "here"))
    assert found == SelectedSuffixList(BUNDLED, [])
    assert found.suffixes.parse().privatesuffix("a.b.example.co.uk") == "example.co.uk"
    assert found.suffixes.parse().privatesuffix("a.b.no-such-suffix") is None


@pytest.mark.parametrize(
    ("version", "modified", "is_used"),
    [
        (NEWER, None, True),
        (OLDER, None, False),
        # A copy has the date of the day, its VERSION line that of the list.
        (OLDER, NEWER, False),
        (NEWER, OLDER, True),
        # Debian's has no such line, and the date of its package.
        (None, NEWER, True),
        (None, OLDER, False),
    ],
)
def test_another_one_is_in_force_where_it_is_newer(
    tmp_path: Path, version: date | None, modified: date | None, is_used: bool
) -> None:
    other = write(tmp_path / "list.dat", text_of(version), modified)
    found = newest_list((tmp_path / "nowhere", other))
    assert (found.suffixes.path == other, found.faults) == (is_used, [])
    if is_used:
        assert found.suffixes.date == (version or modified)
        assert found.suffixes.parse().privatesuffix("a.b.new.example") == "b.new.example"


def test_of_two_others_the_newer_one_is_in_force(tmp_path: Path) -> None:
    newer = write(tmp_path / "a", text_of(NEWER))
    newest_of_all = write(tmp_path / "b", text_of(NEWER + timedelta(days=1)))
    for order in ((newer, newest_of_all), (newest_of_all, newer)):
        assert newest_list(order).suffixes.path == newest_of_all


WHOLE = text_of(NEWER)
DAMAGED = {
    "cut off": (WHOLE[:-40], "no line // ===END PRIVATE DOMAINS===, so it is not all there"),
    "empty": ("", "no line // ===BEGIN ICANN DOMAINS==="),
    "a page about an error": ("<html>404</html>", "no line // ===BEGIN ICANN DOMAINS==="),
    "not UTF-8": (WHOLE.encode("utf-16"), "not UTF-8"),
    "far too large": (WHOLE + "x" * MAX_LIST_BYTES, "more than 4 MiB"),
}


@pytest.mark.parametrize(("content", "why"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_one_is_not_used_and_told(tmp_path: Path, content: str | bytes, why: str) -> None:
    other = write(tmp_path / "list.dat", content)
    found = newest_list((other,))
    assert found.suffixes == BUNDLED
    (fault,) = found.faults
    assert fault.startswith(f"public suffix list {other}: ")
    assert why in fault


def test_one_that_can_t_be_read_is_not_used_and_told(tmp_path: Path) -> None:
    (tmp_path / "list.dat").mkdir()
    found = newest_list((tmp_path / "list.dat",))
    assert found.suffixes == BUNDLED
    assert "Is a directory; it is not used" in found.faults[0]


# What the doctor says of it -----------------------------------------------------------------------

TODAY = date(2026, 11, 27)


@pytest.mark.parametrize(
    ("age_days", "in_use", "state"),
    [
        (0, True, State.OK),
        (365, True, State.OK),
        (366, True, State.WARNING),
        # Without --identity and the like only check-whitelist reads it.
        (366, False, State.HINT),
        (-30, True, State.OK),
    ],
)
def test_the_doctor_tells_one_that_is_older_than_a_year(
    tmp_path: Path, age_days: int, in_use: bool, state: State
) -> None:
    day = TODAY - timedelta(days=age_days)
    found = SelectedSuffixList(SuffixList(tmp_path / "list.dat", day, ""), [])
    (finding,) = findings_of_list(found, TODAY, in_use=in_use)
    assert finding.state is state
    assert f"{tmp_path}/list.dat, of {day}" in finding.seen
    assert ("apt install publicsuffix" in finding.remedy) == (state is not State.OK)


def test_the_doctor_tells_one_that_is_not_used(tmp_path: Path) -> None:
    other = write(tmp_path / "list.dat", WHOLE[:-40])
    (finding,) = findings_of_list(newest_list((other,)), BUNDLED.date, in_use=True)
    assert (finding.state, str(other) in finding.seen) == (State.WARNING, True)
