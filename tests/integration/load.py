"""A load of many connections for fault tests, and what must hold while something is wrong.

``Load`` asks without a pause over a number of connections, each as Postfix's smtpd does (ask, wait,
ask), and notes every answer. Three of four requests are new mail, the fourth is an early retry, so
all of them are to be greylisted: whatever else is answered has failed open.

``SimulatedServer`` puts a running greyd under a load and leads it through a fault: what is normal,
what
is while the store is away, how soon greylisting is back. Its figures are printed.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import re
import selectors
import socket
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from tests.processes import PolicyClient, free_port, greyd, slowness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.processes import Running

CONNECTIONS = 50

# The aim is 0.4 s and the contract is 1 s. A machine whose two cores also run the load, Redis and
# other tests can hold a process up for a second on its own; what was measured is printed.
MAX_SECONDS = 2.0

# The contract is 10 ms. With 50 connections that never pause, the median is 50 divided by the rate,
# so it tells how fast the machine is; a timeout a request would show as 300 ms.
MEDIAN_AWAY_SECONDS = 0.05

# The contract is a half; the load's own share of a busy machine varies by as much.
RATE_AWAY = 1 / 3

# The contract is 5 s: the circuit rests for 2 s, and is probed twice a second.
BACK_SECONDS = 10.0

# For servers of which a test wants to know what is remembered, and not how soon: a busy disk can
# hold a commit up for longer than the default of 0.3 s, and mail then passes as it should.
PATIENT = "--store-timeout=5"

GREYLISTED = "DEFER_IF_PERMIT"
PASSED = "DUNNO"
HEADER = "PREPEND"

_ALWAYS_SAID = re.compile("action=|running as root|^whitelists: |^greyd .* listens on")

_TEMPLATE = b"""\
request=smtpd_access_policy
protocol_state=RCPT
protocol_name=ESMTP
helo_name=mail.example.com
queue_id=
sender=alice@example.com
recipient=%(recipient)b
recipient_count=0
client_address=%(client)b
client_name=unknown
reverse_client_name=unknown
instance=%(number)x.%(run)b
sasl_username=
etrn_domain=
%(time)b
"""


class Answer(NamedTuple):
    """One answer: which mail, when it was asked for, how long it took, what it was."""

    mail: int
    asked_at: float
    seconds: float
    action: str

    @property
    def answered_at(self) -> float:
        return self.asked_at + self.seconds


@dataclass(frozen=True)
class ServerStats:
    """What some answers have in common."""

    answers: Sequence[Answer]
    seconds: float

    @property
    def actions(self) -> Counter[str]:
        return Counter(answer.action for answer in self.answers)

    @property
    def median(self) -> float:
        return statistics.median(self._times) if self.answers else float("inf")

    @property
    def longest(self) -> float:
        return max(self._times, default=0.0)

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds

    @property
    def _times(self) -> list[float]:
        return [answer.seconds for answer in self.answers]

    def __str__(self) -> str:
        actions = ", ".join(f"{number} {action}" for action, number in self.actions.items())
        return (
            f"{self.rate:.0f}/s, median {self.median * 1000:.1f} ms,"
            f" longest {self.longest * 1000:.0f} ms ({actions})"
        )


class Mails:
    """Mail by number: each from a client network of its own, of 2**22 networks."""

    def __init__(self, run: str = "load", now: int | None = None) -> None:
        """Name the mail's recipients after ``run``; ``now`` is sent as ``policy_test_time``."""
        self._run = run.encode()
        self._now = now

    def __call__(self, mail: int) -> bytes:
        """Return the request."""
        time = b"" if self._now is None else b"policy_test_time=%d\n" % self._now
        return _TEMPLATE % {
            b"recipient": b"u%d@%b.example.org" % (mail, self._run),
            b"client": b"%d.%d.%d.7" % (10 + (mail >> 16 & 63), mail >> 8 & 255, mail & 255),
            b"number": mail,
            b"run": self._run,
            b"time": time,
        }


