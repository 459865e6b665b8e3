"""Runs a server through a week of generated mail, and leaves it running at the end of the week."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.config.settings import Settings
from greyd.config.vocabulary import Endpoint
from greyd.monitoring.activity.history_key import old_history_key
from greyd.monitoring.activity.stored_week import KEPT_SECONDS
from greyd.monitoring.activity.week import SLOT_SECONDS, ActivitySlot, dump_slots
from greyd.rules.reasons import OUTCOMES, Category
from greyd.rules.transaction import Change
from greyd.store.opening import open_store
from tools.pictures.mail import BOT_NAME, Attempt, Mail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HOST = "mx1.example.org"
END = 1_795_773_600
"""The end of the week: Friday, 27 November 2026, 10:00 UTC."""

WEEK_SECONDS = 7 * 86400
LIVE_SECONDS = 64 * 60
"""The end of the week, which the server runs through live; for the rest, requests carry the
time."""

AFTERWARDS_SECONDS = 3 * 3600
"""How long mail comes after the week: longer than it takes to make the pictures."""

SPEED = 60
"""How many times faster than real time the server's clock runs."""

_REPLY = re.compile(rb"action=(?P<action>[^\n]*)\n\n")
_DECISION = re.compile(rb"action=(\w+), reason=([^,(\n]+)")
_DELAYED = re.compile(rb"delayed (\d+) seconds")


class PictureError(Exception):
    """The pictures cannot be made; the text says why, and what to do."""


def program(*names: str) -> str:
    """Return the path of a program.

    Raises:
        PictureError: none of the names is installed.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    raise PictureError(f"{names[0]} is not installed: apt install {names[0]}")


@dataclass
class Run:
    """A running server, and how to run commands at its time."""

    folder: Path
    log: Path
    """The server's decisions as a mail log."""
    metrics: int
    policy: int
    started_at: float = 0
    """When the live part began, on the monotonic clock of this process."""
    greylisted: Attempt | None = None
    """The last mail of a site that the live server has greylisted."""

    @property
    def now(self) -> float:
        """The time at which the server is, in seconds since 1970."""
        return END - LIVE_SECONDS + (time.monotonic() - self.started_at) * SPEED

    def command(self, *words: str, seconds: float = 1) -> list[str]:
        """Return the command line of greyd at the time that the server has in some seconds.

        The command's clock runs at the usual speed, because its time limits would otherwise be too
        short; it starts ahead, so that it has the server's time when it prints its result.
        """
        return [*_at(self.now + seconds * SPEED, 1), sys.executable, "-m", "greyd", *words]

    def environment(self) -> dict[str, str]:
        """Return the environment of commands, without this machine's settings."""
        others = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GREYD_", "POSTGREY_"))
        }
        return {**others, "GREYD_RUN_DIR": str(self.folder), "TZ": "UTC", "LANG": "C.UTF-8"}


def _at(when: float, speed: int) -> list[str]:
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(when))
    return [program("faketime"), "-f", f"@{shown} x{speed}"]


@contextlib.contextmanager
def lived_through(folder: Path) -> Iterator[Run]:
    """Run a server through the week; it keeps running until the end of the context."""
    run = Run(folder, folder / "mail.log", _free_port(), _free_port())
    mail = Mail(END - WEEK_SECONDS, WEEK_SECONDS + AFTERWARDS_SECONDS)
    with _server(run, END - LIVE_SECONDS, 1, "--test-time"), _connection(run) as policy:
        told = _ask_all(mail, policy, WEEK_SECONDS - LIVE_SECONDS)
    decisions = (folder / "greyd.log").read_bytes()
    _write_log(run, told, decisions)
    _store_history(run, told, decisions)
    run.started_at = time.monotonic()
    with _server(run, END - LIVE_SECONDS, SPEED), _connection(run) as policy:
        ended = threading.Event()
        living = threading.Thread(target=_live, args=(run, mail, policy, ended))
        living.start()
        try:
            time.sleep(max(run.started_at + LIVE_SECONDS / SPEED - time.monotonic(), 0))
            yield run
        finally:
            ended.set()
            living.join()


