"""A soak test: hours of mixed mail in minutes, with injected faults.

``python -m tests.soak --minutes 10`` runs three servers at once: one on a Redis that is killed and
started again every so often and now and then answers nonsense, one on SQLite, and one on SQLite
with workers, one of which is killed every so often. All are held up (SIGSTOP) for longer than their
store may take, see their clock jump by weeks for some seconds, and read their whitelists again.
Each is asked new, retried, known and whitelisted mail over several connections, at a bounded rate.
In the end it
demands of each

- that every request was answered, on a connection that was never dropped but by a killed worker,
- that no mail that was told to wait has been forgotten when it comes again in time,
- that a server was not taken for a store that is away when it was held up itself,
- that the counters of ``/metrics`` add up to exactly these answers,
- that memory is flat: after a warm-up, the last quarter's median within 5 % of the first's,
- that no file descriptor has leaked,

prints a table, and exits with 0 if all of it holds, else with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import re
import signal
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greyd.policy.policy import RECENT_INSTANCES
from tests.fake_clock import RIGHT, FakeClock, fake_clock
from tests.fake_redis import DelayingProxy
from tests.integration.lives import workers_of
from tests.integration.pressure import (
    MIB,
    PATIENCE_SECONDS,
    allow_files,
    open_files,
    open_sockets,
    resident_bytes,
)
from tests.processes import encode, free_port, greyd, redis_server, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.processes import Running

CONNECTIONS = 10
REQUESTS_A_SECOND = 400
"""Per server; the test measures stability, not speed."""

FILL = 80_000
"""Initial triplets: more than SQLite's 8 MB cache holds, which otherwise grows during the test."""

TOGETHER = 200

WARM_UP = 0.25
"""The share of the time after which memory has settled."""

MAX_GROWTH = 0.05
MAX_NEW_FILES = 3
"""Tolerance for SQLite's checkpoints and Redis probes."""

SAMPLE_SECONDS = 1.0
RELOAD_SECONDS = 7.0
STORE_TIMEOUT_SECONDS = 2.0
HELD_UP_SECONDS = 3.0
HOLD_UP_SECONDS = 17.0
"""Seconds between two SIGSTOPs."""

WORKERS = 2
KILL_WORKER_SECONDS = 11.0

JUMPS = ("+40d", "-30d", "@1970-01-01 00:01:00")
JUMP_SECONDS = 4.0
JUMP_EVERY_SECONDS = 13.0

NONSENSE_SECONDS = 3.0
NONSENSE = (
    b"*0\r\n", b":1\r\n", b"+QUEUED\r\n", b"$-1\r\n", b"-MOVED 1\r\n", b"HTTP/1.1 400 No\r\n\r\n",
)  # fmt: skip

REDIS_UP_SECONDS = 14.0
REDIS_DOWN_SECONDS = 4.0
DELAY_SECONDS = 300
START_OF_TIME = 1_700_000_000


@dataclass
class Sample:
    """A server's resource usage at one moment."""

    rss_bytes: int
    files: int


