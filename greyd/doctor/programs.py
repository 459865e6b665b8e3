"""Other programs, asked without a shell; their time and what they say are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from typing import NamedTuple

from greyd.doctor.errors import DoctorError

TIMEOUT_SECONDS = 10.0
MAX_OUTPUT_BYTES = 1024 * 1024

_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


class ProgramError(DoctorError):
    """A program is missing, hangs, or fails; the text says which."""


class Output(NamedTuple):
    """What a program has said."""

    stdout: str
    stderr: str
    """On standard error."""


def path_of(name: str) -> str | None:
    """Return the path of a program, also of those that only root has in PATH."""
    return shutil.which(name, path=_PATH)


async def run_program(name: str, *words: str, seconds: float = TIMEOUT_SECONDS) -> Output:
    """Run a program to its end.

    Raises:
        ProgramError: it is missing, takes too long, says too much, or fails.
    """
    path = path_of(name)
    if path is None:
        raise ProgramError(f"{name} is not installed here")
    environment = {"PATH": _PATH, "LC_ALL": "C"}
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
            output, remarks = await asyncio.gather(
                _read_all(process.stdout), _read_all(process.stderr)
            )
            status = await process.wait()
    except TimeoutError:
        raise ProgramError(f"{name}: no answer within {seconds:g} s") from None
    except OverflowError:
        raise ProgramError(f"{name}: says more than {MAX_OUTPUT_BYTES >> 20} MiB") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # Else its pipes stay open as long as anybody has the other ends: there is no public way.
        process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001
        await process.wait()
    if status:
        reason = (remarks or output).strip().splitlines() or [f"status {status}"]
        raise ProgramError(f"{name}: {reason[-1]}")
    return Output(output, remarks)


async def _read_all(stream: asyncio.StreamReader | None) -> str:
    pieces, length = [], 0
    while stream is not None and (piece := await stream.read(65536)):
        pieces.append(piece)
        length += len(piece)
        if length > MAX_OUTPUT_BYTES:
            raise OverflowError
    return b"".join(pieces).decode(errors="replace")
