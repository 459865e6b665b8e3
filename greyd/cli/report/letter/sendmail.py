"""Hands a letter to the mail system, by the interface of sendmail(8)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.cli.errors import CommandError
from greyd.escaping import printable, printable_text
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import EmailMessage
    from typing import IO

MAX_SECONDS = 60
"""How long sendmail may take; it only puts the letter into the queue."""

_MAX_OUTPUT_BYTES = 4096
_LAST_WORDS_SECONDS = 2
"""How long to wait for the end of its output after it has ended."""

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
        CommandError: sendmail failed; the text quotes its message.
    """
    # No shell. The recipients are arguments: -t would take them from the letter.
    command = [str(sendmail), "-i", *recipients]
    try:
        status, output = _run(command, message.as_bytes())
    except subprocess.TimeoutExpired:
        raise CommandError(
            f"{sendmail}: no answer in {MAX_SECONDS} s; the letter may not have been sent"
        ) from None
    except OSError as error:
        raise CommandError(f"{sendmail}: {error.strerror}; the letter was not sent") from None
    if status != 0:
        words = excerpt(printable(b" ".join(output.split())), 300) or "no message"
        raise CommandError(
            f"{sendmail} ended with status {status}: {words}; the letter was not sent"
        )


def _run(command: Sequence[str], letter: bytes) -> tuple[int, bytes]:
    """Run a program with the letter as input; return its status and the beginning of its output.

    Raises:
        OSError: it can't be run.
        subprocess.TimeoutExpired: it takes too long, and was ended.
    """
    with tempfile.TemporaryFile() as file:
        # From a file, so that a program that does not read it can't block this one.
        file.write(letter)
        file.seek(0)
        process = subprocess.Popen(  # noqa: S603 - checked arguments, without a shell
            command,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # If it takes too long, the programs that it has started end with it.
            start_new_session=True,
        )
    kept = bytearray()
    # A thread, so that neither endless output nor a child that keeps the pipe exceeds the time.
    reader = threading.Thread(target=_read_beginning, args=(process.stdout, kept), daemon=True)
    reader.start()
    try:
        status = process.wait(MAX_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    reader.join(_LAST_WORDS_SECONDS)
    return status, bytes(kept)


def _read_beginning(output: IO[bytes], kept: bytearray) -> None:
    """Read all output, so that the program can end, and keep the beginning."""
    with output:
        while piece := os.read(output.fileno(), 65536):
            kept += piece[: _MAX_OUTPUT_BYTES - len(kept)]
