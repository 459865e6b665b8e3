"""Postfix on the disposable machine: set a page's parameters, and send real mail."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.pages.machine import HOSTS, MISMATCHED, MX, NAMELESS, SENDER

if TYPE_CHECKING:
    from collections.abc import Iterator

MAIN_CF = Path("/etc/postfix/main.cf")
MAILBOX = Path("/var/mail/bob")
SOCKET = Path("/var/spool/postfix/private/greyd")


class MailError(Exception):
    """Postfix does not behave as the page says."""


# Parameters -------------------------------------------------------------------------------------


def set_parameters(text: str) -> None:
    """Set parameters as an administrator does, with an editor, and let Postfix check them.

    Raises:
        MailError: it has something to say.
    """
    new = _logical_lines(text)
    names = {_name(each) for each in new}
    kept = [each for each in _logical_lines(MAIN_CF.read_text()) if _name(each) not in names]
    MAIN_CF.write_text("".join(kept + new))
    for command in (["postconf", "-n"], ["postconf", "-M"], ["postfix", "check"]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or done.stderr:
            raise MailError(f"{' '.join(command)}: {done.stderr}")
    reload()


def reload() -> None:
    """Reload Postfix, or start it."""
    running = subprocess.run(["postfix", "status"], capture_output=True).returncode == 0
    # What a daemon holds open would be waited for.
    subprocess.run(["postfix", "reload" if running else "start"],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)  # fmt: skip


def _logical_lines(text: str) -> list[str]:
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if line[0] in " \t#" and lines:
            lines[-1] += line
        elif line.strip():
            lines.append(line)
    return lines


def _name(line: str) -> str:
    return line.partition("=")[0].strip()


# Mail -------------------------------------------------------------------------------------------


def send(
    client: str = SENDER,
    sender: str = "alice@example.com",
    helo: str = "mail.example.com",
    recipient: str = "bob@example.org",
) -> str:
    """Send a message from an address; returns Postfix's reply to the recipient, or to the data."""
    done = subprocess.run(
        ["swaks", "--server", MX, "--local-interface", client, "--helo", helo, "--from", sender,
         "--to", recipient, "--header", f"Subject: {uuid.uuid4()}"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    refused = re.findall(r"^<\*\* (.*)", done.stdout, re.MULTILINE)
    if refused:
        return str(refused[0])
    subject = re.findall(r"Subject: (\S+)", done.stdout)[0]
    deadline = time.monotonic() + 15
    while not MAILBOX.exists() or subject not in MAILBOX.read_text():
        if time.monotonic() > deadline:
            raise MailError(
                f"not delivered:\n{done.stdout}\n{Path('/var/log/mail.log').read_text()}"
            )
        time.sleep(0.05)
    return "250 delivered"


@contextmanager
def _some_greyd() -> Iterator[None]:
    """Run a greyd if the page has not started one."""
    listening = subprocess.run(["ss", "-Hltn", "sport = 10023"], capture_output=True).stdout
    if listening or SOCKET.exists():
        yield
        return
    folder = Path("/run/some-greyd")
    folder.mkdir(exist_ok=True)
    server = subprocess.Popen(
        ["greyd", "serve", "--delay=1", "--inet=127.0.0.1:10023", f"--unix={SOCKET}", "--metrics=0",
         f"--dbdir={folder}", "--store-timeout=5", "--whitelist-clients=/dev/null"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not SOCKET.exists():
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait(20)


def deliver_greylisted() -> None:
    """Check that a new sender's mail is deferred, and delivered when it is retried.

    Raises:
        MailError: it is not so.
    """
    sender = f"alice-{uuid.uuid4().hex}@example.com"
    with _some_greyd():
        _expect(send(sender=sender), r"450 4\.2\.0 .*Greylisted")
        deadline = time.monotonic() + 15
        while (reply := send(sender=sender)) != "250 delivered":
            if time.monotonic() > deadline:
                raise MailError(f"never delivered: {reply}")
            time.sleep(0.5)


def _expect(reply: str, pattern: str) -> None:
    if not re.match(pattern, reply):
        raise MailError(f"Postfix says {reply!r}, and not {pattern!r}")


def check_the_tips() -> None:
    """Check that the last parameters of docs/postfix.md behave as the page says.

    Raises:
        MailError: they do not.
    """
    listed, known = HOSTS["listed.example.net"], HOSTS["known.example.net"]
    with _some_greyd():
        before = _greylisted()
        _expect(send(recipient="no-such-user@example.org"), r"550 5\.1\.1 ")
        _expect(send(recipient="carol@example.net"), r"554 5\.7\.1 .*Relay access denied")
        _expect(send(NAMELESS), r"450 4\.7\.\d+ .*cannot find your reverse hostname")
        _expect(send(helo="laptop"), r"504 5\.5\.2 <laptop>: Helo command rejected")
        _expect(send(sender="a@no-such-domain.example"), r"450 4\.1\.8 .*Domain not found")
        _expect(send(listed, helo="listed.example.net"), r"554 5\.7\.1 .*blocked using zen\.spam")
        _expect(send(sender="a@listed-domain.example"), r"554 5\.7\.1 .*blocked using dbl\.spam")
        if _greylisted() != before:
            raise MailError("greyd was asked about mail that is rejected anyway")
        _expect(send("127.0.0.1", sender="first@example.org"), "250 delivered")
        _expect(send(known, sender="first@example.net"), "250 delivered")
        _expect(send(MISMATCHED, sender="new@example.com"), r"450 4\.2\.0 .*Greylisted")


def _greylisted() -> int:
    return Path("/var/log/mail.log").read_text().count("Greylisted")
