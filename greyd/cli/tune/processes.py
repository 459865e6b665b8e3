"""Simulates a part of a grid in a process of its own, which gets the attempts through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import marshal
import os
import signal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from greyd.cli.errors import CommandError
from greyd.cli.replay.summary import ReplaySummary
from greyd.cli.tune.outcome import Outcome
from greyd.cli.tune.parts import GridPart, PartReplay, PartResult
from greyd.errors import describe_error
from greyd.maillog.attempts import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PROCESSES = 4
"""Each process has the senders' mail in memory."""

_PIPE_BYTES = 1 << 20
"""So much of the log waits for a process that is slower than the others."""

_F_SETPIPE_SZ = 1031
_SIZE_BYTES = 8
_values_of = attrgetter(*(each.name for each in dataclasses.fields(Attempt)))
_FIGURES = [each.name for each in dataclasses.fields(Outcome) if each.name != "point"]


def process_count() -> int:
    """Return how many processes can run at the same time on this machine."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    return min(count, MAX_PROCESSES)


class PartProcess:
    """A process that replays a log on the servers of a part.

    It ends when this process does, because then its pipe is closed.
    """

    def __init__(self, part: GridPart, warm_up_seconds: int) -> None:
        """Start the process, which inherits the settings and the whitelists."""
        self._part = part
        self._result: dict[str, Any] | None = None
        attempts_read, attempts_written = os.pipe()
        result_read, result_written = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(attempts_written)
            os.close(result_read)
            _run(part, warm_up_seconds, attempts_read, result_written)
        os.close(attempts_read)
        os.close(result_written)
        _enlarge(attempts_written)
        self._attempts = os.fdopen(attempts_written, "wb")
        self._results = os.fdopen(result_read, "rb")

    async def add(self, batch: Sequence[Attempt]) -> None:
        """Replay attempts, after those that were added before.

        Raises:
            CommandError: the process has ended.
        """
        self._send([_values_of(each) for each in batch])

    def end(self) -> None:
        """End the log.

        Raises:
            CommandError: the process has ended.
        """
        self._send(None)

    async def result(self) -> PartResult:
        """Wait for the result, after ``end``.

        Raises:
            CommandError: the process has ended without one.
        """
        loop = asyncio.get_running_loop()
        is_ready = asyncio.Event()
        loop.add_reader(self._results, is_ready.set)
        try:
            await is_ready.wait()
        finally:
            loop.remove_reader(self._results)
        found = self._read_result()
        outcomes = [
            Outcome(point=point, **figures)
            for point, figures in zip(self._part.points, found["outcomes"], strict=True)
        ]
        return PartResult(ReplaySummary(**found["summary"]), outcomes)

    def _send(self, value: Any) -> None:
        try:
            _write(self._attempts, value)
        except BrokenPipeError:
            self._read_result()
            raise

    def _read_result(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = _read(self._results)
        except EOFError:
            raise CommandError(
                "a process of the simulation was ended, maybe for lack of memory; give fewer values"
            ) from None
        if error := found.get("error"):
            raise RuntimeError(error)
        return found

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        for each in (self._attempts, self._results):
            with contextlib.suppress(BrokenPipeError):
                each.close()


def _run(part: GridPart, warm_up_seconds: int, source: int, target: int) -> NoReturn:
    """Replay the attempts that come through a pipe, write the result to another one, and exit."""
    status = 1
    try:
        # Ctrl-C is for the process that started this one, and then ends it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        # The simulation makes no reference cycles, and a collection of millions is slow.
        gc.disable()
        with os.fdopen(source, "rb") as attempts, os.fdopen(target, "wb") as results:
            _write(results, _simulate(part, warm_up_seconds, attempts))
        status = 0
    except (EOFError, BrokenPipeError):
        # The process that started this one has ended.
        pass
    finally:
        os._exit(status)


def _simulate(part: GridPart, warm_up_seconds: int, attempts: BinaryIO) -> dict[str, Any]:
    try:
        replay = PartReplay(part, warm_up_seconds, None)
        while (batch := _read(attempts)) is not None:
            replay.replay([Attempt(*values) for values in batch])
        replay.end()
        result = replay.result_now()
    except EOFError:
        raise
    except Exception as error:  # noqa: BLE001 - the other process reports it
        return {"error": describe_error(error)}
    return {
        "summary": dataclasses.asdict(result.summary),
        "outcomes": [{name: getattr(each, name) for name in _FIGURES} for each in result.outcomes],
    }


def _enlarge(pipe: int) -> None:
    """Make a pipe hold more, where the system can: Linux, up to a limit that root may set."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)


def _write(file: BinaryIO, value: Any) -> None:
    data = marshal.dumps(value)
    file.write(len(data).to_bytes(_SIZE_BYTES, "big") + data)
    file.flush()


def _read(file: BinaryIO) -> Any:
    """Return the next value; only this program's own processes write such values.

    Raises:
        EOFError: the other process has ended.
    """
    size = int.from_bytes(file.read(_SIZE_BYTES), "big")
    data = file.read(size)
    if not size or len(data) < size:
        raise EOFError
    return marshal.loads(data)  # noqa: S302 - written by this program's own processes
