"""Mail through a real Exim, with the ACL as docs/exim.md shows it.

Debian's exim4 can't be installed beside Postfix, so ``.ci/run`` unpacks it into ``build/exim``.
"""

from __future__ import annotations

import shlex
import smtplib
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.commands import run
from tests.integration.lives import has_said, only_as_root, open_folder
from tests.integration.postfix import Sink, opened_sink
from tests.mail_log import MailLog
from tests.pages.blocks import CHECKOUT, PAGES, Page
from tests.processes import accepts, free_port, greyd, program, running, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

PACKAGES = Path("/opt/exim4")
UNPACKED = PACKAGES / "usr/sbin/exim4"

ACL = "/etc/exim4/greyd_acl"
MACROS = "/etc/exim4/exim4.conf.localmacros"
INCLUDE = "acl_check_rcpt"
DIALOGUE = "a dialogue"

CONFIGURATION = """\
exim_path = {exim}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/pid
primary_hostname = mx.example.org
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
domainlist local_domains = example.org
acl_smtp_rcpt = acl_check_rcpt
begin acl
acl_check_rcpt:
  require domains = +local_domains
{include}
  accept
begin routers
to_the_sink:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = sink
begin transports
sink:
  driver = smtp
  port = {sink_port}
  allow_localhost
  hosts_try_chunking =
"""


@dataclass(frozen=True, slots=True)
class Exim:
    """A running Exim, and where it delivers."""

    command: list[str]
    port: int
    sink: Sink

    def send(self, *recipients: str) -> tuple[str, list[str]]:
        """Try to send a message; returns its subject, and the replies to its recipients."""
        subject = str(uuid.uuid4())
        with smtplib.SMTP("127.0.0.1", self.port, "mail.example.com", timeout=30) as smtp:
            smtp.ehlo()
            smtp.mail("alice@example.com")
            answers = [smtp.rcpt(recipient) for recipient in recipients]
            if any(code == 250 for code, _ in answers):
                assert smtp.data(f"Subject: {subject}\r\n\r\nhello\r\n".encode())[0] == 250
        return subject, [f"{code} {text.decode()}" for code, text in answers]


def shown(title: str) -> str:
    """Return a block of the page."""
    (text,) = [
        block.text for block in Page(CHECKOUT / "docs/exim.md").blocks if block.title == title
    ]
    return text


@contextmanager
def exim(folder: Path, policy_port: int) -> Iterator[Exim]:
    """Run Exim with the page's ACL, asking greyd on another port than there."""
    binary = str(UNPACKED) if UNPACKED.exists() else program("exim4")
    only_as_root()
    acl, configuration, port = folder / "greyd_acl", folder / "exim.conf", free_port()
    acl.write_text(shown(ACL).replace(":10023", f":{policy_port}"))
    include = shown(INCLUDE).replace(ACL, str(acl))
    with opened_sink() as (where, sink_port):
        configuration.write_text(
            CONFIGURATION.format(
                exim=binary, folder=folder, port=port, include=include, sink_port=sink_port
            )
        )
        # It is all Exim's own user's, who has another name elsewhere than in Debian.
        folder.chmod(0o777)
        command = [binary, "-C", str(configuration)]
        with running([*command, "-bdf"], folder, port, lambda: accepts(port)):
            yield Exim(command, port, where)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as path:
        yield path


def test_the_first_mail_is_deferred_and_the_retry_comes_with_one_header(folder: Path) -> None:
    with greyd(folder, "--exim", "--delay=2") as policy, exim(folder, policy.port) as mta:
        recipients = ("bob@example.org", "carol@example.org")
        _, replies = mta.send(*recipients)
        text = "451 Greylisted, see http://postgrey.schweikert.ch/help/example.org.html"
        assert replies == [text, text]
        time.sleep(2.1)  # the delay, which is real
        subject, replies = mta.send(*recipients)
        assert replies == ["250 Accepted", "250 Accepted"]
        (delivered,) = mta.sink.wait_for(subject)
        assert len(delivered.greylist_headers) == 1
        subject, replies = mta.send(*recipients)
        assert replies == ["250 Accepted", "250 Accepted"]
        (delivered,) = mta.sink.wait_for(subject)
        assert delivered.greylist_headers == []


