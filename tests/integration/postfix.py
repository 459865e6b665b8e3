"""A private Postfix for the tests, and the place where it delivers.

``postfix`` starts an instance with its own configuration, queue, data and log in a folder under
/tmp, listening on loopback only, without DNS; the machine's own instance is never touched. Each of
its SMTP ports has its own policy restriction. Mail for example.org goes to a ``Sink``, an SMTP
server inside the test. ``attempt`` is a remote client: it names its address and host by XCLIENT.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import smtplib
import subprocess
import tempfile
import uuid
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiosmtpd.controller import Controller

from tests.processes import SYSTEM_PATH, accepts, free_port, program, unavailable, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import EmailMessage

    from aiosmtpd.smtp import SMTP, Envelope, Session

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = mx.example.org
inet_interfaces = 127.0.0.1
# An IPv6 client exists only as XCLIENT's word, yet Postfix must take the address for one.
inet_protocols = all
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtp_host_lookup = native
mynetworks =
mydestination =
alias_maps =
alias_database =
virtual_mailbox_domains = example.org
virtual_mailbox_maps = static:all
virtual_transport = smtp:[127.0.0.1]:{sink_port}
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_relay_restrictions = reject_unauth_destination
notify_classes =
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtp_connection_cache_on_demand = no
"""

MASTER_CF = """\
pickup    unix       n - n 60    1 pickup
cleanup   unix       n - n -     0 cleanup
qmgr      unix       n - n 300   1 qmgr
rewrite   unix       - - n -     - trivial-rewrite
bounce    unix       - - n -     0 bounce
defer     unix       - - n -     0 bounce
trace     unix       - - n -     0 bounce
verify    unix       - - n -     1 verify
flush     unix       n - n 1000? 0 flush
proxymap  unix       - - n -     - proxymap
proxywrite unix      - - n -     1 proxymap
smtp      unix       - - n -     - smtp
showq     unix       n - n -     - showq
error     unix       - - n -     - error
retry     unix       - - n -     - error
anvil     unix       - - n -     1 anvil
postlog   unix-dgram n - n -     1 postlogd
"""

SMTPD = "127.0.0.1:{port} inet n - n - - smtpd\n"

RESTRICTED = """\
  -o {{ smtpd_recipient_restrictions = reject_unauth_destination, {restriction} }}
"""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message that arrived at the sink, with the recipients of its one delivery."""

    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def greylist_headers(self) -> list[str]:
        """Every X-Greylist header of the message."""
        return [str(value) for value in self.message.get_all("X-Greylist", [])]


class Sink:
    """Keeps every message that Postfix delivers; messages are told apart by their subject."""

    def __init__(self) -> None:
        self._delivered: list[Delivered] = []

    async def handle_DATA(  # noqa: N802 - aiosmtpd looks it up by this name, and awaits it
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        self._delivered.append(Delivered(tuple(envelope.rcpt_tos), message))
        return "250 2.0.0 kept"

    def about(self, subject: str) -> list[Delivered]:
        """All messages with this subject that have arrived so far."""
        return [one for one in list(self._delivered) if one.message["Subject"] == subject]

    def wait_for(self, subject: str, count: int = 1) -> list[Delivered]:
        """Wait until ``count`` messages with this subject have arrived; return them."""
        wait_until(
            lambda: len(self.about(subject)) >= count, f"{count} delivered about {subject!r}"
        )
        return self.about(subject)


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running instance: its SMTP ports by the name of their restriction, its sink, its log."""

    ports: Mapping[str, int]
    sink: Sink
    maillog: Path
    etc: Path
    """Its configuration."""

    def rejections(self, sender: str) -> list[str]:
        """Every log line so far by which smtpd turned a recipient of this sender away."""
        line = re.compile(rf"^.* reject: RCPT from .* from=<{re.escape(sender)}>.*$", re.MULTILINE)
        return line.findall(self.maillog.read_text())

    def wait_for_rejections(self, sender: str, count: int) -> list[str]:
        """Wait until the log shows exactly ``count`` of them: postlogd writes after the reply."""
        wait_until(
            lambda: len(self.rejections(sender)) == count, f"{count} rejections of {sender} logged"
        )
        return self.rejections(sender)


