"""Reads one Berkeley DB file with ``db_dump``, and determines whether entries are missing.

``db_dump -p`` is unreliable on a damaged file: with a zeroed or truncated page it may exit with
status 0 after some or none of the entries, be killed by a signal, or run for ever. So
``db_verify`` checks the file first. Only a file without errors is dumped; a damaged one is salvaged
with ``db_dump -r``, which reads page by page. The number of entries read is then compared with that
of ``db_stat``.
"""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
from typing import TYPE_CHECKING

from greyd.cli.importing.items import UnreadableItem
from greyd.cli.importing.postgrey.dump import read_dump
from greyd.cli.importing.postgrey.programs import first_words, program_environment, run_program
from greyd.plurals import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from greyd.cli.importing.postgrey.dump import KeyValue
    from greyd.cli.importing.postgrey.programs import BerkeleyDbPrograms

_MAX_MESSAGE_BYTES = 100_000
_PATH_IN_MESSAGE = re.compile(r"\S*/(?=[^/\s]+: )")


class BerkeleyDbFile:
    """A Berkeley DB file that no other program uses."""

    def __init__(self, path: Path, programs: BerkeleyDbPrograms) -> None:
        self._path = path
        self._programs = programs
        self._damage = self._verify()
        self.entry_count = self._count_entries()
        """The number of entries that the file should have; None if unknown."""

    def read_pairs(self, problems: list[str]) -> Iterator[KeyValue | UnreadableItem]:
        """Yield the keys and values; then add to ``problems`` why some may be missing."""
        if self._path.stat().st_size == 0:
            problems.append(f"{self._path.name}: the file is empty: no entry was read from it")
            return
        flags = "-rp" if self._damage else "-p"
        read_count = 0
        with (
            tempfile.TemporaryFile(dir=self._path.parent) as stderr,
            subprocess.Popen(  # noqa: S603 - no shell, and no argument from a stranger
                [self._programs.dump, flags, self._path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=program_environment(),
            ) as program,
        ):
            try:
                for item in read_dump(program.stdout, may_be_empty=True) if program.stdout else ():
                    read_count += not isinstance(item, UnreadableItem)
                    yield item
                program.wait()
            finally:
                # If the caller stops early, the program would block on the full pipe.
                program.kill()
            stderr.seek(0)
            message = stderr.read(_MAX_MESSAGE_BYTES).decode(errors="replace")
        if problem := self._problem(read_count, program.returncode, message):
            problems.append(problem)

    def _verify(self) -> str:
        """Return the first words of ``db_verify`` on a damaged file; empty for a sound one."""
        if self._path.stat().st_size == 0:
            return ""
        done = run_program([self._programs.verify, "-q", self._path])
        if not done.returncode:
            return ""
        return self._quote(done.stderr) or f"exit status {done.returncode}"

    def _count_entries(self) -> int | None:
        # In a damaged file only the header is read, which contains an earlier number or 0.
        done = run_program([self._programs.stat, "-fd" if self._damage else "-d", self._path])
        number = re.search(r"^([0-9]+)\s+Number of data items", done.stdout, re.MULTILINE)
        if number is None or (self._damage and number[1] == "0"):
            return None
        return int(number[1])

    def _problem(self, read_count: int, status: int, message: str) -> str:
        """Return why entries may be missing; empty if none are."""
        name = self._path.name
        if self._damage:
            return (
                f"{name} is damaged: {self._programs.verify.name} says: {self._damage};"
                f" {self._programs.dump.name} -r salvaged {read_count:,} entries, and"
                f" {self._format_loss(read_count)}; to get more, including deleted entries, try"
                f" {self._programs.dump.name} -Rp {name} | greyd import -"
            )
        said = self._quote(message)
        if status:
            said = said or _format_status(status)
            entries = counted(read_count, "entry", "entries")
            return f"{name}: {self._programs.dump.name} failed after {entries}: {said}"
        if self.entry_count is not None and read_count < self.entry_count:
            return (
                f"{name}: {self._programs.dump.name} wrote only {read_count:,} of"
                f" {self.entry_count:,} entries{said and f': {said}'}"
            )
        return f"{name}: {self._programs.dump.name} says: {said}" if said else ""

    def _format_loss(self, read_count: int) -> str:
        if self.entry_count is None:
            return "it is unknown how many are lost"
        lost_count = self.entry_count - read_count
        if lost_count <= 0:
            return "some may still be lost"
        return f"about {lost_count:,} of {self.entry_count:,} are lost"

    def _quote(self, message: str) -> str:
        """Return the first words of a program's messages without the copy's folder."""
        return first_words(_PATH_IN_MESSAGE.sub("", message))


def _format_status(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
