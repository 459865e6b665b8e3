"""Logs that are read while they grow."""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from greyd.maillog.errors import MailLogError
from greyd.maillog.following.decisions import NEW_CLOCK_SECONDS, decisions_in
from greyd.maillog.following.growing_file import MAX_PAST_BYTES, GrowingFile
from greyd.maillog.statistics import ReadStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def line(sender: str, head: str = "Nov 27 16:20:31 mx greyd[1]: ") -> bytes:
    return (
        f"{head}action=greylist, reason=new, client_address=192.0.2.7,"
        f" sender={sender}@example.com, recipient=bob@example.org\n"
    ).encode()


class Script:
    """What happens to a file, a step each time that the reader waits; then the reader stops."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = iter(steps)

    def __call__(self, _seconds: float) -> None:
        step = next(self._steps, None)
        if step is None:
            raise InterruptedError
        step()


def followed(path: Path, *steps: Callable[[], object]) -> list[str]:
    """Return the local parts of the senders that are read while the steps happen."""
    found: list[str] = []
    with GrowingFile(path, Script(*steps)) as file, suppress(InterruptedError):
        file.past()
        decisions = decisions_in(file.pieces(), ReadStatistics())
        found.extend(each.sender.partition(b"@")[0].decode() for each in decisions)
    return found


def append(path: Path, *parts: bytes) -> Callable[[], object]:
    def act() -> None:
        with path.open("ab") as file:
            for part in parts:
                file.write(part)

    return act


def test_each_line_is_read_once_when_it_is_complete(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(line("past") + line("half")[:30])
    first, second = line("two")[:50], line("two")[50:]
    assert followed(
        log,
        append(log, line("half")[30:]),
        append(log, line("one"), b"something else\n", first),
        append(log, second),
    ) == ["half", "one", "two"]


def test_a_rotated_log_is_read_to_its_end_before_the_new_one(tmp_path: Path) -> None:
    log, old = tmp_path / "mail.log", tmp_path / "mail.log.1"
    log.write_bytes(line("past"))

    def rotate() -> None:
        log.rename(old)

    assert followed(
        log, append(log, line("a")), rotate, append(old, line("b")), append(log, line("c")),
        append(log, line("d")),
    ) == ["a", "b", "c", "d"]  # fmt: skip


def test_a_truncated_log_is_read_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(line("past") * 5)

    def truncate() -> None:
        os.truncate(log, 0)
        append(log, line("new"))()

    assert followed(log, append(log, line("a"), line("cut")[:20]), truncate) == ["a", "new"]


def test_the_past_ends_with_a_whole_line_and_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(line("a") + line("half")[:-1])
    with GrowingFile(log) as file:
        assert (file.past(), file.is_past_cut) == (line("a"), False)
    with log.open("wb") as file_:
        file_.truncate(MAX_PAST_BYTES)
        file_.seek(MAX_PAST_BYTES)
        file_.write(b"\n" + line("b"))
    with GrowingFile(log) as file:
        assert file.past().endswith(line("b"))
        assert file.is_past_cut


@pytest.mark.parametrize("content", [None, gzip.compress(line("a"))])
def test_what_cannot_be_followed_is_refused(tmp_path: Path, content: bytes | None) -> None:
    log = tmp_path / "mail.log"
    if content:
        log.write_bytes(content)
    with pytest.raises(MailLogError, match=r"mail\.log: (No such file|compressed)"):
        GrowingFile(log)


def test_a_year_that_begins_while_a_log_is_followed_is_the_new_one() -> None:
    now = 1798761000.0  # The last evening of 2026, in UTC.

    def pieces() -> Iterator[bytes]:
        nonlocal now
        for days in (0, 1, 2):
            now = 1798761000.0 + days * 4 * NEW_CLOCK_SECONDS
            day = ("Dec 31", "Jan  1", "Jan  2")[days]
            yield line("a", f"{day} 12:00:00 mx greyd[1]: ")
            yield b"\n"

    times = [each.when for each in decisions_in(pieces(), ReadStatistics(), clock=lambda: now)]
    assert [after - before for before, after in pairwise(times)] == [86400] * 2


def test_entries_of_the_journal_are_read_as_they_come() -> None:
    entry = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=%d\nSYSLOG_IDENTIFIER=greyd\nMESSAGE=%b\n\n"
    first = entry % (1_795_796_740_000_000, line("a", "").rstrip())
    second = entry % (1_795_796_741_000_000, line("b", "").rstrip())
    arrived: list[int] = []

    def pieces() -> Iterator[bytes]:
        yield first
        arrived.append(1)
        yield second[:40]
        yield second[40:]

    decisions = decisions_in(pieces(), ReadStatistics())
    read = [(each.sender, each.when, len(arrived)) for each in decisions]
    assert read == [
        (b"a@example.com", 1_795_796_740.0, 0),
        (b"b@example.com", 1_795_796_741.0, 1),
    ]


def test_what_is_not_understood_is_counted() -> None:
    statistics = ReadStatistics()
    text = b"odd: status=<x@y> action=greylist, reason=new\n" + line("a")
    assert len(list(decisions_in([text], statistics))) == 1
    assert statistics.unread_count == 1