@dataclass
class Subject:
    """A server under test, and its measurements."""

    name: str
    server: Running
    metrics_port: int
    loses_workers: bool = False
    lost_connections: int = 0
    """Requests dropped by a killed worker, which the client repeats, as Postfix does."""
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def process(self) -> int:
        """Its process id."""
        return self.server.process.pid

    def counted(self) -> int:
        """Return the number of answered requests in ``/metrics``."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as page:
            text = page.read().decode()
        return sum(
            int(float(value))
            for value in re.findall(r"^greyd_requests_total\{.*\} (\S+)$", text, re.MULTILINE)
        )


class Question(NamedTuple):
    """A request and its time; None for one without a time."""

    request: bytes
    moment: int | None = None


def dialogue(number: int) -> list[Question]:
    """Return the requests of one mail: first contact, early retry, retry, and one more."""
    at = START_OF_TIME + number // 50
    mail = {
        "client_address": f"198.{18 + number % 2}.{number // 250 % 250}.{number % 250}",
        "client_name": f"mx{number}.example.net",
        "sender": f"s{number}@example.net",
        "recipient": f"r{number % 97}@example.org",
        "instance": f"soak.{number}",
    }
    times = [at, at + 100, at + 400, at + 500] if number % 4 == 0 else [at]
    asked = [
        Question(encode(request(**mail, policy_test_time=str(moment))), moment) for moment in times
    ]
    known = {"client_address": "192.0.2.99", "sender": f"known{number % 50}@example.com"}
    asked.append(Question(encode(request(**known, policy_test_time=str(at)))))
    if number % 2:
        asked.append(Question(encode(request(client_name=f"out{number}.whitelisted.example"))))
    return asked


async def fill(subject: Subject) -> None:
    """Fill the bounded caches quickly: many new triplets, some of which pass."""
    reader, writer = await asyncio.open_connection("127.0.0.1", subject.server.port)
    mails = [(number, START_OF_TIME) for number in range(FILL)]
    mails += [(number, START_OF_TIME + 400) for number in range(RECENT_INSTANCES)]
    for first in range(0, len(mails), TOGETHER):
        together = mails[first : first + TOGETHER]
        writer.writelines(fill_request(number, at) for number, at in together)
        for _ in together:
            reply = await asyncio.wait_for(reader.readuntil(b"\n\n"), PATIENCE_SECONDS)
            subject.answers[verb(reply)] += 1
    writer.close()
    await writer.wait_closed()


def fill_request(number: int, at: int) -> bytes:
    """Return a request with a unique triplet and message."""
    sender, instance = f"fill{number}@example.com", f"fill.{number}"
    return encode(request(sender=sender, instance=instance, policy_test_time=str(at)))


def verb(reply: bytes) -> str:
    """Return the first word of a reply's action."""
    return reply.removeprefix(b"action=").split(maxsplit=1)[0].decode()


class Asking:
    """A connection to a server, which reconnects if its worker was killed."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, text: bytes) -> bytes:
        """Send a request and return its reply."""
        while True:
            try:
                if self._streams is None:
                    port = self._subject.server.port
                    self._streams = await asyncio.open_connection("127.0.0.1", port)
                reader, writer = self._streams
                writer.write(text)
                return await asyncio.wait_for(reader.readuntil(b"\n\n"), PATIENCE_SECONDS)
            except (ConnectionError, EOFError):
                if not self._subject.loses_workers:
                    raise
                self._subject.lost_connections += 1
                await self.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def ask_all(subject: Subject, until: float) -> None:
    """Send requests over one connection until the time is over."""
    pause = CONNECTIONS / REQUESTS_A_SECOND
    asking = Asking(subject)
    try:
        while time.monotonic() < until:
            waits_since: int | None = None
            number = next(subject.numbers)
            for question in dialogue(number):
                started = time.monotonic()
                reply = await asking.ask(question.request)
                subject.waits.append(time.monotonic() - started)
                subject.answers[verb(reply)] += 1
                if question.moment is not None and verb(reply).startswith("DEFER"):
                    if waits_since is None:
                        waits_since = question.moment
                    elif question.moment >= waits_since + DELAY_SECONDS:
                        subject.failures.append(f"mail {number} was told to wait, and forgotten")
                await asyncio.sleep(pause)
        await asking.close()
    except (OSError, EOFError, TimeoutError) as error:
        subject.failures.append(repr(error))


async def kill_workers(subjects: list[Subject], until: float) -> None:
    """Kill one worker from time to time."""
    while time.monotonic() + KILL_WORKER_SECONDS < until:
        await asyncio.sleep(KILL_WORKER_SECONDS)
        for subject in subjects:
            if subject.loses_workers:
                for worker in workers_of(subject.process)[:1]:
                    send(worker, signal.SIGKILL)


async def sample_all(subjects: list[Subject], until: float) -> None:
    """Record memory and descriptors of all servers every second."""
    while time.monotonic() < until:
        await asyncio.sleep(SAMPLE_SECONDS)
        for subject in subjects:
            sample = Sample(resident_bytes(subject.process), open_files(subject.process))
            subject.samples.append(sample)


async def reload_all(subjects: list[Subject], until: float) -> None:
    """Make all servers reload their whitelists from time to time."""
    while time.monotonic() < until:
        await asyncio.sleep(RELOAD_SECONDS)
        for subject in subjects:
            subject.server.signal(signal.SIGHUP)


async def hold_up_all(subjects: list[Subject], until: float) -> None:
    """Pause all servers from time to time."""
    while time.monotonic() + HOLD_UP_SECONDS < until:
        await asyncio.sleep(HOLD_UP_SECONDS - HELD_UP_SECONDS)
        held = [pid for each in subjects for pid in (each.process, *workers_of(each.process))]
        for pid in held:
            send(pid, signal.SIGSTOP)
        await asyncio.sleep(HELD_UP_SECONDS)
        for pid in held:
            send(pid, signal.SIGCONT)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


async def jump_clocks(clock: FakeClock, until: float) -> None:
    """Set all servers' clocks wrong for some seconds, from time to time."""
    for jump in itertools.cycle(JUMPS):
        await asyncio.sleep(JUMP_EVERY_SECONDS - JUMP_SECONDS)
        if time.monotonic() >= until:
            return
        clock.set(jump)
        await asyncio.sleep(JUMP_SECONDS)
        clock.set(RIGHT)


