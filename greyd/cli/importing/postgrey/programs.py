"""Finds and runs Berkeley DB's own programs."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from greyd.cli.errors import CommandError
from greyd.escaping import printable

_TIMEOUT_SECONDS = 1800
_MAX_MESSAGE_BYTES = 1000
_DUMP_PROGRAM = re.compile(r"db([0-9.]*)_dump(-[0-9.]+)?")
_USUAL_FOLDERS = ("/usr/bin", "/usr/local/bin")


@dataclass(frozen=True, slots=True)
class BerkeleyDbPrograms:
    """The paths of Berkeley DB's programs, all of one version."""

    recover: Path
    dump: Path
    stat: Path
    verify: Path

    @classmethod
    def find(cls) -> BerkeleyDbPrograms:
        """Return the programs of version 5.3, which Debian's Perl uses, or of the newest version.

        Raises:
            CommandError: no complete set of programs is installed.
        """
        found = []
        for folder in dict.fromkeys([*os.get_exec_path(), *_USUAL_FOLDERS]):
            with contextlib.suppress(OSError):
                found += [
                    path for path in Path(folder).iterdir() if _DUMP_PROGRAM.fullmatch(path.name)
                ]
        for dump in sorted(found, key=_version_preference, reverse=True):
            programs = cls(
                recover=_neighbour(dump, "recover"),
                dump=dump,
                stat=_neighbour(dump, "stat"),
                verify=_neighbour(dump, "verify"),
            )
            if programs.recover.exists() and programs.verify.exists():
                return programs
        raise CommandError(
            "db5.3_dump, db5.3_recover and db5.3_verify are needed to read postgrey's database: on"
            " Debian and Ubuntu apt install db5.3-util, on Fedora dnf install libdb-utils"
        )


def _neighbour(dump: Path, name: str) -> Path:
    return dump.with_name(dump.name.replace("_dump", f"_{name}"))


def _version_preference(path: Path) -> tuple[bool, list[int]]:
    numbers = [int(number) for number in re.findall(r"[0-9]+", path.name)]
    return numbers == [5, 3], numbers


def run_program(command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a program until it exits; one that can't be run counts as failed."""
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no argument from a stranger
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            env=program_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def program_environment() -> dict[str, str]:
    """Return the environment for the programs: messages are in English."""
    return {**os.environ, "LC_ALL": "C"}


def first_words(message: str) -> str:
    """Return the first line of a program's messages in printable form, and how many follow."""
    lines = [line for line in message.splitlines() if line.strip()]
    if not lines:
        return ""
    text = printable(lines[0].strip().encode()[:_MAX_MESSAGE_BYTES])
    return f"{text} (and {len(lines) - 1:,} more)" if len(lines) > 1 else text
