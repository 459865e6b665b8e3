"""Start real programs for the tests, on loopback and in their own folders.

Each ``with`` block yields a running server and ends it. A program that the machine lacks skips
the test; with ``TESTS_REQUIRE_PROGRAMS=1`` (set by ``.ci/run``) it fails the test instead.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import pytest

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Mapping, Sequence

SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


HOOKS = Path(__file__).parent / "hooks"
"""Added to the ``PYTHONPATH`` of each greyd: records unhandled exceptions."""

MARKS_OF_FAULTS = ("internal error", "Traceback", "was never awaited", "never retrieved")
"""Log lines that show a bug in greyd, unless the test injects faults."""


def program(name: str) -> str:
    """Return the path of a program; if it is missing, skips the test, or fails it in CI."""
    path = shutil.which(name, path=SYSTEM_PATH)
    if path is None:
        unavailable(f"{name} is not installed")
    return path


def unavailable(reason: str) -> NoReturn:
    """Skip the test because a requirement is missing; in CI, fail it."""
    if os.environ.get("TESTS_REQUIRE_PROGRAMS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
_PORTS = list(range(10_500 + _WORKER, 20_500, 8))
_ports = itertools.cycle(random.sample(_PORTS, len(_PORTS)))
"""Below those that the kernel gives to clients, each test process has some of its own. A node of a
Redis Cluster listens 10,000 higher, too."""


def free_port(host: str = "127.0.0.1") -> int:
    """Return a free TCP port, which no other test process uses."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in itertools.islice(_ports, len(_PORTS)):
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    pytest.fail("no port is free")


def slowness() -> float:
    """Return the factor by which the machine's load lengthens timeouts.

    For such a one the tests' limits are made: several run at a time. Where others want the cores
    too, each gets less of them, and only what hangs is a fault.
    """
    return max(1.0, os.getloadavg()[0] / (2 * len(os.sched_getaffinity(0))))


def wait_until(true: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Poll until ``true()``; fail the test with ``what`` after ``seconds``, or more where slow."""
    seconds *= slowness()
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"gave up after {seconds:.0f} s: {what}")
        time.sleep(0.02)


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server accepts connections at this address."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


@dataclass
class Running:
    """A started program: its process, its port, and its output."""

    process: subprocess.Popen[bytes]
    port: int
    output: Path
    extra: dict[str, int | str | Path] = field(default_factory=dict)

    def log(self) -> str:
        """Return the program's output so far, standard output and error."""
        return self.output.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    def stop(self, seconds: float = 10.0) -> int:
        """Send SIGTERM, wait, and send SIGKILL if necessary; returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(10)


@contextlib.contextmanager
def running(
    command: list[str],
    folder: Path,
    port: int,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    *,
    may_end: bool = False,
) -> Iterator[Running]:
    """Start a program, wait for ``ready()`` (or its end, if allowed), and stop it at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / f"{Path(command[0]).name}-{port}.log"
    with output.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PATH": SYSTEM_PATH, **(environment or {})},
        )
    server = Running(process, port, output)
    try:
        deadline = time.monotonic() + 20 * slowness()
        while not ready():
            has_ended = process.poll() is not None
            if has_ended and may_end:
                break
            if has_ended or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{server.log()}")
            time.sleep(0.02)
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def redis_server(folder: Path, *options: str, port: int | None = None) -> Iterator[Running]:
    """Run a private redis-server without persistence unless the options say otherwise."""
    port = port or free_port()
    command = [
        program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
        "--save", "", *options,
    ]  # fmt: skip
    with running(command, folder, port, lambda: accepts(port)) as server:
        yield server


@contextlib.contextmanager
def postgrey(folder: Path, *options: str) -> Iterator[Running]:
    """Run Debian's postgrey on an empty database; whitelists are empty unless given."""
    port = free_port()
    database = folder / "postgrey-db"
    database.mkdir(parents=True, exist_ok=True)
    empty = folder / "empty"
    empty.touch()
    command = [
        program("postgrey"), f"--inet=127.0.0.1:{port}", f"--dbdir={database}",
        "--user=root", "--group=root", *options,
    ]  # fmt: skip
    command += [
        f"--whitelist-{kind}={empty}"
        for kind in ("clients", "recipients")
        if not any(option.startswith(f"--whitelist-{kind}") for option in options)
    ]
    with running(command, folder, port, lambda: accepts(port)) as server:
        yield server