async def spoil_answers(proxy: DelayingProxy, until: float) -> None:
    """Make Redis send malformed replies from time to time."""
    for reply in itertools.cycle(NONSENSE):
        await asyncio.sleep(NONSENSE_SECONDS)
        if time.monotonic() >= until:
            return
        proxy.spoil(reply)


def kill_redis_now_and_then(folder: Path, port: int, until: float) -> int:
    """Kill and restart Redis repeatedly; returns the number of kills."""
    for kills in itertools.count():
        with redis_server(
            folder, "--appendonly", "yes", "--appendfsync", "always", port=port
        ) as redis:
            time.sleep(max(0.0, min(REDIS_UP_SECONDS, until - time.monotonic())))
            if time.monotonic() >= until:
                return kills
            redis.process.kill()
        time.sleep(REDIS_DOWN_SECONDS)
    raise AssertionError("unreachable")


async def soak(
    subjects: list[Subject],
    redis_folder: Path,
    redis_port: int,
    proxy: DelayingProxy,
    clock: FakeClock,
    seconds: float,
) -> int:
    """Fill the stores, then run all tasks in parallel; returns the number of Redis kills."""
    with redis_server(
        redis_folder, "--appendonly", "yes", "--appendfsync", "always", port=redis_port
    ):
        await asyncio.gather(*(fill(subject) for subject in subjects))
    until = time.monotonic() + seconds
    killing = asyncio.create_task(
        asyncio.to_thread(kill_redis_now_and_then, redis_folder, redis_port, until)
    )
    asking = [ask_all(subject, until) for subject in subjects for _ in range(CONNECTIONS)]
    await asyncio.gather(
        *asking,
        sample_all(subjects, until),
        reload_all(subjects, until),
        hold_up_all(subjects, until),
        spoil_answers(proxy, until),
        jump_clocks(clock, until),
        kill_workers(subjects, until),
    )
    return await killing


