"""Where no log is named, this machine's mail log is found."""

from __future__ import annotations

import os
import time
from pathlib import Path  # noqa: TC003 - in annotations of fixtures
from typing import TYPE_CHECKING

import pytest

from greyd.maillog.reader import read_decisions
from greyd.maillog.sources import journal
from greyd.maillog.sources.usual_logs import STALE_SECONDS, USUAL_LOGS, find_usual_logs
from greyd.maillog.statistics import ReadStatistics
from tests.maillog.logs import NEW, NOON, entry, exported

if TYPE_CHECKING:
    from collections.abc import Callable

POSTFIX = b"Nov 24 12:00:00 mx1 postfix/smtpd[9]: connect from unknown[192.0.2.7]"


@pytest.fixture
def journalctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a journalctl with some content first in PATH; return the file with its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)

    def install(content: bytes, then: str = "exit 0") -> Path:
        (folder / "content").write_bytes(content)
        program, arguments = folder / "journalctl", folder / "arguments"
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$*" >>{arguments}\ncat {folder}/content\n{then}\n'
        )
        program.chmod(0o755)
        return arguments

    install(b"")
    return install


def places(root: Path) -> list[Path]:
    return [root / each.relative_to("/") for each in USUAL_LOGS]


def put(root: Path, name: str, text: bytes, age: float = 0.0) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text + b"\n")
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.mark.parametrize("usual", USUAL_LOGS, ids=str)
def test_the_usual_file_of_every_distribution_is_found(
    tmp_path: Path, usual: Path, journalctl: Callable[..., Path]
) -> None:
    path = put(tmp_path, str(usual.relative_to("/")), NEW)
    assert find_usual_logs(places(tmp_path), 0.0) == [str(path)]


def test_the_paths_of_the_distributions_are_known() -> None:
    names = {str(each) for each in USUAL_LOGS}
    assert names >= {
        "/var/log/mail.log", "/var/log/maillog", "/var/log/mail", "/var/log/mail/mail.log",
        "/var/log/mail.info", "/var/log/messages", "/var/log/syslog", "/var/log/mail/current",
    }  # fmt: skip


def test_a_file_with_decisions_is_preferred_to_files_with_other_mail(
    tmp_path: Path, journalctl: Callable[..., Path]
) -> None:
    put(tmp_path, "var/log/mail.log", POSTFIX)
    put(tmp_path, "var/log/maillog", b"")
    path = put(tmp_path, "var/log/messages", b"x\n" * 900_000 + NEW)
    assert find_usual_logs(places(tmp_path), 0.0) == [str(path)]


def test_rotated_files_of_the_period_are_added(
    tmp_path: Path, journalctl: Callable[..., Path]
) -> None:
    path = put(tmp_path, "var/log/maillog", NEW)
    put(tmp_path, "var/log/maillog-20261101.xz", NEW, age=20 * 86400)
    newer = put(tmp_path, "var/log/maillog-20261120.xz", NEW, age=5 * 86400)
    assert find_usual_logs(places(tmp_path), time.time() - 9 * 86400) == [str(path), str(newer)]
    assert find_usual_logs(places(tmp_path), 0.0) == [str(path)]


def test_the_journal_is_read_where_no_file_has_decisions(
    tmp_path: Path, journalctl: Callable[..., Path]
) -> None:
    put(tmp_path, "var/log/mail.log", POSTFIX)
    arguments = journalctl(exported(entry(NEW)))
    assert find_usual_logs(places(tmp_path), NOON) == [f"journal:{NOON:.0f}"]
    assert [each.sender for each in read_decisions([f"journal:{NOON:.0f}"])] == [
        b"alice@example.com"
    ]
    asked = arguments.read_text().splitlines()
    assert "SYSLOG_IDENTIFIER=greyd + SYSLOG_IDENTIFIER=postgrey" in asked[0]
    assert f"--since=@{NOON:.0f} SYSLOG_FACILITY=2 +" in asked[-1]


def test_a_file_that_is_no_longer_written_comes_after_the_journal(
    tmp_path: Path, journalctl: Callable[..., Path]
) -> None:
    path = put(tmp_path, "var/log/mail.log", NEW, age=STALE_SECONDS + 60)
    assert find_usual_logs(places(tmp_path), 0.0) == [str(path)]
    journalctl(exported(entry(NEW)))
    assert find_usual_logs(places(tmp_path), 0.0) == ["journal:0"]


def test_a_machine_without_a_log_has_none(
    tmp_path: Path, journalctl: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_usual_logs(places(tmp_path), 0.0) == []
    monkeypatch.setenv("PATH", "/nonexistent")
    assert find_usual_logs(places(tmp_path), 0.0) == []


@pytest.mark.parametrize(
    ("then", "why"),
    [
        ("echo 'Failed to open' >&2; exit 1", "journalctl: Failed to open"),
        ("exit 3", "journalctl: exit status 3"),
        ("exec sleep 60", "printed nothing for"),
    ],
)
def test_a_truncated_journal_is_read_up_to_its_end(
    monkeypatch: pytest.MonkeyPatch, journalctl: Callable[..., Path], then: str, why: str
) -> None:
    monkeypatch.setattr(journal, "MAX_SILENCE_SECONDS", 1.0)
    journalctl(exported(entry(NEW)) * 2, then)
    statistics = ReadStatistics()
    assert len(list(read_decisions(["journal:0"], statistics=statistics))) == 2
    assert why in statistics.unread_files[0].reason
