"""Follows the decisions in the systemd journal by running journalctl."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

from greyd.escaping import printable
from greyd.maillog.errors import MailLogError
from greyd.maillog.sources.journal import decision_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_PAST_ENTRIES = 5000
"""How many entries of the journal are searched for past decisions."""

_MAX_PAST_SECONDS = 60.0
_MAX_MESSAGE_BYTES = 2000
_READ_BYTES = 1 << 16
_CURSOR = re.compile(rb"^__CURSOR=([!-~]{1,500})$", re.MULTILINE)


class FollowedJournal:
    """The lines of greyd and postgrey in the journal, first the past, then the new ones."""

    def __init__(self) -> None:
        self.is_past_cut = False
        """Whether ``past`` has left out the beginning of the journal."""
        self._cursor = ""
        self._started_at = time.time()

    def past(self) -> bytes:
        """Return the last ``MAX_PAST_ENTRIES`` entries, in the journal's export format.

        Raises:
            MailLogError: journalctl fails.
        """
        words = decision_command(f"--lines={MAX_PAST_ENTRIES}")
        try:
            done = subprocess.run(  # noqa: S603 - fixed arguments, without a shell
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_MAX_PAST_SECONDS,
                check=False,
            )
        except OSError as error:
            raise MailLogError(f"journalctl: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise MailLogError(f"journalctl: no end after {_MAX_PAST_SECONDS:.0f} s") from None
        if done.returncode:
            raise MailLogError(f"journalctl: {_first_line(done.stderr) or done.returncode}")
        if cursors := _CURSOR.findall(done.stdout):
            self._cursor = cursors[-1].decode()
            self.is_past_cut = len(cursors) >= MAX_PAST_ENTRIES
        return done.stdout

    def pieces(self) -> Iterator[bytes]:
        """Yield what follows the past, as it is written.

        Raises:
            MailLogError: journalctl ends or can't be started.
        """
        start = f"--after-cursor={self._cursor}"
        if not self._cursor:
            start = f"--since=@{self._started_at:.0f}"
        yield from _output_of(decision_command("--follow", "--no-tail", start))


def _output_of(words: Sequence[str]) -> Iterator[bytes]:
    try:
        process = subprocess.Popen(  # noqa: S603 - fixed arguments, without a shell
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C ends this command, which ends journalctl.
            start_new_session=True,
        )
    except OSError as error:
        raise MailLogError(f"journalctl: {error.strerror}") from None
    assert process.stdout is not None  # noqa: S101 - both are pipes
    assert process.stderr is not None  # noqa: S101
    try:
        while piece := os.read(process.stdout.fileno(), _READ_BYTES):
            yield piece
        reason = _first_line(process.stderr.read(_MAX_MESSAGE_BYTES)) or process.wait()
        raise MailLogError(f"journalctl has ended: {reason}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def _first_line(text: bytes) -> str:
    lines = text[:_MAX_MESSAGE_BYTES].strip().splitlines()
    return printable(lines[0]) if lines else ""
