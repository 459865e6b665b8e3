"""Hands a letter to the mail system, by the interface of sendmail(8)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.escaping import printable, printable_text
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import EmailMessage

MAX_SECONDS = 60
"""How long sendmail may take; it only puts the letter into the queue."""

_FOLDERS = "/usr/sbin:/usr/lib:/usr/local/sbin:/usr/bin"
"""Where systems have sendmail; the search path of cron and systemd may lack these folders."""

_MAX_ADDRESS = 254
_ATOMS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_+-]*(?:\.[A-Za-z0-9_+-]+)*"
_ADDRESS = re.compile(rf"{_USER}|(?![-|/]){_ATOMS}@{_LABEL}(?:\.{_LABEL})*")
"""The name of a local user or alias, or a mail address (RFC 5321, Dot-string).

Neither looks like an option, nor like what aliases(5) takes for a command or a file.
"""


def read_recipients(texts: Sequence[str]) -> list[str]:
    """Return the addresses of ``--mail-to``, each once.

    Raises:
        CommandError: one is not a mail address or a user's name.
    """
    for text in texts:
        if len(text) > _MAX_ADDRESS or not _ADDRESS.fullmatch(text):
            raise CommandError(
                f"--mail-to={excerpt(printable_text(text))}: expected a mail address or a local"
                " user, such as postmaster"
            )
    return list(dict.fromkeys(texts))


def find_sendmail(path: Path | None) -> Path:
    """Return the program: the one that is given, else the system's.

    Raises:
        CommandError: there is none.
    """
    if path is not None:
        if shutil.which(path.absolute()) is None:
            raise CommandError(f"--sendmail={printable_text(str(path))}: not a program")
        return path.absolute()
    found = shutil.which("sendmail", path=_FOLDERS)
    if found is None:
        raise CommandError(
            f"no sendmail in {_FOLDERS.replace(':', ', ')}; install Postfix or Exim, or name the"
            " program (--sendmail=PATH)"
        )
    return Path(found)


def send(message: EmailMessage, recipients: Sequence[str], sendmail: Path) -> None:
    """Send a letter.

    Raises:
        CommandError: sendmail has failed; the text has its words.
    """
    # No shell. The recipients are arguments: -t would take them from the letter.
    command = [str(sendmail), "-i", *recipients]
    try:
        done = subprocess.run(  # noqa: S603 - checked arguments, without a shell
            command,
            input=message.as_bytes(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=MAX_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandError(
            f"{sendmail}: no answer in {MAX_SECONDS} s; the letter may not have been sent"
        ) from None
    except OSError as error:
        raise CommandError(f"{sendmail}: {error.strerror}; the letter was not sent") from None
    if done.returncode != 0:
        words = excerpt(printable(b" ".join(done.stdout.split())), 300) or "no message"
        raise CommandError(
            f"{sendmail} ended with status {done.returncode}: {words}; the letter was not sent"
        )
