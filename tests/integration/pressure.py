"""What tests of faults and the soak share: load from many connections, and a look into /proc.

``Load`` asks all the time from a thread of its own and remembers how long each answer took, so a
test can do harm meanwhile and then say what others saw of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.processes import encode, request, slowness

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20
PATIENCE_SECONDS = 10.0
"""After so long without its answer a request has failed; Postfix waits 100 s."""


def resident_bytes(process: int) -> int:
    """Return a process's resident memory, exactly: statm lags behind on machines of many cores."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Rss")


def open_files(process: int) -> int:
    """Return how many file descriptors a process has open."""
    return len(os.listdir(f"/proc/{process}/fd"))  # noqa: PTH208 - a count of names


def open_sockets(process: int) -> int:
    """Return how many sockets a process has open."""
    number = 0
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            number += str(descriptor.readlink()).startswith("socket:")
    return number


def cpu_seconds(process: int) -> float:
    """Return the CPU time that a process has used since its start."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_share(process: int, seconds: float) -> float:
    """Return how much of one core a process uses during the next ``seconds``."""
    before, started = cpu_seconds(process), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(process) - before) / (time.monotonic() - started)


def allow_files(number: int) -> None:
    """Let this process open so many files; skips the test where the machine forbids it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number and hard != resource.RLIM_INFINITY and hard < number:
        pytest.skip(f"only {hard} open files are allowed (ulimit -Hn), {number} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number), hard))


def figures(text: str) -> None:
    """Show what was measured, for ``pytest -rP``."""
    print(text)  # noqa: T201 - that is what pytest captures


def percentile(values: list[float], share: float) -> float:
    """Return the value that ``share`` of the values don't exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def question(connection: int, number: int) -> bytes:
    """Return a request that the server has seen before, the same each time for a connection."""
    del number
    return encode(
        request(client_address=f"198.51.100.{connection % 250}", sender="known@example.com")
    )


class Load:
    """Connections that ask, wait for the answer, pause, and ask again until the end of ``with``.

    Attributes:
        waits: for each answer the seconds that it took, in the order of arrival.
        failures: what went wrong; empty if every request was answered on its own connection.
    """

    def __init__(
        self,
        port: int,
        connections: int = 1,
        pause_seconds: float = 0.01,
        questions: Callable[[int, int], bytes] = question,
    ) -> None:
        self.waits: list[float] = []
        self.failures: list[str] = []
        self._port = port
        self._connections = connections
        self._pause_seconds = pause_seconds
        self._questions = questions
        self._ending = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        self._await_answers()
        self.waits.clear()
        return self

    def _await_answers(self) -> None:
        """Wait for as many answers as there are connections, or a failure."""
        deadline = time.monotonic() + PATIENCE_SECONDS * slowness()
        while len(self.waits) < self._connections and not self.failures:
            if time.monotonic() > deadline:
                self.failures.append("no answers come")
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        # What was quick must be followed by answers, too, before it can be judged.
        self._await_answers()
        self._ending = True
        self._thread.join()

    @property
    def longest_wait(self) -> float:
        """Seconds of the slowest answer."""
        assert self.waits, f"no answer at all: {self.failures}"
        return max(self.waits)

    async def _run(self) -> None:
        await asyncio.gather(*(self._ask_all(number) for number in range(self._connections)))

    async def _ask_all(self, connection: int) -> None:
        number = 0
        patience = PATIENCE_SECONDS * slowness()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            while not self._ending:
                question_ = self._questions(connection, number)
                number += 1
                started = time.monotonic()
                writer.write(question_)
                reply = await asyncio.wait_for(reader.readuntil(b"\n\n"), patience)
                self.waits.append(time.monotonic() - started)
                if not reply.startswith(b"action="):
                    self.failures.append(f"connection {connection}: {reply!r}")
                await asyncio.sleep(self._pause_seconds)
            writer.close()
            await writer.wait_closed()
        except (OSError, EOFError, TimeoutError) as error:
            self.failures.append(f"connection {connection}: request {number}: {error!r}")