def test_mail_goes_on_while_greyd_is_away(folder: Path) -> None:
    with exim(folder, free_port()) as mta:
        subject, replies = mta.send("bob@example.org")
        assert replies == ["250 Accepted"]
        assert mta.sink.wait_for(subject)


def test_relaying_is_refused_before_greyd_is_asked(folder: Path) -> None:
    with greyd(folder, "--exim") as policy, exim(folder, policy.port) as mta:
        assert mta.send("bob@example.net")[1][0].startswith("550 ")
        policy.stop()  # by which its log is complete
        assert "reason=" not in policy.log()


def test_the_dialogue_that_the_page_shows_is_deferred(folder: Path) -> None:
    with greyd(folder, "--exim") as policy, exim(folder, policy.port) as mta:
        said = subprocess.run(
            [*mta.command, "-bh", "192.0.2.7"],
            input=shown(DIALOGUE).replace("\n", "\r\n"),
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout
        assert "451 Greylisted, see " in said
        has_said(policy, "client_address=192.0.2.7, sender=alice@example.com")


@pytest.mark.parametrize(
    ("recipient", "to"),
    [("bob@example.org", "bob@example.org"), ("postmaster", "postmaster@mx.example.org")],
)
def test_exim_takes_the_weekly_letter(folder: Path, recipient: str, to: str) -> None:
    log = MailLog(folder)
    log.decided(0, "greylist, reason=new", "office@school.ch", name="mx.school.ch")
    log.decided(86400, "pass, reason=client AWL")
    subject = f"Greylisting on {socket.gethostname()}: 1 of 1 mail kept out may be wanted"
    sendmail = folder / "sendmail"
    with exim(folder, free_port()) as mta:
        sendmail.write_text(f'#!/bin/sh\nexec {shlex.join(mta.command)} "$@"\n')
        sendmail.chmod(0o755)
        done = run("report", log.written(), f"--mail-to={recipient}", f"--sendmail={sendmail}")
        assert done.returncode == 0, done.stderr
        (delivered,) = mta.sink.wait_for(subject)
    body = delivered.message.get_body(("plain",))
    assert body is not None
    assert "office@school.ch" in body.get_content()
    assert delivered.message["To"] == to


def test_an_exim_that_takes_no_letter_is_quoted(folder: Path) -> None:
    log = MailLog(folder)
    log.decided(0, "greylist, reason=new")
    binary = str(UNPACKED) if UNPACKED.exists() else program("exim4")
    sendmail = folder / "sendmail"
    sendmail.write_text(f'#!/bin/sh\nexec {binary} -C {folder}/none "$@"\n')
    sendmail.chmod(0o755)
    done = run("report", log.written(), "--mail-to=bob@example.org", f"--sendmail={sendmail}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "sendmail ended with status 1: " in done.stderr
    assert f"{folder}/none" in done.stderr


def test_debians_configuration_has_the_macro_that_the_page_names() -> None:
    if not UNPACKED.exists():
        unavailable("exim4-config is not installed")
    (name, value) = shown(MACROS).strip().split(" = ")
    assert value == ACL
    checks = PACKAGES / "etc/exim4/conf.d/acl/30_exim4-config_check_rcpt"
    assert f"  .include {name}\n" in checks.read_text()


def test_every_block_of_exim_in_the_pages_is_tried_here() -> None:
    blocks = [block for path in PAGES for block in Page(path).blocks if block.language == "exim"]
    assert {block.title for block in blocks} == {ACL, MACROS, INCLUDE, DIALOGUE}
