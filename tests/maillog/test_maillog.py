"""Mail logs of all forms, and what is read of them."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.escaping import percent_encode
from greyd.maillog.decisions import LoggedDecision, parse_decision
from greyd.maillog.files import MailLogError
from greyd.maillog.lines import MAX_LINE_BYTES, LogLine, ReadStatistics
from greyd.maillog.reader import read_decisions, read_lines
from greyd.monitoring.log import Line as Written
from greyd.monitoring.log import Log
from greyd.monitoring.log_observer import LogObserver
from greyd.policy.events import DecisionEvent
from greyd.rules.evidence import Evidence
from greyd.rules.reasons import Reason
from greyd.rules.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NEW = b"action=greylist, reason=new, client_name=mx.example.com, client_address=192.0.2.7, " \
    b"sender=alice@example.com, recipient=bob@example.org"  # fmt: skip
NOON = 1_795_521_600.0
"""2026-11-24 12:00:00 in UTC."""


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def written(folder: Path, *texts: bytes, name: str = "mail.log", at: float = NOON + 3600) -> Path:
    path = folder / name
    path.write_bytes(b"".join(text + b"\n" for text in texts))
    os.utime(path, (at, at))
    return path


def read(path: Path, **how: Any) -> list[LoggedDecision]:
    return list(read_decisions([path], **how))


def senders(*paths: Path) -> list[bytes]:
    return [each.sender for each in read_decisions(paths)]


# Forms of a line ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "when"),
    [
        (b"Nov 24 12:00:00 mx1 greyd[7]: ", NOON),
        (b"Nov  4 12:00:00 mx1 postgrey[7]: ", NOON - 20 * 86400),
        (b"Nov 24 12:00:00.250000 mx1 greyd[7]: ", NOON + 0.25),
        (b"2026-11-24T13:00:00.5+01:00 mx1 greyd[7]: ", NOON + 0.5),
        (b"2026-11-24T12:00:00+0000 mx1 greyd: ", NOON),
        (b"2026-11-24T12:00:00.123456789Z ", NOON + 0.123456789),
        (b"", 0.0),
        (b"4XyzAb3kJQz1: ", 0.0),
        (b"Nov 24 12:00:00 mx1 greyd[7]: 0A1B2C3D4E: ", NOON),
    ],
)
def test_a_decision_is_read_behind_every_usual_beginning(
    tmp_path: Path, prefix: bytes, when: float
) -> None:
    (decision,) = read(written(tmp_path, prefix + NEW))
    assert decision.when == pytest.approx(when)
    assert decision[1:5] == ("greylist", "new", "", None)
    assert decision[5:9] == (
        b"mx.example.com", b"192.0.2.7", b"alice@example.com", b"bob@example.org",
    )  # fmt: skip


def test_what_stands_beside_greyds_lines_is_passed_over(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        b"Nov 24 12:00:00 mx1 postfix/smtpd[1]: connect from mx.example.com[192.0.2.7]",
        b"Nov 24 12:00:00 mx1 greyd[7]: whitelisted: mx.example.com[192.0.2.7]",
        b"Nov 24 12:00:00 mx1 other[7]: it said " + NEW,
        b"",
        b"Nov 24 12:00:01 mx1 greyd[7]: " + NEW,
    )
    assert [each.when for each in read(path)] == [NOON + 1]


@pytest.mark.parametrize(
    ("told", "reason", "detail", "missing", "delay"),
    [
        (b"early-retry (38s missing)", "early-retry", "38s missing", 38, None),
        (b"learning (early-retry (9s missing))", "learning", "early-retry (9s missing)", 9, None),
        (b"triplet found, delay=312", "triplet found", "", None, 312),
        (b"client AWL", "client AWL", "", None, None),
    ],
)
def test_reason_detail_and_delay_are_told_apart(
    told: bytes, reason: str, detail: str, missing: int | None, delay: int | None
) -> None:
    text = b"action=pass, reason=" + told + b", client_address=::1, recipient=bob@example.org"
    decision = parse_decision(NOON, text)
    assert decision is not None
    assert (decision.reason, decision.detail) == (reason, detail)
    assert (decision.missing_seconds, decision.delay_seconds) == (missing, delay)
    assert (decision.client_address, decision.sender) == (b"::1", b"")


@pytest.mark.parametrize("sender", [b"a, recipient=x@y.z", b'"a, client_name=b"@c', b"a=b, c, =d"])
def test_a_sender_can_not_pretend_to_be_another_part_of_the_line(sender: bytes) -> None:
    text = NEW.replace(b"alice@example.com", sender) + b", identity=example.com, signals=no_ptr+x"
    decision = parse_decision(NOON, text)
    assert decision is not None
    assert decision.sender == sender
    assert decision.recipient == b"bob@example.org"
    assert (decision.identity, decision.signals) == (b"example.com", b"no_ptr+x")


class _Kept:
    def __init__(self) -> None:
        self.texts: list[bytes] = []

    def write(self, lines: Sequence[Written]) -> None:
        self.texts += [line.text for line in lines]


def told_by_greyd(request: Request, *, as_json: bool) -> bytes:
    """Return greyd's own line about a decision."""
    kept = _Kept()
    log = Log(kept, as_json=as_json)
    evidence = Evidence(identity=b"example.com", signals=("no_ptr", "helo_is_ours"))
    event = DecisionEvent(
        request, Reason.EARLY_RETRY, 0.0, detail=" (38s missing)", evidence=evidence
    )
    LogObserver(log).decided([event])
    log.close(10)
    return kept.texts[0]


