"""Logs are read in every form of a file."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from greyd.maillog.errors import MailLogError
from greyd.maillog.lines import MAX_LINE_BYTES
from greyd.maillog.reader import read_lines
from greyd.maillog.statistics import ReadStatistics
from greyd.rules.request import Request

if TYPE_CHECKING:
    from pathlib import Path
from tests.maillog.logs import NEW, NOON, entry, exported, logged_by_greyd, read, senders, written


def test_the_export_format_of_the_journal_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(exported(entry(b"starting"), entry(NEW, second=5)))
    (decision,) = read(path)
    assert (decision.when, decision.sender) == (NOON + 5, b"alice@example.com")


def test_a_forged_entry_inside_a_field_of_the_journal_is_no_entry(tmp_path: Path) -> None:
    forged = exported(entry(NEW.replace(b"alice", b"mallory")))
    path = tmp_path / "journal"
    odd = {**entry(b"x"), b"MESSAGE": b"first\n\n" + forged}
    path.write_bytes(exported(odd, entry(NEW, second=9)))
    assert senders(path) == [b"alice@example.com"]


def test_entries_of_the_journal_may_span_several_reads(tmp_path: Path) -> None:
    odd = {**entry(b"x"), b"COREDUMP": b"\n\n" * 300_000}
    path = tmp_path / "journal"
    path.write_bytes(exported(*[entry(NEW), odd] * 3, entry(NEW)))
    assert len(read(path)) == 4


def test_the_json_of_the_journal_is_read(tmp_path: Path) -> None:
    fields = {name.decode(): value.decode() for name, value in entry(NEW, second=5).items()}
    path = written(tmp_path, json.dumps(fields).encode(), b'{"action')
    assert senders(path) == [b"alice@example.com"]
    assert read(path)[0].when == NOON + 5


def test_a_list_of_bytes_in_the_json_of_the_journal_is_read(tmp_path: Path) -> None:
    fields = {name.decode(): value.decode() for name, value in entry(b"", b"postfix/smtpd").items()}
    path = written(tmp_path, json.dumps({**fields, "MESSAGE": list(b"from=<\xff>")}).encode())
    assert [each.text for each in read_lines([path])] == [b"from=<\xff>"]


def test_greyds_json_is_read_bare_in_syslog_and_in_the_journal_and_in_docker(
    tmp_path: Path,
) -> None:
    line = logged_by_greyd(Request(sender=b"a@b.c", recipient=b"b@c.d"), as_json=True)
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
def test_compressed_logs_are_read_under_any_name(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "mail.log.2"
    path.write_bytes(pack(b"Nov 24 12:00:00 mx1 greyd[7]: " + NEW + b"\n"))
    assert senders(path) == [b"alice@example.com"]


def test_a_damaged_archive_is_read_up_to_the_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mail.log.2.gz"
    many = b"".join(b"%d %b\n" % (number, os.urandom(50)) for number in range(5000))
    path.write_bytes(gzip.compress(NEW + b"\n" + many + NEW + b"\n")[:-100])
    assert len(read(path)) == 1
    assert "mail.log.2.gz: damaged, read only up to the damage" in capsys.readouterr().err


def test_a_last_line_without_an_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(NEW + b"\n" + NEW)
    assert len(read(path)) == 2


@pytest.mark.parametrize("size", [MAX_LINE_BYTES + 1, 3_000_000])
def test_a_line_that_is_too_long_is_skipped_and_counted(tmp_path: Path, size: int) -> None:
    long = NEW.replace(b"alice", b"a" * size)
    statistics = ReadStatistics()
    path = written(tmp_path, NEW, long, NEW, long)
    assert len(read(path, statistics=statistics)) == 2
    assert statistics.too_long_count == 2
    assert statistics.bytes_read == path.stat().st_size


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MailLogError, match=r"mail\.log: No such file"):
        read(tmp_path / "mail.log")


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MailLogError, match="Is a directory"):
        read(tmp_path)
