"""Logs are read in every form of a file."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import lz4.frame
import pytest

from greyd.maillog.errors import MailLogError
from greyd.maillog.lines import MAX_LINE_BYTES
from greyd.maillog.reader import read_decisions, read_lines
from greyd.maillog.sources import compression
from greyd.maillog.statistics import ReadStatistics
from greyd.rules.request import Request

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd
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


PACKED = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    # With checksums, as the commands write them.
    "zstd": lambda data: zstd.compress(
        data, options={zstd.CompressionParameter.checksum_flag: True}
    ),
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
}


@pytest.mark.parametrize("name", ["mail.log.2", "mail.log", "mail.log.2.gz"])
@pytest.mark.parametrize("form", PACKED)
def test_compressed_logs_are_read_under_any_name(tmp_path: Path, form: str, name: str) -> None:
    path = tmp_path / name
    line = b"Nov 24 12:00:00 mx1 greyd[7]: " + NEW + b"\n"
    path.write_bytes(PACKED[form](line * 10_000))
    assert senders(path) == [b"alice@example.com"] * 10_000


@pytest.mark.parametrize("form", [each for each in PACKED if each != "lzma"])
def test_several_compressed_streams_in_a_file_are_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "mail.log.2"
    path.write_bytes(PACKED[form](NEW + b"\n") * 3)
    assert len(read(path)) == 3


@pytest.mark.parametrize("form", PACKED)
def test_a_damaged_archive_is_read_up_to_the_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    path = tmp_path / "mail.log.2.gz"
    many = b"".join(b"%d %b\n" % (number, os.urandom(50)) for number in range(20_000))
    path.write_bytes(PACKED[form](NEW + b"\n" + many + NEW + b"\n")[:-100])
    statistics = ReadStatistics()
    assert len(read(path, statistics=statistics)) == 1
    assert "mail.log.2.gz: damaged, read only up to the damage" in capsys.readouterr().err
    assert [each.path for each in statistics.unread_files] == [str(path)]


@pytest.mark.parametrize("form", PACKED)
def test_garbage_within_an_archive_is_damage(tmp_path: Path, form: str) -> None:
    path = tmp_path / "mail.log.2"
    many = b"".join(b"%d %b\n" % (number, os.urandom(50)) for number in range(20_000))
    data = bytearray(PACKED[form](NEW + b"\n" + many))
    data[len(data) // 2 : len(data) // 2 + 99] = b"\xff" * 99
    path.write_bytes(data)
    statistics = ReadStatistics()
    read(path, statistics=statistics)
    assert len(statistics.unread_files) == 1


@pytest.mark.parametrize("form", PACKED)
def test_a_file_that_decompresses_without_end_is_read_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(compression, "MIN_SIZE_LIMIT_BYTES", 1 << 20)
    monkeypatch.setattr(compression, "MAX_EXPANSION", 3)
    path = tmp_path / "mail.log.2"
    path.write_bytes(PACKED[form]((NEW + b"\n") * 200_000))
    statistics = ReadStatistics()
    assert 0 < len(read(path, statistics=statistics)) < 200_000
    assert "of its decompressed content" in statistics.unread_files[0].reason


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x1f\x9d\x90abc", r"compressed with compress \(\.Z\); run zcat"),
        (b"PK\x03\x04abc", "a zip archive; run unzip -p"),
        (b"7z\xbc\xaf\x27\x1cabc", "a 7z archive"),
        (b"LZIP\x01abc", "compressed with lzip"),
        (b"\x02\x21\x4c\x18abc", "compressed with lz4 -l; run lz4 -dc"),
        (b"LPKSHHRH" + b"\0" * 200, "binary file of the journal; run journalctl --file="),
        (b"SQLite format 3\0abc", "an SQLite database"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "compressed twice"),
        (gzip.compress(b"\0" * 257 + b"ustar" + b"\0" * 300, mtime=0), "a tar archive"),
    ],
)
def test_an_unreadable_file_is_named_with_the_reason(
    tmp_path: Path, content: bytes, what: str
) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(content)
    with pytest.raises(MailLogError, match=what):
        read(path)


def test_a_compression_without_its_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    path = tmp_path / "mail.log.lz4"
    path.write_bytes(lz4.frame.compress(NEW))
    with pytest.raises(
        MailLogError, match=r"mail\.log\.lz4: compressed with lz4, and Python's lz4.frame"
    ):
        read(path)


def test_unreadable_files_do_not_hide_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, folder = tmp_path / "mail.zip", tmp_path / "mail"
    archive.write_bytes(b"PK\x03\x04abc")
    folder.mkdir()
    good = written(tmp_path, NEW)
    statistics = ReadStatistics()
    assert len(list(read_decisions([archive, folder, good], statistics=statistics))) == 1
    assert [each.path for each in statistics.unread_files] == [str(archive), str(folder)]
    assert "a zip archive" in capsys.readouterr().err
    with pytest.raises(MailLogError, match="none of the files"):
        list(read_decisions([archive, folder]))
    with pytest.raises(MailLogError, match="No such file"):
        list(read_decisions([good, tmp_path / "missing.log"]))


def test_zero_bytes_after_a_crash_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "mail.log"
    line = b"Nov 24 12:00:00 mx1 greyd[7]: " + NEW + b"\n"
    path.write_bytes(line + b"\0" * 5000 + line)
    assert len(read(path)) == 2


def test_a_coloured_message_in_the_journal_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    coloured = {**entry(b"x"), b"MESSAGE": b"\x1b[32m" + NEW + b"\x1b[0m\n"}
    path.write_bytes(exported(coloured, entry(NEW)))
    assert senders(path) == [b"alice@example.com"] * 2


LINES = [
    b"Nov 24 12:00:00 mx1 postgrey[7]: " + NEW.replace(b"alice@", b"alice%d@" % number)
    for number in range(1, 5)
]


@pytest.mark.parametrize("count", [1, 2, 4, 2000])
@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\r\n", b"\n\r"])
def test_a_line_may_end_with_any_of_the_usual_ends(tmp_path: Path, end: bytes, count: int) -> None:
    lines = (LINES * 5000)[:count]
    for data in (end.join(lines), end.join(lines) + end, end.join(lines) + b"\n"):
        path = tmp_path / "mail.log"
        path.write_bytes(data)
        statistics = ReadStatistics()
        assert len(list(read_decisions([path], statistics=statistics))) == count
        assert statistics.is_complete


@pytest.mark.parametrize("ends", [b"\r\n\r\n", b"\r\r\n\n", b"\n\r\r\n", b"\n\n\r\r"])
def test_a_file_may_have_several_line_ends(tmp_path: Path, ends: bytes) -> None:
    path = tmp_path / "mail.log"
    path.write_bytes(b"".join(line + bytes([end]) for line, end in zip(LINES, ends, strict=True)))
    assert [each[:6] for each in senders(path)] == [b"alice1", b"alice2", b"alice3", b"alice4"]


def test_a_return_that_a_client_sent_does_not_begin_a_line(tmp_path: Path) -> None:
    forged = b"Nov 24 12:00:00 mx1 amavis[7]: Subject: x\r" + NEW
    path = written(tmp_path, forged, LINES[0])
    statistics = ReadStatistics()
    found = list(read_decisions([path], statistics=statistics))
    assert [each.sender for each in found] == [b"alice1@example.com"]
    assert statistics.unread_count == 1


def test_arrays_of_bytes_may_be_long_and_span_several_reads(tmp_path: Path) -> None:
    fields = {name.decode(): value.decode() for name, value in entry(b"").items()}
    text = b"\x1b[32m" + NEW.replace(b"alice", b"al\xefce") + b"\x1b[0m"
    for indent in (None, 1):
        lines = json.dumps({**fields, "MESSAGE": list(text)}, indent=indent).encode()
        found = read(written(tmp_path, *[lines] * 1000))
        assert [each.recipient for each in found] == [b"bob@example.org"] * 1000
        assert {each.when for each in found} == {NOON}
        # Lines of the indented form are not parsed as JSON.
        sender = b"al\\udcefce@example.com" if indent else b"al\xefce@example.com"
        assert {each.sender for each in found} == {sender}


@pytest.mark.parametrize("array", ["[]", "[97, 300]", "[97,,98]", "[97", '["a"]', "[[97]]", "[-1]"])
def test_an_odd_array_causes_no_error(tmp_path: Path, array: str) -> None:
    path = written(tmp_path, b'{"MESSAGE": %b}' % array.encode(), LINES[0])
    assert len(senders(path)) == 1


@pytest.mark.parametrize("between", [b"\x0b", b"\x0c", "\u2028".encode(), b" ", b'"},{"x":"'])
def test_several_decisions_in_a_line_are_not_lost_silently(tmp_path: Path, between: bytes) -> None:
    statistics = ReadStatistics()
    path = written(tmp_path, between.join(LINES))
    found = list(read_decisions([path], statistics=statistics))
    assert len(found) + statistics.unread_count == 4


def test_a_decision_that_json_has_twice_counts_once(tmp_path: Path) -> None:
    event = {
        "@timestamp": "2026-11-24T12:00:00.000Z",
        "message": NEW.decode(),
        "event": {"original": LINES[0].decode().replace("alice1", "alice")},
    }
    statistics = ReadStatistics()
    path = written(tmp_path, json.dumps(event).encode())
    assert len(list(read_decisions([path], statistics=statistics))) == 1
    assert statistics.is_complete


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


@pytest.mark.parametrize("count", [1, 5000])
@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_is_read_from_its_beginning(tmp_path: Path, count: int, *, packed: bool) -> None:
    data = b"\n".join([LINES[0]] * count)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = Thread(target=path.write_bytes, args=[gzip.compress(data) if packed else data])
    writer.start()
    other = written(tmp_path, LINES[1])
    found = senders(path, other)
    writer.join()
    assert sorted(found) == [b"alice1@example.com"] * count + [b"alice2@example.com"]


def test_a_pipe_of_the_shell_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = written(tmp_path, *LINES)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert len(senders(Path(f"/dev/fd/{process.stdout.fileno()}"))) == 4


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MailLogError, match="Is a directory"):
        read(tmp_path)