class Load:
    """Asks over many connections in a thread of its own, while the ``with`` block runs.

    At the block's end no more is asked, and the answers still due are waited for.
    """

    def __init__(
        self, port: int, connections: int = CONNECTIONS, mails: Callable[[int], bytes] | None = None
    ) -> None:
        self.answers: list[Answer] = []
        self.dropped = 0
        """Connections that the server has closed."""
        self.unanswered = 0
        """Requests still without an answer ten seconds after the last one was asked."""
        self._mails = mails or Mails()
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._clients = [_Client(port) for _ in range(connections)]
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more, and wait for the answers that are due."""
        self._stop.set()
        self._thread.join(20 * slowness())
        assert not self._thread.is_alive()

    @property
    def connections(self) -> int:
        """How many there were at the start."""
        return len(self._clients)

    def since(self, begin: float, end: float | None = None) -> ServerStats:
        """Return the figures of what was asked between two moments, or until now."""
        end = time.monotonic() if end is None else end
        chosen = [answer for answer in self.answers if begin <= answer.asked_at < end]
        return ServerStats(chosen, end - begin)

    def _run(self) -> None:
        for client in self._clients:
            self._selector.register(client.socket, selectors.EVENT_READ, client)
            self._ask(client)
        give_up_at = float("inf")
        while time.monotonic() < give_up_at:
            for key, _ in self._selector.select(0.1):
                self._take(key.data)
            if self._stop.is_set():
                if not any(client.waits for client in self._clients):
                    break
                give_up_at = min(give_up_at, time.monotonic() + 10 * slowness())
        self.unanswered = sum(client.waits for client in self._clients)
        for client in self._clients:
            client.socket.close()
        self._selector.close()

    def _ask(self, client: _Client) -> None:
        number = next(self._numbers)
        # Every fourth is a retry of what was new mail about two hundred requests ago.
        client.mail = abs(number - 201) if number % 4 == 3 else number
        client.asked_at = time.monotonic()
        client.waits = True
        try:
            client.socket.sendall(self._mails(client.mail))
        except OSError:
            self._drop(client)

    def _take(self, client: _Client) -> None:
        try:
            data = client.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        client.received += data
        if not client.received.endswith(b"\n\n"):
            return
        seconds = time.monotonic() - client.asked_at
        action = client.received[len(b"action=") :].split(None, 1)[0].decode()
        self.answers.append(Answer(client.mail, client.asked_at, seconds, action))
        client.received = b""
        client.waits = False
        if not self._stop.is_set():
            self._ask(client)

    def _drop(self, client: _Client) -> None:
        self.dropped += 1
        client.waits = False
        self._selector.unregister(client.socket)
        client.socket.close()


class _Client:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.received = b""
        self.mail = 0
        self.asked_at = 0.0
        self.waits = False


def acknowledged(load: Load, most: int = 2000) -> list[int]:
    """Return mails that were told to come again: all of them, or so many spread over the load."""
    mails = sorted({answer.mail for answer in load.answers if answer.action == GREYLISTED})
    return mails[:: max(len(mails) // most, 1)]


def ask_all(port: int, mails: Sequence[bytes], connections: int = 8) -> list[str]:
    """Ask about each mail once, over a few connections; returns the actions in their order."""
    actions = ["no answer"] * len(mails)

    def ask(first: int) -> None:
        with PolicyClient(port) as client:
            for number in range(first, len(mails), connections):
                client.send(mails[number])
                reply = client.reply()
                actions[number] = "closed" if reply is None else reply.decode()[len("action=") :]

    threads = [threading.Thread(target=ask, args=[first]) for first in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60 * slowness())
    return actions


@dataclass(frozen=True)
class Site:
    """The metrics port, seen from outside."""

    port: int

    def status(self, path: str) -> int:
        """Return the HTTP status of a page."""
        return self._get(path)[0]

    def sample(self, name: str) -> float:
        """Return the sum of a metric's samples."""
        body = self._get("/metrics")[1]
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", body, re.MULTILINE)
        assert found, f"no {name} in /metrics"
        return sum(float(value) for value in found)

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5 * slowness())
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()