def judge(subject: Subject) -> list[str]:
    """Return a server's faults, and print its row."""
    faults = list(subject.failures[:5])
    if subject.server.process.poll() is not None:
        return [*faults, "it has died"]
    answered, counted = sum(subject.answers.values()), subject.counted()
    # What a worker was about to answer when it was killed may be counted.
    if not answered <= counted <= answered + subject.lost_connections:
        faults.append(f"{counted} counted, {answered} answered")
    log = subject.server.log()
    if subject.name != "redis" and "store away" in log:
        faults.append("its store was taken to be away")
    if "internal error" in log:
        faults.append("an internal error is in its log")
    samples = subject.samples[int(len(subject.samples) * WARM_UP) :]
    quarter = max(1, len(samples) // 4)
    first = statistics.median(each.rss_bytes for each in samples[:quarter])
    last = statistics.median(each.rss_bytes for each in samples[-quarter:])
    growth = last / first - 1
    if growth > MAX_GROWTH:
        faults.append(f"memory grew by {growth:.1%}")
    files = [
        int(statistics.median(each.files for each in part))
        for part in (samples[:quarter], samples[-quarter:])
    ]
    if files[1] > files[0] + MAX_NEW_FILES:
        faults.append(f"{files[0]} descriptors became {files[1]}")
    waits = sorted(subject.waits)
    say(
        f"{subject.name:<8}{answered:>10,}{counted:>10,}{first / MIB:>9.1f}{last / MIB:>9.1f}"
        f"{growth:>+9.1%}{files[0]:>7}{files[1]:>5}"
        f"{waits[int(len(waits) * 0.99)] * 1000:>9.1f}{waits[-1] * 1000:>9.1f}"
    )
    return faults


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(folder: Path, seconds: float) -> int:
    """Run the soak test for some seconds; returns the exit status."""
    allow_files(4096)
    whitelist = folder / "whitelist_clients"
    whitelist.write_text("whitelisted.example\n/^dyn-[0-9]+\\./\n2001:db8:1::/48\n")
    redis_port = free_port()
    clock = fake_clock(folder)
    with contextlib.ExitStack() as programs:
        proxy = programs.enter_context(DelayingProxy(redis_port))
        stores = {
            "redis": f"redis://127.0.0.1:{proxy.port}/0", "sqlite": f"sqlite:{folder}/soak.db",
            "workers": f"sqlite:{folder}/workers.db",
        }  # fmt: skip
        subjects = []
        for name, store in stores.items():
            metrics = free_port()
            workers = WORKERS if name == "workers" else 1
            server = programs.enter_context(
                greyd(
                    folder / name, f"--store={store}", "--test-time",
                    f"--workers={workers}", f"--store-timeout={STORE_TIMEOUT_SECONDS}",
                    f"--whitelist-clients={whitelist}", f"--metrics=127.0.0.1:{metrics}",
                    environment=clock.environment,
                )
            )  # fmt: skip
            subjects.append(Subject(name, server, metrics, loses_workers=workers > 1))
        say(
            f"soaking for {seconds:.0f} s after {FILL:,} triplets,"
            f" about {REQUESTS_A_SECOND} requests a second each"
        )
        redis_folder = folder / "redis-server"
        kills = asyncio.run(soak(subjects, redis_folder, redis_port, proxy, clock, seconds))
        say(f"Redis was killed {kills} times; MiB and descriptors after the warm-up and at the end")
        say(f"{'store':<8}{'answered':>10}{'counted':>10}{'MiB':>9}{'MiB':>9}{'growth':>9}"
            f"{'files':>12}{'p99 ms':>9}{'max ms':>9}")  # fmt: skip
        faults = {subject.name: judge(subject) for subject in subjects}
        for subject in subjects:
            say(f"{subject.name}: {dict(subject.answers)}")
            if open_sockets(subject.process) > CONNECTIONS + 10:
                faults[subject.name].append("connections are left over")
    for name, each in faults.items():
        for fault in each:
            say(f"{name}: FAULT: {fault}")
    return 1 if any(faults.values()) else 0


def main() -> None:
    """Read the command line and run the soak test."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="greyd-soak-") as folder:
        sys.exit(run(Path(folder), minutes * 60))


if __name__ == "__main__":
    main()
