"""Reads the mail lines of the systemd journal by running journalctl."""

from __future__ import annotations

import io
import os
import select
import subprocess
import time
from typing import TYPE_CHECKING

from greyd.escaping import printable
from greyd.maillog.errors import MailLogError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

JOURNAL = "journal:"
"""The beginning of the journal's source name; the rest is the Unix time to start from."""

PROGRAMS = ("greyd", "postgrey")
"""The programs whose lines are read, in addition to all lines of the syslog facility ``mail``."""

MAX_SILENCE_SECONDS = 120.0
"""How long journalctl may search without output."""

MAX_PROBE_SECONDS = 20.0
"""How long the search for one entry may take."""

MAX_SECONDS = 1800.0
"""How long journalctl may run in all."""

_MAX_MESSAGE_BYTES = 2000

_JOURNALCTL = ("journalctl", "--quiet", "--no-pager")


def journal_source(since: float) -> str:
    """Return the source name for the journal from a Unix time on; 0 for all of it."""
    return f"{JOURNAL}{max(int(since), 0)}"


def has_entries(fields: Sequence[str]) -> bool:
    """Whether the journal has an entry with one of the given fields, e.g. ``SYSLOG_FACILITY=2``."""
    either = [word for each in fields for word in ("+", each)][1:]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, without a shell
            [*_JOURNALCTL, "--lines=1", "--output=cat", *either],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MAX_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


def command(since: float, programs: Sequence[str] = PROGRAMS) -> list[str]:
    """Return the command that prints the mail lines of the journal.

    Postfix and postgrey log to the facility ``mail`` (2), greyd to standard error.
    """
    fields = ["SYSLOG_FACILITY=2"]
    for each in programs:
        fields += ["+", f"SYSLOG_IDENTIFIER={each}"]
    start = [f"--since=@{since:.0f}"] if since else []
    return [*_JOURNALCTL, "--output=export", *start, *fields]


def decision_command(*options: str) -> list[str]:
    """Return the command that prints the lines of ``PROGRAMS`` only, with journalctl's options."""
    fields = [word for each in PROGRAMS for word in ("+", f"SYSLOG_IDENTIFIER={each}")][1:]
    return [*_JOURNALCTL, "--output=export", *options, *fields]


def open_journal(source: str) -> io.RawIOBase:
    """Return the output of journalctl for the name of a source.

    Raises:
        MailLogError: journalctl cannot be started.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - fixed arguments, without a shell
            command(float(source.removeprefix(JOURNAL) or 0)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise MailLogError(f"journalctl: {error.strerror}") from None
    return _Output(process)


class _Output(io.RawIOBase):
    """The output of journalctl; closing it, or a timeout, ends the program."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._ends_at = time.monotonic() + MAX_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        if (output := self._process.stdout) is None:
            return 0
        left = max(min(MAX_SILENCE_SECONDS, self._ends_at - time.monotonic()), 0.0)
        if not select.select([output], [], [], left)[0]:
            raise OSError(f"journalctl printed nothing for {left:.0f} seconds")
        view = memoryview(buffer)
        data = os.read(output.fileno(), len(view))
        view[: len(data)] = data
        if not data and (status := self._process.wait()):
            raise OSError(f"journalctl: {self._error() or f'exit status {status}'}")
        return len(data)

    def _error(self) -> str:
        errors = self._process.stderr
        text = errors.read(_MAX_MESSAGE_BYTES).strip() if errors else b""
        return printable(text.splitlines()[0]) if text else ""

    def close(self) -> None:
        if not self.closed:
            self._process.kill()
            self._process.wait()
            for each in (self._process.stdout, self._process.stderr):
                if each is not None:
                    each.close()
        super().close()