@dataclass
class SimulatedServer:
    """A running greyd under a load, led through a fault."""

    name: str
    server: Running
    site: Site
    load: Load
    _normal: ServerStats | None = None
    fault_at: float = field(default_factory=time.monotonic)
    _said_before: int = 0
    _beside: int = 0

    def normal(self, seconds: float = 0.6) -> ServerStats:
        """See how it goes while nothing is wrong; the fault is to come now.

        Where other work on the machine holds the store up for longer than its deadline, as other
        tests' disk writes may, the look is taken again.
        """
        self._normal = self._quiet_look(seconds, 20)
        assert self.site.status("/readyz") == 200
        self.note(f"normal: {self._normal}")
        self.begins()
        return self._normal

    def begins(self) -> None:
        """Note that the fault begins now."""
        self.fault_at = time.monotonic()
        self._said_before = len(self.said())

    def away(self, seconds: float = 1.3, *, health: int = 200) -> ServerStats:
        """See what holds while the store is away, from when it has been noticed.

        ``health`` is what ``/healthz`` answers: 503 where the store does not return by itself.
        """
        noticed = self._wait_for(lambda: self.site.sample("greyd_store_up") == 0, 5)
        assert noticed, f"greyd_store_up stays 1: {self.said()}"
        time.sleep(max(seconds - (time.monotonic() - self.fault_at), 0.3))
        figures = self.load.since(self.fault_at)
        lines = self.said()[self._said_before :]
        self.note(f"away: {figures}; {len(lines)} log lines: {lines[:3]}")
        assert figures.actions[PASSED] > 0
        assert self.site.sample("greyd_store_up") == 0
        assert self.site.sample("greyd_store_errors_total") > 0
        assert self.site.status("/readyz") == 503
        assert self.site.status("/healthz") == health
        assert self.site.status("/livez") == 200
        assert 1 <= len(lines) <= figures.seconds + 1, lines
        assert any("passing mail ungreylisted" in line for line in lines), lines
        # By how much mail waits longer than before tells of greyd, the rest of the machine.
        before = self._normal.median if self._normal is not None else 0.0
        assert figures.median < max(MEDIAN_AWAY_SECONDS * slowness(), 3 * before)
        if self._normal is not None:
            assert figures.rate > self._normal.rate * RATE_AWAY / slowness()
        return figures

    def returns(self, seconds: float = BACK_SECONDS) -> ServerStats:
        """Wait until mail is greylisted again, and see that it stays so."""
        returned_at = time.monotonic()
        back = self._wait_for(lambda: self._greylists_since(returned_at), seconds)
        assert back, f"not back after {seconds} s: {self.said()[-5:]}"
        self.note(f"back after {time.monotonic() - returned_at:.1f} s")
        figures = self._quiet_look(0.4, seconds)
        self.note(f"back: {figures}")
        assert self.site.status("/readyz") == 200
        assert self.site.status("/healthz") == 200
        return figures

    def _quiet_look(self, seconds: float, patience_seconds: float) -> ServerStats:
        """Return figures of a while in which nothing failed open, with the store up at its end."""
        give_up_at = time.monotonic() + patience_seconds * slowness()
        while True:
            begin = time.monotonic()
            time.sleep(seconds)
            figures = self.load.since(begin)
            up = self.site.sample("greyd_store_up") == 1
            if up and set(figures.actions) == {GREYLISTED}:
                return figures
            assert time.monotonic() < give_up_at, f"{figures}: {self.said()[-5:]}"

    def ends(self) -> None:
        """Stop the load, and see that every request was answered in time."""
        self.load.stop()
        everything = ServerStats(self.load.answers, 1)
        at = max(everything.answers, key=lambda answer: answer.seconds)
        self.note(
            f"longest answer of {len(everything.answers)}: {at.seconds * 1000:.0f} ms,"
            f" asked {at.asked_at - self.fault_at:+.1f} s from the fault"
        )
        assert self.load.dropped == 0
        assert self.load.unanswered == 0
        assert everything.longest < MAX_SECONDS * slowness()
        counted = self.site.sample("greyd_requests_total")
        assert counted == len(everything.answers) + self._beside, (
            "the counters tell of every answer"
        )
        assert "internal error" not in self.server.log()
        assert "Traceback" not in self.server.log()

    def asked_beside(self, requests: int) -> None:
        """Note that others than the load have asked, too."""
        self._beside += requests

    def said(self) -> list[str]:
        """Return the log's lines that are neither about one request nor said at every start."""
        lines = self.server.log().splitlines()
        return [line for line in lines if not _ALWAYS_SAID.search(line)]

    def _greylists_since(self, moment: float) -> bool:
        """Whether of the last hundred answers, all given after the moment, none failed open."""
        last = self.load.answers[-100:]
        return (
            self.site.sample("greyd_store_up") == 1
            and len(last) == 100
            and all(each.asked_at > moment and each.action == GREYLISTED for each in last)
        )

    def _wait_for(self, true: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds * slowness()
        while not true():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def note(self, text: str) -> None:
        """Print figures."""
        print(f"FIGURES {self.name}: {text}")  # noqa: T201 - to be seen with -rP


@contextlib.contextmanager
def trial(
    name: str, folder: Path, *options: str, mails: Callable[[int], bytes] | None = None
) -> Iterator[SimulatedServer]:
    """Run greyd with these options under a load; at the end every request has its answer."""
    metrics = free_port()
    timeout = [] if PATIENT in options else ["--store-timeout=0.3"]
    with greyd(folder, f"--metrics=127.0.0.1:{metrics}", *timeout, *options) as server:
        load = Load(server.port, mails=mails)
        led = SimulatedServer(name, server, Site(metrics), load)
        try:
            with load:
                yield led
                led.ends()
        except BaseException:
            led.note("\n".join(["said:", *led.said()[-20:]]))
            raise
        assert server.process.poll() is None, "greyd has ended"
        assert server.stop() == 0
