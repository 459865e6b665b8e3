"""Runs other programs without a shell, with limits on their time and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
from dataclasses import dataclass

from greyd.doctor.errors import DoctorError

TIMEOUT_SECONDS = 10.0
MAX_OUTPUT_BYTES = 1024 * 1024

_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"


class ProgramError(DoctorError):
    """A program is missing, hangs or fails; the text names it."""


class FailedProgramError(ProgramError):
    """A program ended with an exit status other than 0."""

    def __init__(self, name: str, status: int, output: str) -> None:
        self.lines = without_program_name(name, output)
        """What the program printed, without its name."""
        reason = next((line for line in reversed(self.lines) if line), f"status {status}")
        super().__init__(f"{name}: {reason}")


@dataclass(frozen=True, slots=True)
class Output:
    """The standard output and standard error of a program."""

    stdout: str
    stderr: str


def without_program_name(name: str, output: str) -> list[str]:
    """Return the lines of a program's messages without the leading name or path of the program."""
    prefix = re.compile(rf"^(\S*/)?{re.escape(name)}: ")
    return [prefix.sub("", line).strip() for line in output.splitlines()]


def path_of(name: str) -> str | None:
    """Return the path of a program; search root's folders too, such as ``/usr/sbin``."""
    return shutil.which(name, path=_search_path())


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:{_SYSTEM_FOLDERS}"


async def run_program(name: str, *words: str, seconds: float = TIMEOUT_SECONDS) -> Output:
    """Run a program, wait until it ends, and return its output.

    Raises:
        FailedProgramError: the program fails.
        ProgramError: it is missing, takes longer than ``seconds``, or writes more than
            ``MAX_OUTPUT_BYTES``.
    """
    path = path_of(name)
    if path is None:
        raise ProgramError(f"{name} is not installed here")
    environment = {"PATH": _search_path(), "LC_ALL": "C"}
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except OSError as fault:
        raise ProgramError(f"{name}: {fault.strerror}") from None
    try:
        async with asyncio.timeout(seconds):
            stdout, stderr = await asyncio.gather(
                _read_all(process.stdout), _read_all(process.stderr)
            )
            status = await process.wait()
    except TimeoutError:
        raise ProgramError(f"{name}: no answer within {seconds:g} s") from None
    except OverflowError:
        raise ProgramError(f"{name}: more than {MAX_OUTPUT_BYTES >> 20} MiB of output") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # A grandchild may hold the pipes open; asyncio has no public API to close our end.
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001
        await process.wait()
    if status:
        raise FailedProgramError(name, status, stderr or stdout)
    return Output(stdout, stderr)


async def _read_all(stream: asyncio.StreamReader | None) -> str:
    pieces, size = [], 0
    while stream is not None and (piece := await stream.read(65536)):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_OUTPUT_BYTES:
            raise OverflowError
    return b"".join(pieces).decode(errors="replace")