@contextlib.contextmanager
def _server(run: Run, when: float, speed: int, *options: str) -> Iterator[None]:
    with (run.folder / "greyd.log").open("wb") as log:
        child = subprocess.Popen(
            [
                *_at(when, speed), sys.executable, "-m", "greyd", "serve", f"--hostname={HOST}",
                f"--dbdir={run.folder}", f"--inet=127.0.0.1:{run.policy}",
                f"--metrics=127.0.0.1:{run.metrics}", f"--run-dir={run.folder}",
                "--store-timeout=10", *options,
            ],
            env=run.environment(), stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield
        finally:
            # faketime runs the server as its child.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
                child.wait()
                while True:
                    os.killpg(child.pid, 0)
                    time.sleep(0.1)


@contextlib.contextmanager
def _connection(run: Run) -> Iterator[socket.socket]:
    for _ in range(200):
        with contextlib.suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", run.policy), timeout=10)
            break
        time.sleep(0.1)
    else:
        raise PictureError("the server did not start:\n" + (run.folder / "greyd.log").read_text())
    with connection:
        yield connection


def _ask(policy: socket.socket, request: bytes) -> bytes:
    policy.sendall(request)
    reply = b""
    while not reply.endswith(b"\n\n"):
        received = policy.recv(4096)
        if not received:
            raise PictureError("the server has closed the connection")
        reply += received
    return reply


def _ask_all(mail: Mail, policy: socket.socket, seconds: int) -> list[tuple[Attempt, bytes]]:
    """Send the mail of the week to the server; each request carries its time."""
    told = []
    for attempt in mail.until(seconds):
        when = END - WEEK_SECONDS + int(attempt.when)
        reply = _ask(policy, attempt.request(when))
        told.append((attempt, reply))
        if b"DEFER" in reply:
            mail.greylisted(attempt)
    return told


def _live(run: Run, mail: Mail, policy: socket.socket, ended: threading.Event) -> None:
    """Send mail when it is due, until the event; also while the pictures are made."""
    for minute in range((LIVE_SECONDS + AFTERWARDS_SECONDS) // 60):
        begin = minute * 60
        for attempt in mail.until(WEEK_SECONDS - LIVE_SECONDS + begin + 60):
            due = run.started_at + (attempt.when - WEEK_SECONDS + LIVE_SECONDS) / SPEED
            if ended.wait(max(due - time.monotonic(), 0)):
                return
            if b"DEFER" in _ask(policy, attempt.request(None)):
                mail.greylisted(attempt)
                run.greylisted = run.greylisted if attempt.name == BOT_NAME else attempt


def _lines(decisions: bytes) -> list[bytes]:
    return [line for line in decisions.splitlines() if line.startswith(b"action=")]


def _write_log(run: Run, told: Sequence[tuple[Attempt, bytes]], decisions: bytes) -> None:
    """Write the server's log with the times of the requests."""
    with run.log.open("wb") as log:
        for (attempt, _), line in zip(told, _lines(decisions), strict=True):
            when = time.gmtime(END - WEEK_SECONDS + attempt.when)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", when)
            log.write(f"{stamp} mx1 greyd[812]: ".encode() + line + b"\n")


def _store_history(run: Run, told: Sequence[tuple[Attempt, bytes]], decisions: bytes) -> None:
    """Store the record that a server that had run all week would have stored."""
    counts: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for (attempt, reply), line in zip(told, _lines(decisions), strict=True):
        when = END - WEEK_SECONDS + int(attempt.when)
        slot = counts[when // SLOT_SECONDS * SLOT_SECONDS]
        found = _DECISION.match(line)
        if found is None:
            raise PictureError(f"not a decision: {line!r}")
        action, reason = found[1].decode(), found[2].decode().strip()
        if delayed := _DELAYED.search(reply):
            slot["waited"] += 1
            slot["waited_seconds"] += int(delayed[1])
        else:
            slot[_field(action, reason)] += 1
    slots = [ActivitySlot(start, SLOT_SECONDS, **each) for start, each in counts.items()]
    settings = Settings(hostname=HOST, metrics=Endpoint("127.0.0.1", run.metrics))
    # The server reads the history under this key, too; the other one has the machine's id in it.
    key = old_history_key(settings)
    _put(run, Change(key, dump_slots(slots), KEPT_SECONDS))


def _field(action: str, reason: str) -> str:
    category = OUTCOMES[action, reason].category
    fields = {
        Category.FIRST_CONTACT: "new",
        Category.EARLY_RETRY: "early",
        Category.FAULT: "faults",
    }
    return fields.get(category, "passed")


def _put(run: Run, change: Change) -> None:
    import asyncio

    async def put() -> None:
        store = open_store(Settings(), run.folder)

        def rule(_: Any) -> tuple[None, list[Change]]:
            return None, [change]

        await store.transact([change.key], rule)
        await store.close()

    asyncio.run(put())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
