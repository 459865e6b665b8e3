"""A server process seen from outside: how it is started, what /proc and systemd know of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.processes import PolicyClient, encode, greyd, request, unavailable, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.processes import Running

CHECKOUT = Path(__file__).parents[2]
SERVE = [sys.executable, "-m", "greyd", "serve"]
QUIET = [
    "--metrics=0", "--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null",
    "--store-timeout=5",
]  # fmt: skip
"""No metrics port, nobody whitelisted, and time for a disk that is busy with other tests."""

SOON_SECONDS = 30.0
"""What is promised within 1 or 2 s; the rest is for a machine that is busy with other things."""


# Starting ---------------------------------------------------------------------------------------


@dataclass
class Ended:
    """A command that has ended."""

    status: int
    errors: str
    output: str


def run_to_the_end(
    command: Sequence[str], environment: Mapping[str, str] | None = None, seconds: float = 15.0
) -> Ended:
    """Run a command that is to end by itself.

    What it writes is read until nobody can write there any more, as a terminal or an ssh does.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=CHECKOUT,
        env={**os.environ, **(environment or {})},
        text=True,
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        still = process.poll() is None
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SOON_SECONDS)
        process.kill()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        process.wait()
        pytest.fail("it did not end" if still else "it has ended, but somebody holds its output")
    return Ended(process.returncode, errors, output)


def serve(*options: str, environment: Mapping[str, str] | None = None) -> Ended:
    """Run ``greyd serve`` that is to end by itself: it goes to the background, or fails."""
    return run_to_the_end([*SERVE, *options], environment)


@contextlib.contextmanager
def ready(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Running]:
    """Run greyd, and wait until it says that it listens.

    Its port takes connections a moment before that, when signals would still end it at once.
    """
    with greyd(folder, *options, environment=environment, port=port) as server:
        has_said(server, "listens on")
        yield server


@contextlib.contextmanager
def nothing_left_of(folder: Path) -> Iterator[None]:
    """End, at last, every process whose command line names the test's own folder."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in processes_of(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + SOON_SECONDS
            while processes_of(folder) and time.monotonic() < deadline:
                time.sleep(0.02)


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Yield a folder that everybody may enter, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="greyd-test-"))
    folder.chmod(0o755)
    with nothing_left_of(folder):
        yield folder
    shutil.rmtree(folder)


def only_as_root() -> None:
    """Skip the test where the tests do not run as root."""
    if os.geteuid() != 0:
        unavailable("only root can become somebody else")


# What /proc knows -------------------------------------------------------------------------------


def processes_of(folder: Path) -> list[int]:
    """Return the living processes whose command line names a folder."""
    needle = os.fsencode(folder)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if needle in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def status_of(pid: int) -> dict[str, str]:
    """Return what /proc/PID/status says; nothing where there is no such process."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {}


def lives(pid: int) -> bool:
    """Whether a process runs; one that nobody has fetched yet (a zombie) does not."""
    return status_of(pid).get("State", "Z")[0] not in "ZX"


def workers_of(pid: int) -> list[int]:
    """Return the living child processes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if lives(int(child))]


# Asking -----------------------------------------------------------------------------------------


def ask(port: int, host: str = "127.0.0.1", **attributes: str | bytes | None) -> str | None:
    """Ask one question over a connection of its own."""
    with PolicyClient(port, host) as client:
        return client.ask(request(**attributes))


def ask_unix(path: Path) -> bytes:
    """Ask one question over a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(encode(request()))
        return client.recv(4096)


@dataclass
class Asked:
    """One request of a load: who asked, when it had been sent in full, and what came back."""

    connection: int
    sent_at: float
    reply: bytes | None


@dataclass
class Load:
    """Fifty connections that ask all the while, each one thing after the other."""

    port: int
    connections: int = 50
    asked: list[Asked] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(self.connections)
        ]

    def __enter__(self) -> Self:
        return self.start()

    def start(self) -> Self:
        """Begin, and wait until each connection has been answered once."""
        for thread in self._threads:
            thread.start()
        wait_until(
            lambda: (
                self.troubles or len({each.connection for each in self.asked}) == len(self._threads)
            ),
            "an answer on each connection",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more, and wait for what is under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(20)

    def wait_for_answers(self, more: int) -> None:
        """Wait until so many more answers have come."""
        enough = len(self.asked) + more
        wait_until(
            lambda: len(self.asked) >= enough or not any(t.is_alive() for t in self._threads),
            f"{more} answers under load",
        )

    def unanswered(self, before: float) -> list[Asked]:
        """Return the requests sent in full before a moment and never answered."""
        return [each for each in self.asked if each.reply is None and each.sent_at < before]

    def answered(self, connection: int) -> int:
        """Return how many answers a connection has had; its recipients are numbered from 1."""
        return sum(each.connection == connection and bool(each.reply) for each in self.asked)

    def _ask(self, number: int) -> None:
        count = 0
        try:
            with PolicyClient(self.port) as client:
                while not self._over.is_set():
                    count += 1
                    question = request(recipient=f"user{count}@client{number}.example.org")
                    client.send(encode(question))
                    sent_at = time.monotonic()
                    reply = None
                    try:
                        reply = client.reply()
                    finally:
                        self.asked.append(Asked(number, sent_at, reply))
                    if reply is None:
                        self.troubles.append("closed")
                        return
        except OSError as error:
            self.troubles.append(f"{type(error).__name__}: {error}")


# What a process says ----------------------------------------------------------------------------


def get(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    """Return status and body of a page of the metrics port."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def has_said(server: Running, text: str, times: int = 1) -> None:
    """Wait until a server's log holds a text; the log is written a moment after the deed."""
    wait_until(lambda: server.log().count(text) >= times, f"{text!r} in the log")


class Datagrams:
    """A socket that collects datagrams: systemd's notify socket, or /dev/log."""

    def __init__(self, address: str | Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.settimeout(0.05)
        self.received: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take no more."""
        self._socket.close()

    def wait_for(self, text: str, times: int = 1) -> str:
        """Wait until a datagram with this text has come, and return the last such."""
        wait_until(lambda: len(self._holding(text)) >= times, f"a datagram with {text!r}")
        return self._holding(text)[-1]

    def _holding(self, text: str) -> list[str]:
        self.collect()
        return [each for each in self.received if text in each]

    def collect(self) -> list[str]:
        """Take what has come so far."""
        with contextlib.suppress(TimeoutError):
            while True:
                self.received.append(self._socket.recv(65536).decode())
        return self.received