@given(
    sender=st.binary(max_size=60),
    recipient=st.binary(max_size=60).filter(lambda data: b", " not in data),
    as_json=st.booleans(),
)
def test_whatever_greyd_writes_is_read_as_it_was(
    sender: bytes, recipient: bytes, as_json: bool
) -> None:
    request = Request(
        client_name=b"mx.example.com",
        client_address=b"192.0.2.7",
        sender=sender,
        recipient=b"<" + recipient,
        queue_id=b"0A1B2C3D4E",
    )
    decision = parse_decision(0.0, told_by_greyd(request, as_json=as_json))
    assert decision is not None
    assert decision[1:5] == ("greylist", "early-retry", "38s missing", None)
    assert decision.client_address == b"192.0.2.7"
    assert decision.queue_id == b"0A1B2C3D4E"
    assert (decision.identity, decision.signals) == (b"example.com", b"no_ptr+helo_is_ours")
    if not (as_json and b"\\x" in sender + recipient):
        # JSON has a notation of its own for odd octets, in which the two look alike.
        assert decision.sender == percent_encode(sender)
        assert decision.recipient == percent_encode(b"<" + recipient)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_log(data: bytes) -> None:
    parse_decision(0.0, data)
    parse_decision(0.0, b"action=pass, reason=" + data)
    parse_decision(0.0, b'{"action": "pass", ' + data)


# Forms of a file ----------------------------------------------------------------------------------


def exported(*entries: dict[bytes, bytes]) -> bytes:
    """Return entries of the journal as ``journalctl -o export`` writes them."""
    text = b""
    for fields in entries:
        for name, value in fields.items():
            if b"\n" in value:
                text += name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
            else:
                text += name + b"=" + value + b"\n"
        text += b"\n"
    return text


def entry(message: bytes, program: bytes = b"greyd", second: int = 0) -> dict[bytes, bytes]:
    return {
        b"__CURSOR": b"s=1;i=2",
        b"__REALTIME_TIMESTAMP": b"%d" % ((NOON + second) * 1_000_000),
        b"_TRANSPORT": b"syslog",
        b"SYSLOG_IDENTIFIER": program,
        b"MESSAGE": message,
        b"_PID": b"7",
    }


def test_the_journals_export_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(exported(entry(b"starting"), entry(NEW, second=5)))
    (decision,) = read(path)
    assert (decision.when, decision.sender) == (NOON + 5, b"alice@example.com")


def test_what_a_program_hides_in_a_field_of_the_journal_is_no_entry(tmp_path: Path) -> None:
    forged = exported(entry(NEW.replace(b"alice", b"mallory")))
    path = tmp_path / "journal"
    odd = {**entry(b"x"), b"MESSAGE": b"first\n\n" + forged}
    path.write_bytes(exported(odd, entry(NEW, second=9)))
    assert senders(path) == [b"alice@example.com"]


def test_the_journals_export_is_read_across_the_borders_of_pieces(tmp_path: Path) -> None:
    odd = {**entry(b"x"), b"COREDUMP": b"\n\n" * 300_000}
    path = tmp_path / "journal"
    path.write_bytes(exported(*[entry(NEW), odd] * 3, entry(NEW)))
    assert len(read(path)) == 4


def test_the_journals_json_is_read(tmp_path: Path) -> None:
    fields = {name.decode(): value.decode() for name, value in entry(NEW, second=5).items()}
    path = written(tmp_path, json.dumps(fields).encode(), b'{"action')
    assert senders(path) == [b"alice@example.com"]
    assert read(path)[0].when == NOON + 5


def test_bytes_that_the_journals_json_lists_are_read(tmp_path: Path) -> None:
    fields = {name.decode(): value.decode() for name, value in entry(b"", b"postfix/smtpd").items()}
    path = written(tmp_path, json.dumps({**fields, "MESSAGE": list(b"from=<\xff>")}).encode())
    assert [each.text for each in read_lines([path], programs=[b"postfix/smtpd"])] == [
        b"from=<\xff>"
    ]


