"""Lines that stand for several equal lines count as often as these."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from greyd.maillog.attempts import AttemptStatistics, attempts_in
from greyd.maillog.heads import MAX_REPETITIONS
from greyd.maillog.reader import read_lines
from tests.maillog.forms import DECISION, MESSAGES, REJECTION
from tests.maillog.logs import NOON, exported, read, written

if TYPE_CHECKING:
    from pathlib import Path

AWL = DECISION.replace("greylist, reason=new", "pass, reason=client AWL")


def line(second: int, text: str, host: str = "mx1", program: str = "postgrey[7]: ") -> bytes:
    return f"Nov 24 12:{second // 60:02}:{second % 60:02} {host} {program}{text}".encode()


def seconds(path: Path) -> list[float]:
    return [each.when - NOON for each in read(path)]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize(
    "form", ["message repeated 4 times: [ {}]", "message repeated 4 times: [{}]"]
)
def test_a_repeated_message_counts_as_often_as_rsyslog_states(
    tmp_path: Path, form: str, message: str
) -> None:
    found = read(written(tmp_path, line(0, form.format(MESSAGES[message]))))
    assert [each.recipient for each in found] == [b"bob@example.org"] * 4
    assert {each.client_address for each in found} == {b"192.0.2.7"}


def test_repetitions_are_spread_between_the_message_and_the_last_one(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        line(0, AWL),
        line(2, DECISION),
        line(40, f"message repeated 4 times: [ {AWL}]"),
        line(60, f"message repeated 1 time: [ {DECISION}]"),
    )
    assert sorted(seconds(path)) == [0, 2, 10, 20, 30, 40, 60]


def test_repetitions_of_a_message_that_the_log_lacks_have_the_time_of_their_line(
    tmp_path: Path,
) -> None:
    assert seconds(written(tmp_path, line(40, f"message repeated 2 times: [ {AWL}]"))) == [40, 40]


@pytest.mark.parametrize(
    ("wrap", "count"),
    [
        (lambda text: f"<22>1 2026-11-24T12:00:00Z mx1 postgrey 7 - - {text}", 3),
        (lambda text: f"mail-1  | Nov 24 12:00:00 mx1 postgrey[7]: {text}", 3),
        (lambda text: json.dumps({"log": f"Nov 24 12:00:00 mx1 postgrey[7]: {text}"}), 3),
        (lambda text: json.dumps({"SYSLOG_IDENTIFIER": "postgrey", "MESSAGE": text}), 3),
    ],
)
def test_repeated_messages_are_read_in_other_forms(tmp_path: Path, wrap, count) -> None:  # type: ignore[no-untyped-def]
    path = written(tmp_path, wrap(f"message repeated 3 times: [ {DECISION}]").encode())
    assert len(read(path)) == count


def test_repeated_messages_in_the_journal_count(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    fields = {
        b"__CURSOR": b"s=1",
        b"__REALTIME_TIMESTAMP": b"%d" % (NOON * 1_000_000),
        b"SYSLOG_IDENTIFIER": b"postgrey",
        b"MESSAGE": f"message repeated 3 times: [ {DECISION}]".encode(),
    }
    path.write_bytes(exported(fields))
    assert seconds(path) == [0, 0, 0]


def test_a_repeated_rejection_is_several_attempts(tmp_path: Path) -> None:
    repeated = line(9, f"message repeated 2 times: [ {REJECTION}]", program="postfix/smtpd[9]: ")
    attempts = list(attempts_in(read_lines([written(tmp_path, repeated)]), AttemptStatistics()))
    assert [each.recipient for each in attempts] == [b"bob@example.org"] * 2
    assert [each.helo for each in attempts] == [b"mx.example.com"] * 2


LAST = "last message repeated 3 times"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # The syslogd of the BSDs names no program.
        ([line(0, AWL), line(30, LAST, program="")], [0, 10, 20, 30]),
        ([line(0, AWL), line(30, LAST)], [0, 10, 20, 30]),
        # Of another host, program, or message.
        ([line(0, AWL), line(30, LAST, host="mx10", program="")], [0]),
        ([line(0, AWL, host="mx10"), line(30, LAST, program="")], [0]),
        ([line(0, AWL), line(30, LAST, program="postfix/smtpd[9]: ")], [0]),
        ([line(0, AWL), line(5, "connect", program="postfix/smtpd[9]: "),
          line(30, LAST, program="")], [0]),
        ([line(0, AWL), line(5, "connect", program="postfix/smtpd[9]: "), line(30, LAST)],
         [0, 10, 20, 30]),
        ([line(0, AWL), line(5, "x", host="mx2"), line(30, LAST, program="")], [0, 10, 20, 30]),
        # Several in a row stand for the same message.
        ([line(0, AWL), line(30, LAST, program=""), line(60, LAST, program="")],
         [0, 10, 20, 20, 30, 40, 60]),
        ([line(30, LAST)], []),
    ],
)  # fmt: skip
def test_last_message_repeated_stands_for_the_previous_line_of_the_same_source(
    tmp_path: Path, lines: list[bytes], expected: list[float]
) -> None:
    assert sorted(seconds(written(tmp_path, *lines))) == expected


def test_a_huge_count_is_limited(tmp_path: Path) -> None:
    path = written(tmp_path, line(0, f"message repeated 999999999 times: [ {AWL}]"))
    assert len(read(path)) == MAX_REPETITIONS


def test_many_repetitions_take_linear_time(tmp_path: Path) -> None:
    repeated = line(5, f"message repeated 2 times: [ {AWL}]")
    path = written(tmp_path, *[repeated, line(6, LAST, program="")] * 5000)
    assert len(read(path)) == 5 * 5000
