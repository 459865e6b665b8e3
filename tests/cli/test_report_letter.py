"""``greyd report --mail-to``: the report as a letter, through sendmail's interface."""

from __future__ import annotations

import email
import os
import time
from dataclasses import dataclass
from email.policy import default
from typing import TYPE_CHECKING

import pytest

from greyd import __version__
from greyd.rules.control import Control, ModeOverride
from greyd.rules.reserved_keys import CONTROL_KEY
from tests.commands import fill, run_here
from tests.mail_log import MailLog

if TYPE_CHECKING:
    from email.message import EmailMessage
    from pathlib import Path


@dataclass
class Sendmail:
    """A program that keeps a letter and its arguments."""

    folder: Path
    path: Path

    def letter(self) -> EmailMessage:
        message = email.message_from_bytes((self.folder / "letter").read_bytes(), policy=default)
        assert isinstance(message, email.message.EmailMessage)
        return message

    def arguments(self) -> list[str]:
        return (self.folder / "arguments").read_text().splitlines()

    def has_run(self) -> bool:
        return (self.folder / "arguments").exists()


@pytest.fixture
def sendmail(tmp_path: Path) -> Sendmail:
    return program(tmp_path, 'cat >letter; for each; do echo "$each"; done >arguments')


def program(folder: Path, script: str) -> Sendmail:
    path = folder / "sendmail"
    path.write_text(f"#!/bin/sh\ncd {folder}\n{script}\n")
    path.chmod(0o755)
    return Sendmail(folder, path)


def a_log(folder: Path, *, is_wanted: bool = True) -> str:
    """Write a log of a mail that passes, of spam, and perhaps of a mail that may be wanted."""
    log = MailLog(folder)
    log.decided(0, "greylist, reason=new")
    log.decided(400, "pass, reason=triplet found, delay=400")
    log.decided(10, "greylist, reason=new", "x@spam.example", name="unknown", address="203.0.113.9")
    if is_wanted:
        log.decided(
            20,
            "greylist, reason=new",
            "office@school.ch",
            name="mx.school.ch",
            address="192.0.2.80",
        )
    log.decided(86400, "pass, reason=client AWL", "büro@example.com")
    return str(log.written())