def test_greyds_json_is_read_bare_in_syslog_and_in_the_journal_and_in_docker(
    tmp_path: Path,
) -> None:
    line = told_by_greyd(Request(sender=b"a@b.c", recipient=b"b@c.d"), as_json=True)
    bare = written(tmp_path, line, name="bare")
    syslog = written(tmp_path, b"Nov 24 12:00:00 mx1 greyd[7]: " + line, name="syslog")
    docker = written(
        tmp_path,
        json.dumps({"log": f"{line.decode()}\n", "time": "2026-11-24T12:00:00.5Z"}).encode(),
        json.dumps({"log": f"{NEW.decode()}\n", "time": "2026-11-24T12:00:00.5Z"}).encode(),
        name="docker",
    )
    journal = tmp_path / "journal"
    journal.write_bytes(exported(entry(line)))
    assert time.time() - read(bare)[0].when < 600
    assert [each.when for each in read(syslog)] == [NOON]
    assert [each.when for each in read(docker)] == [NOON + 0.5] * 2
    assert [each.when for each in read(journal)] == [NOON]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_logs_are_read_whatever_their_name(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "mail.log.2"
    path.write_bytes(pack(b"Nov 24 12:00:00 mx1 greyd[7]: " + NEW + b"\n"))
    assert senders(path) == [b"alice@example.com"]


def test_of_a_broken_archive_all_is_read_that_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mail.log.2.gz"
    many = b"".join(b"%d %b\n" % (number, os.urandom(50)) for number in range(5000))
    path.write_bytes(gzip.compress(NEW + b"\n" + many + NEW + b"\n")[:-100])
    assert len(read(path)) == 1
    assert "mail.log.2.gz: broken, read up to there" in capsys.readouterr().err


def test_a_last_line_without_an_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(NEW + b"\n" + NEW)
    assert len(read(path)) == 2


@pytest.mark.parametrize("size", [MAX_LINE_BYTES + 1, 3_000_000])
def test_too_long_a_line_is_left_out_and_counted(tmp_path: Path, size: int) -> None:
    long = NEW.replace(b"alice", b"a" * size)
    tally = ReadStatistics()
    path = written(tmp_path, NEW, long, NEW, long)
    assert len(read(path, tally=tally)) == 2
    assert tally.too_long == 2
    assert tally.bytes_read == path.stat().st_size


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MailLogError, match=r"mail\.log: No such file"):
        read(tmp_path / "mail.log")


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MailLogError, match="Is a directory"):
        read(tmp_path)


# Times --------------------------------------------------------------------------------------------


def when(path: Path, **how: Any) -> list[str]:
    return [str(datetime.fromtimestamp(each.when, UTC))[:16] for each in read(path, **how)]


def test_the_year_is_the_last_before_the_file_was_written(tmp_path: Path) -> None:
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


def test_a_time_without_a_zone_is_this_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


# Lines of others ----------------------------------------------------------------------------------


def test_the_lines_of_some_programs_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        b"Nov 24 12:00:00 mx1 postfix/smtpd[1]: connect from a",
        b"Nov 24 12:00:01 mx1 postfix/submission/smtpd[1]: connect from b",
        b"Nov 24 12:00:02 mx1 postfix-in/smtpd[1]: connect from c",
        b"Nov 24 12:00:03 mx1 postfix/smtp[1]: no postfix/smtpd[1]: at all",
        b"Nov 24 12:00:04 mx1 greyd[1]: " + NEW,
        b"Nov 24 12:00:05 mx1 mygreyd[1]: connect",
        NEW,
    )
    assert list(read_lines([path], programs=[b"greyd", b"postfix/smtpd"])) == [
        LogLine(NOON, b"postfix/smtpd", b"connect from a"),
        LogLine(NOON + 1, b"postfix/submission/smtpd", b"connect from b"),
        LogLine(NOON + 2, b"postfix-in/smtpd", b"connect from c"),
        LogLine(NOON + 4, b"greyd", NEW),
        LogLine(0, b"", NEW),
    ]


def test_the_lines_of_some_programs_are_read_from_the_journal(tmp_path: Path) -> None:
    entries = [
        entry(b"connect from a", b"postfix/smtpd"),
        entry(b"closing", b"postfix/qmgr"),
        entry(NEW, b"postgrey"),
    ]
    export = tmp_path / "export"
    export.write_bytes(exported(*entries))
    as_json = written(
        tmp_path,
        *(
            json.dumps({k.decode(): v.decode() for k, v in each.items()}).encode()
            for each in entries
        ),
        name="json",
    )
    for path in (export, as_json):
        assert list(read_lines([path], programs=[b"postfix/smtpd", b"postgrey"])) == [
            LogLine(NOON, b"postfix/smtpd", b"connect from a"),
            LogLine(NOON, b"postgrey", NEW),
        ]
