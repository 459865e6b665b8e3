"""``greyd report --mail-to`` through a real Postfix, and the units that send the letter."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.commands import run
from tests.integration.postfix import postfix
from tests.mail_log import MailLog
from tests.processes import program

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_postfix_delivers_the_letter(tmp_path: Path) -> None:
    log = MailLog(tmp_path)
    log.decided(0, "greylist, reason=new", "office@school.ch", name="mx.school.ch")
    log.decided(86400, "pass, reason=client AWL")
    subject = f"Greylisting on {socket.gethostname()}: 1 of 1 mail kept out may be wanted"
    with postfix(tmp_path) as server:
        done = run(
            "report", log.written(), "--mail-to=bob@example.org",
            f"--sendmail={program('sendmail')}", MAIL_CONFIG=str(server.etc),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (delivered,) = server.sink.wait_for(subject)
    message = delivered.message
    assert message["To"] == "bob@example.org"
    assert message["Auto-Submitted"] == "auto-generated"
    body = message.get_body(("plain",))
    assert body is not None
    assert "office@school.ch" in body.get_content()


def test_a_mail_system_that_takes_no_letter_is_quoted(tmp_path: Path) -> None:
    log = MailLog(tmp_path)
    log.decided(0, "greylist, reason=new")
    done = run(
        "report", log.written(), "--mail-to=bob@example.org",
        f"--sendmail={program('sendmail')}", MAIL_CONFIG=str(tmp_path / "none"),
    )  # fmt: skip
    assert done.returncode == 2
    assert "sendmail ended with status" in done.stderr
    assert "main.cf" in done.stderr