@contextlib.contextmanager
def opened_sink() -> Iterator[tuple[Sink, int]]:
    sink, port = Sink(), free_port()
    # Without a name given, aiosmtpd asks the DNS for one, and here nobody answers.
    controller = Controller(sink, "127.0.0.1", port, server_hostname="sink.example.org")
    controller.start()
    try:
        yield sink, port
    finally:
        controller.stop()


def _control(folder: Path, command: str) -> None:
    """Run ``postfix start`` or ``postfix stop`` on the instance in ``folder``."""
    # Started daemons would keep a pipe open for ever, so what they say goes to a file.
    with (folder / "control.log").open("ab") as log:
        done = subprocess.run(
            [program("postfix"), "-c", str(folder / "etc"), command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": SYSTEM_PATH},
            timeout=30,
        )
    if done.returncode != 0:
        written = "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))
        pytest.fail(f"postfix {command} ended with {done.returncode}:\n{written}")


def _write_configuration(folder: Path, sink_port: int, services: str, more: str) -> None:
    etc, data = folder / "etc", folder / "data"
    for path in (etc, data, folder / "queue"):
        path.mkdir(mode=0o755)
    shutil.chown(data, "postfix")
    main = etc / "main.cf"
    main.write_text(MAIN_CF.format(folder=folder, sink_port=sink_port) + more)
    # Postfix waits two seconds while the file looks as if somebody were still writing it.
    os.utime(main, (0, 0))
    (etc / "master.cf").write_text(MASTER_CF + services)


@contextlib.contextmanager
def postfix(keep: Path, *, main_cf: str = "", **restrictions: str) -> Iterator[Postfix]:
    """Run an instance with one SMTP port for each restriction, called by the keyword.

    A restriction is what stands in main.cf after ``reject_unauth_destination,``; one that is empty
    leaves it to the lines ``main_cf``, which are added to those of the tests. The mail log is left
    in the folder ``keep`` in the end.
    """
    program("postfix")
    if os.geteuid() != 0:
        unavailable("only root can start Postfix")
    ports = {name: free_port() for name in restrictions}
    services = "".join(
        SMTPD.format(port=ports[name]) + (RESTRICTED.format(restriction=text) if text else "")
        for name, text in restrictions.items()
    )
    with contextlib.ExitStack() as ends:
        # pytest's folders are closed to Postfix's own user.
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="postfix-")))
        folder.chmod(0o755)
        sink, sink_port = ends.enter_context(opened_sink())
        _write_configuration(folder, sink_port, services, main_cf)
        maillog = folder / "mail.log"
        _control(folder, "start")
        ends.callback(lambda: shutil.copy(maillog, keep / "postfix-mail.log"))
        ends.callback(_control, folder, "stop")
        wait_until(lambda: all(accepts(port) for port in ports.values()), "Postfix's ports open")
        yield Postfix(ports, sink, maillog, folder / "etc")


@dataclass(frozen=True, slots=True)
class Client:
    """A remote mail server, as XCLIENT tells Postfix about it."""

    address: str
    name: str = "[UNAVAILABLE]"
    login: str = "[UNAVAILABLE]"
    """The user that has logged in."""

    def xclient(self) -> str:
        """The attributes of the XCLIENT command (Postfix's XCLIENT_README)."""
        prefix = "IPV6:" if ":" in self.address else ""
        return f"ADDR={prefix}{self.address} NAME={self.name} LOGIN={self.login}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a client was told: one reply for each recipient, and whether the mail was taken."""

    subject: str
    replies: tuple[str, ...]
    taken: bool


def attempt(port: int, client: Client, sender: str, *recipients: str) -> Attempt:
    """Try to send one message to the recipients, as far as Postfix lets it go.

    Like a real client, it sends the message for those recipients that were accepted, if any.
    """
    subject = f"attempt {uuid.uuid4()}"
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.com", timeout=30) as smtp:
        smtp.ehlo()
        code, text = smtp.docmd("XCLIENT", client.xclient())
        assert code == 220, text
        smtp.ehlo()
        assert smtp.mail(sender)[0] == 250
        answers = [smtp.rcpt(recipient) for recipient in recipients]
        replies = tuple(f"{code} {text.decode()}" for code, text in answers)
        taken = False
        if any(code == 250 for code, _ in answers):
            code, _ = smtp.data(f"Subject: {subject}\r\n\r\nhello\r\n".encode())
            taken = code == 250
    return Attempt(subject, replies, taken)