def open_to_other_users(folder: Path) -> None:
    """Let other users enter a folder and its parents in the folder for temporary files."""
    for each in (folder, *folder.parents):
        if each.stat().st_uid == os.getuid() and each.is_relative_to(tempfile.gettempdir()):
            each.chmod(each.stat().st_mode | 0o755)


@contextlib.contextmanager
def greyd(
    folder: Path,
    *options: str,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    prefix: Sequence[str] = (),
    module: str = "greyd",
) -> Iterator[Running]:
    """Run ``greyd serve`` of this checkout; SQLite in ``folder`` unless the options name a store.

    It runs in asyncio's debug mode, where work in the wrong thread fails, and a fault of its own
    fails the test. ``module`` is what Python runs: greyd, or what wraps it.
    ``prefix`` is a program that starts greyd, with its options: ``unshare --mount``.
    Whitelists are empty and metrics are off unless the options say otherwise.
    """
    port = port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "empty"
    empty.touch()
    serve = [sys.executable, "-m", module, "serve", f"--inet=127.0.0.1:{port}", *options]
    command = [*prefix, *serve]
    defaults = {
        # On a busy machine a store may well take longer than the 0.3 s that mail waits for it.
        "--dbdir": str(folder), "--metrics": "0", "--store-timeout": "5",
        "--whitelist-clients": str(empty), "--whitelist-recipients": str(empty),
    }  # fmt: skip
    for name, value in defaults.items():
        if not any(option.split("=")[0] == name for option in options):
            command.append(f"{name}={value}")
    unhandled = folder / f"unhandled-{port}"
    debugging = {
        "PYTHONASYNCIODEBUG": "1", "PYTHONPATH": str(HOOKS),
        "TESTS_UNHANDLED": str(unhandled), **(environment or {}),
    }  # fmt: skip
    is_faulty = module != "greyd"
    with running(
        command, folder, port, lambda: accepts(port), debugging, may_end=is_faulty
    ) as server:
        yield server
    marks = [mark for mark in MARKS_OF_FAULTS if mark in server.log()]
    if marks and not is_faulty:
        pytest.fail(f"{marks} in the log of greyd:\n{server.log()}")
    if unhandled.exists():
        pytest.fail(f"greyd has left an exception unhandled:\n{unhandled.read_text()}")


class PolicyClient:
    """A connection to a policy server, used as Postfix's smtpd does: send, then wait."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout: float = 10.0) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout * slowness())
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, raw: bytes) -> None:
        """Send bytes unchanged."""
        self.socket.sendall(raw)

    def reply(self) -> bytes | None:
        """Return the next reply without its empty line; None if the server closed."""
        while b"\n\n" not in self._received:
            data = self.socket.recv(65536)
            if not data:
                return None
            self._received += data
        reply, self._received = self._received.split(b"\n\n", 1)
        return reply

    def ask(self, attributes: Mapping[str, str | bytes]) -> str | None:
        """Send one request and return its reply, ``action=…``; None if the server closed."""
        self.send(encode(attributes))
        reply = self.reply()
        return None if reply is None else reply.decode(errors="surrogateescape")


def encode(attributes: Mapping[str, str | bytes]) -> bytes:
    """Encode a request as Postfix does, in the given order."""
    lines = [
        name.encode() + b"=" + (value if isinstance(value, bytes) else value.encode())
        for name, value in attributes.items()
    ]
    return b"\n".join(lines) + b"\n\n"


def request(**attributes: str | bytes | None) -> dict[str, str | bytes]:
    """Return a request with the usual attributes; None removes one."""
    default: dict[str, str | bytes | None] = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "protocol_name": "ESMTP",
        "helo_name": "mail.example.com",
        "queue_id": "",
        "sender": "alice@example.com",
        "recipient": "bob@example.org",
        "recipient_count": "0",
        "client_address": "192.0.2.7",
        "client_name": "mail.example.com",
        "reverse_client_name": "mail.example.com",
        "instance": "",
        "sasl_username": "",
        "etrn_domain": "",
    }
    return {name: value for name, value in {**default, **attributes}.items() if value is not None}