def test_the_letter_has_the_report_as_text_html_and_page(
    tmp_path: Path, sendmail: Sendmail
) -> None:
    words = ["--mail-to=postmaster", "--mail-to=bob@example.org", f"--sendmail={sendmail.path}"]
    done = run_here("report", a_log(tmp_path), *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "mailed the report to postmaster, bob@example.org\n"
    assert sendmail.arguments() == ["-i", "postmaster", "bob@example.org"]
    letter = sendmail.letter()
    assert letter["To"] == "postmaster, bob@example.org"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Date"].datetime is not None
    assert letter["Message-ID"].endswith(">")
    assert "1 of 2 mails kept out may be wanted" in letter["Subject"]
    text = letter.get_body(("plain",))
    assert text is not None
    lines = text.get_content().splitlines()
    assert any("office@school.ch" in line for line in lines)
    assert max(map(len, lines)) <= 76
    assert [line for line in lines if line != line.rstrip() or "\x1b" in line] == []
    html = letter.get_body(("html",))
    assert html is not None
    content = html.get_content()
    assert "office@school.ch" in content
    for each in ("<script", "<style", "<svg", "src=", "http", "url("):
        assert each not in content
    (page,) = letter.iter_attachments()
    assert page.get_filename() == "greylisting.html"
    assert f"greyd {__version__}" in page.get_content()


def test_the_subject_is_calm_if_nothing_looks_wanted(tmp_path: Path, sendmail: Sendmail) -> None:
    log = a_log(tmp_path, is_wanted=False)
    assert run_here("report", log, "--mail-to=root", f"--sendmail={sendmail.path}").returncode == 0
    assert "none of 1 mail kept out looks wanted" in sendmail.letter()["Subject"]


NOW = int(time.time())


@pytest.mark.parametrize(
    ("override", "first_line"),
    [
        (ModeOverride("off", 0, "alice@mx1", NOW - 90_000), "All mail passes: mode off since "),
        (ModeOverride("learn", 0, "alice@mx1", NOW), "All mail passes: mode learn since "),
        (ModeOverride("off", NOW + 3600, "alice@mx1", NOW), None),
        (ModeOverride("on", 0, "alice@mx1", NOW), None),
        (None, None),
    ],
    ids=["off", "learn", "off with an end", "on", "none"],
)
def test_the_letter_begins_with_a_mode_that_has_no_end(
    override: ModeOverride | None, first_line: str | None, tmp_path: Path, sendmail: Sendmail
) -> None:
    url = f"sqlite:{tmp_path / 'greyd.db'}"
    fill(url, {CONTROL_KEY: Control(mode=override).dump()})
    words = ["--mail-to=root", f"--sendmail={sendmail.path}"]
    done = run_here("report", a_log(tmp_path), *words, GREYD_STORE=url)
    assert (done.returncode, done.stderr) == (0, "")
    text = sendmail.letter().get_body(("plain",))
    assert text is not None
    lines = text.get_content().splitlines()
    if first_line is None:
        assert "mode" not in lines[0]
        return
    assert lines[0].startswith(first_line)
    notice = " ".join(text.get_content().partition("\n\n")[0].split())
    assert "by alice@mx1, and no end is set; greyd mode reset ends it." in notice
    assert max(map(len, lines)) <= 76
    html = sendmail.letter().get_body(("html",))
    assert html is not None
    assert first_line in html.get_content()


def test_a_store_that_cannot_be_read_does_not_stop_the_letter(
    tmp_path: Path, sendmail: Sendmail
) -> None:
    (tmp_path / "greyd.db").write_bytes(b"no database" * 1000)
    words = ["--mail-to=root", f"--sendmail={sendmail.path}"]
    for url in (f"sqlite:{tmp_path / 'greyd.db'}", f"sqlite:{tmp_path / 'absent.db'}"):
        done = run_here("report", a_log(tmp_path), *words, GREYD_STORE=url)
        assert (done.returncode, sendmail.has_run()) == (0, True)
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.parametrize(
    "address",
    [
        "-oQ/tmp", "-bs", "", "a b", "a@", "@example.org", "a@b@c", "/etc/passwd",
        "bob@example.org, eve@example.org", "-f@example.org", "|cat@example.org",
        "bob@example.org\nBcc: eve@example.org", "bob@-x.example", "<bob@example.org>", "|cat",
        "bob@bücher.example", "a..b@example.org", "x" * 300,
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_anything_is_read(
    tmp_path: Path, sendmail: Sendmail, address: str
) -> None:
    words = [f"--mail-to={address}", f"--sendmail={sendmail.path}"]
    done = run_here("report", str(tmp_path / "no log"), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected a mail address or a local user" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not sendmail.has_run()


def test_words_of_a_shell_stay_words(tmp_path: Path, sendmail: Sendmail) -> None:
    address = "$HOME`id`&{x}@example.org"
    words = [f"--mail-to={address}", f"--sendmail={sendmail.path}"]
    assert run_here("report", a_log(tmp_path), *words).returncode == 0
    assert sendmail.arguments() == ["-i", address]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo 'postdrop: \033[31mmail system is down' >&2; exit 75",
            "status 75: postdrop",
        ),
        ("exit 1", "status 1: no message"),
        ("head -c 100 >/dev/null; yes fault | head -n 5000; exit 67", "status 67: fault fault"),
    ],
)
def test_a_failure_is_told_in_sendmail_s_words(tmp_path: Path, script: str, message: str) -> None:
    sendmail = program(tmp_path, script)
    done = run_here("report", a_log(tmp_path), "--mail-to=root", f"--sendmail={sendmail.path}")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "the letter was not sent" in done.stderr
    assert "\033" not in done.stderr
    assert len(done.stderr) < 600


def test_a_missing_program_and_one_without_a_letter_are_refused(tmp_path: Path) -> None:
    missing = run_here("report", "--mail-to=root", f"--sendmail={tmp_path / 'none'}")
    assert (missing.returncode, "not a program" in missing.stderr) == (2, True)
    idle = run_here("report", "--sendmail=/bin/true")
    assert (idle.returncode, "--mail-to" in idle.stderr) == (2, True)


def test_no_letter_is_sent_about_a_log_without_decisions(
    tmp_path: Path, sendmail: Sendmail
) -> None:
    empty = tmp_path / "empty.log"
    empty.touch()
    words = ["--mail-to=root", f"--sendmail={sendmail.path}"]
    assert run_here("report", str(empty), *words).returncode == 1
    assert not sendmail.has_run()
    assert os.access(sendmail.path, os.X_OK)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("head -c 30000000 /dev/zero >&2; exit 1", "ended with status 1: %00%00"),
        ("head -c 30000000 /dev/zero >&2", ""),
        ("yes", "no answer in 1 s; the letter may not have been sent"),
        ("exec sleep 60", "no answer in 1 s; the letter may not have been sent"),
        # A child keeps the pipe, and may be delivering the letter.
        ("sleep 1 & exit 0", ""),
        ("exec <&-; exit 0", ""),
        ("kill -9 $$", "ended with status -9: no message"),
    ],
)
def test_whatever_sendmail_writes_or_leaves_open_has_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setattr("greyd.cli.report.letter.sendmail.MAX_SECONDS", 1)
    monkeypatch.setattr("greyd.cli.report.letter.sendmail._LAST_WORDS_SECONDS", 0.2)
    path = program(tmp_path, script).path
    began = time.monotonic()
    done = run_here("report", a_log(tmp_path), "--mail-to=postmaster", f"--sendmail={path}")
    assert time.monotonic() - began < 30
    assert done.returncode == (2 if message else 0)
    assert message in done.stderr
    assert len(done.stderr) < 1000
