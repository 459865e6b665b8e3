"""A load generator for policy servers: one process, one thread, one question a connection.

``python -m tests.benchmarks.load HOST:PORT`` asks as Postfix's smtpd does and writes one line of
JSON. All requests are made before the clock starts, and answers are looked at after it stops; in
between there is only sending, waiting and receiving.

*Closed loop*: each connection asks as soon as it has its answer; latency counts from the sending.
*Open loop* (``--rate``): requests are due at random times (Poisson) whatever the server does, and
latency counts from when a request was due, so a stall is charged to every request it held up.

Kinds of request, and the verb that a greylisting server owes them, stand in ``EXPECTED``.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import select
import socket
import sys
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXPECTED = {
    "new": "DEFER_IF_PERMIT",
    "early": "DEFER_IF_PERMIT",
    "known": "DUNNO",
    "whitelisted": "DUNNO",
}

MODES = ("new", "mixed", "known")
"""Loads there are: only new triplets, all kinds, only triplets that have passed."""

MIXED = ("new",) * 10 + ("whitelisted",) * 5 + ("known",) * 4 + ("early",) * 1
"""What mail is like: half of it new, much from big senders, some seen before, a few retries."""

KNOWN_TRIPLETS = 500
EARLY_AFTER = 500
"""How many new triplets come between a triplet and its early retry."""

SILENCE_SECONDS = 10.0
"""After so long without any answer the server has failed."""

# Each of these is in the whitelist that Debian's postgrey brings and in greyd's own.
WHITELISTED_DOMAINS = (
    b"amazonses.com",
    b"mailgun.net",
    b"messagelabs.com",
    b"mtasv.net",
    b"protonmail.ch",
    b"smtp2go.com",
    b"mail-out.ovh.net",
    b"mail.infomaniak.ch",
)

# The attributes of Postfix 3.9, in its order, for a client that came over TLS.
TEMPLATE = b"""\
request=smtpd_access_policy
protocol_state=RCPT
protocol_name=ESMTP
client_address=%(address)b
client_name=%(client)b
client_port=%(port)d
reverse_client_name=%(client)b
server_address=192.0.2.25
server_port=25
helo_name=%(client)b
sender=%(sender)b
recipient=%(recipient)b
recipient_count=0
queue_id=
instance=%(instance)b
size=18432
etrn_domain=
stress=
sasl_method=
sasl_username=
sasl_sender=
ccert_subject=
ccert_issuer=
ccert_fingerprint=
ccert_pubkey_fingerprint=
encryption_protocol=TLSv1.3
encryption_cipher=TLS_AES_256_GCM_SHA384
encryption_keysize=256
policy_context=
compatibility_level=3.9
mail_version=3.9.1
%(more)b
"""


class LoadError(Exception):
    """The server could not be measured; the text says what it did."""


# Requests ---------------------------------------------------------------------------------------


class Ask(NamedTuple):
    """A request and what it is."""

    kind: str
    data: bytes


def make_requests(mode: str, count: int, first: int) -> list[Ask]:
    """Make the requests of a run.

    Args:
        mode: one of ``MODES``.
        count: how many.
        first: number of the first new triplet; two runs must not share numbers.
    """
    if mode == "new":
        return [Ask("new", triplet(b"u", number)) for number in range(first, first + count)]
    chance = random.Random(first)
    if mode == "known":
        return [_known(chance) for _ in range(count)]
    rest = [MIXED[index % len(MIXED)] for index in range(1, count)]
    chance.shuffle(rest)
    # Something new comes first, so that there is something to retry.
    kinds = [MIXED[0], *rest]
    asks = []
    waiting: deque[int] = deque(maxlen=EARLY_AFTER)
    for number, kind in enumerate(kinds, first):
        if kind == "new":
            waiting.append(number)
            asks.append(Ask("new", triplet(b"u", number)))
        elif kind == "early":
            asks.append(Ask("early", triplet(b"u", waiting[0])))
        elif kind == "known":
            asks.append(_known(chance))
        else:
            domain = WHITELISTED_DOMAINS[number % len(WHITELISTED_DOMAINS)]
            asks.append(
                Ask("whitelisted", triplet(b"u", number, b"out%d." % (number % 64), domain))
            )
    return asks


def _known(chance: random.Random) -> Ask:
    return Ask("known", triplet(b"known", chance.randrange(KNOWN_TRIPLETS)))


def make_warm_up(at: int | None) -> list[Ask]:
    """Make one try of each triplet that is to be known, at a time of its own or at that of now."""
    return [Ask("warm-up", triplet(b"known", number, at=at)) for number in range(KNOWN_TRIPLETS)]


def triplet(
    who: bytes, number: int, host: bytes = b"mail.", domain: bytes = b"", at: int | None = None
) -> bytes:
    """Return the request of the triplet with this number, asked at ``at`` where that is given."""
    # An odd factor takes each number of 24 bits to another one: clients lie all over 10/8.
    spread = number * 2654435761 & 0xFFFFFF
    domain = domain or b"d%x.example" % (spread & 0xFFF)
    return TEMPLATE % {
        b"address": b"10.%d.%d.%d" % (spread >> 16, spread >> 8 & 255, spread & 255),
        b"client": host + domain,
        b"port": 1024 + spread % 64000,
        b"sender": b"%b%x@%b" % (who, number, domain),
        b"recipient": b"r%x@example.org" % (spread % 997),
        b"instance": b"%x.%x.%x.0" % (number & 0xFFFF, number >> 16, time.monotonic_ns()),
        b"more": b"policy_test_time=%d\n" % at if at is not None else b"",
    }


def poisson(count: int, rate: float, seed: int) -> list[float]:
    """Return the times in seconds, from 0, at which requests are due."""
    chance = random.Random(seed)
    return list(accumulate(chance.expovariate(rate) for _ in range(count)))


# Asking -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Client:
    """A connection, and the request that is under way on it."""

    socket: socket.socket
    since: float = 0.0
    kind: str = ""
    received: bytes = b""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run has measured."""

    seconds: float
    cpu_seconds: float
    """Of the generator itself."""
    latencies: list[float]
    """In seconds, in the order of the answers."""
    replies: list[tuple[str, bytes]]
    """Kind of request and reply, in the same order."""


class Load:
    """Asks everything on the given connections, and times the answers."""

    def __init__(
        self, clients: Sequence[Client], asks: Sequence[Ask], due: Sequence[float] | None = None
    ) -> None:
        """Prepare.

        Args:
            clients: idle connections.
            asks: what to ask, in this order.
            due: when each is due, in seconds from the start; None asks as soon as a connection
                is free.
        """
        self._idle = list(clients)
        self._by_descriptor = {client.socket.fileno(): client for client in clients}
        self._asks = asks
        self._due = due
        self._sent = 0
        self._most = len(asks)
        self._begun = 0.0
        self._latencies: list[float] = []
        self._replies: list[tuple[str, bytes]] = []

    def run(self, seconds: float = math.inf) -> Measured:
        """Ask, for so many seconds at most, and wait for the answers.

        Raises:
            LoadError: the server closed a connection, fell silent or sent what is no reply.
        """
        with select.epoll() as poller:
            for descriptor in self._by_descriptor:
                poller.register(descriptor, select.EPOLLIN)
            cpu_before = time.process_time()
            self._begun = time.perf_counter()
            try:
                self._ask_and_wait(poller, self._begun + seconds)
            except OSError as error:
                raise LoadError(f"the connection broke: {error}") from error
            elapsed = time.perf_counter() - self._begun
            cpu = time.process_time() - cpu_before
        return Measured(elapsed, cpu, self._latencies, self._replies)

    def _ask_and_wait(self, poller: select.epoll, end: float) -> None:
        clock = time.perf_counter
        while len(self._replies) < self._most:
            while self._idle and self._wait_for_due() <= 0:
                self._ask(self._idle.pop())
            for descriptor, _ in _wait(poller, self._patience()):
                client = self._by_descriptor[descriptor]
                if not _receive(client):
                    continue
                self._latencies.append(clock() - client.since)
                self._replies.append((client.kind, client.received))
                client.received = b""
                if self._due is None and self._sent < self._most:
                    # At once: the server is not to wait until all others are read.
                    self._ask(client)
                else:
                    self._idle.append(client)
            if clock() > end:
                self._most = self._sent

    def _ask(self, client: Client) -> None:
        client.kind, data = self._asks[self._sent]
        if self._due is None:
            client.since = time.perf_counter()
        else:
            client.since = self._begun + self._due[self._sent]
        self._sent += 1
        client.socket.send(data)

    def _wait_for_due(self) -> float:
        """Return in how many seconds the next request is due."""
        if self._sent >= self._most:
            return math.inf
        if self._due is None:
            return 0.0
        return self._begun + self._due[self._sent] - time.perf_counter()

    def _patience(self) -> float:
        return min(self._wait_for_due(), SILENCE_SECONDS) if self._idle else SILENCE_SECONDS


def _wait(poller: select.epoll, seconds: float) -> list[tuple[int, int]]:
    if seconds < SILENCE_SECONDS:
        # epoll counts its patience in milliseconds, which is too coarse for what is due.
        select.select([poller], [], [], max(seconds, 0.0))
        return poller.poll(0)
    ready = poller.poll(seconds)
    if not ready:
        raise LoadError(f"no answer for {SILENCE_SECONDS:g} s")
    return ready


def _receive(client: Client) -> bool:
    """Receive; returns whether the reply is complete."""
    received = client.socket.recv(4096)
    if not received:
        raise LoadError("the server closed a connection")
    if client.received:
        received = client.received + received
    client.received = received
    end = received.find(b"\n\n")
    if end >= 0 and (end + 2 != len(received) or not received.startswith(b"action=")):
        raise LoadError(f"this is no reply: {received[:200]!r}")
    return end >= 0


def connect(host: str, port: int, count: int) -> list[Client]:
    """Open so many connections.

    Raises:
        LoadError: the server can't be reached.
    """
    clients = []
    for _ in range(count):
        try:
            connection = socket.create_connection((host, port), timeout=SILENCE_SECONDS)
        except OSError as error:
            raise LoadError(f"{error}; is the server running?") from error
        connection.setblocking(False)
        clients.append(Client(connection))
    return clients


# The result -------------------------------------------------------------------------------------


def verb(reply: bytes) -> str:
    """Return the first word of a reply's action, in upper case: Postfix ignores the case."""
    return reply.removeprefix(b"action=").split(None, 1)[0].decode(errors="replace").upper()


def count_answers(replies: Iterable[tuple[str, bytes]]) -> dict[str, dict[str, int]]:
    """Count the answers by kind of request and verb."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, reply in replies:
        counts[kind][verb(reply)] += 1
    return {kind: dict(verbs) for kind, verbs in sorted(counts.items())}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below or at which lies this share of them (nearest rank)."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def summarise(measured: Measured, requests: int, *, passes_clean: bool = False) -> dict[str, Any]:
    """Return what the line of JSON says of a run."""
    answered = len(measured.replies)
    answers = count_answers(measured.replies)
    expected = dict.fromkeys(EXPECTED, "DUNNO") if passes_clean else EXPECTED
    wrong = sum(
        count
        for kind, verbs in answers.items()
        for each, count in verbs.items()
        if each != expected[kind]
    )
    milliseconds = [1000 * each for each in measured.latencies]
    return {
        "requests": requests,
        "answered": answered,
        "seconds": round(measured.seconds, 4),
        "requests_per_second": round(answered / measured.seconds, 1),
        "p50_ms": round(percentile(milliseconds, 0.5), 4),
        "p90_ms": round(percentile(milliseconds, 0.9), 4),
        "p99_ms": round(percentile(milliseconds, 0.99), 4),
        "max_ms": round(max(milliseconds), 4),
        "answers": answers,
        "wrong": wrong,
        "generator_cpu_us": round(1e6 * measured.cpu_seconds / answered, 2),
        "generator_busy": round(measured.cpu_seconds / measured.seconds, 3),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load generator; returns the exit status."""
    options = _read_options(arguments)
    try:
        result = _measure(options)
    except LoadError as error:
        sys.stderr.write(f"{options.address}: {error}\n")
        return 1
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if result["wrong"] else 0


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    host, _, port = options.address.rpartition(":")
    clients = connect(host, int(port), options.connections)
    warm_up = options.mode != "new" and options.warm_up
    if warm_up:
        _warm_up(clients, options.retry_after)
    # Numbers from the clock: no run meets the triplets of another.
    first = time.time_ns() // 1000
    asks = make_requests(options.mode, options.requests, first)
    due = poisson(len(asks), options.rate, seed=first) if options.rate else None
    # The collector would look through all requests again and again.
    gc.disable()
    measured = Load(clients, asks, due).run(options.seconds)
    return {
        "mode": options.mode,
        "connections": options.connections,
        "rate": options.rate,
        "warmed_up": 2 * KNOWN_TRIPLETS if warm_up else 0,
        **summarise(measured, len(asks), passes_clean=options.passes_clean),
    }


def _warm_up(clients: Sequence[Client], retry_after: float | None) -> None:
    """Try each triplet that is to be known, and try it again when it may pass."""
    if retry_after is None:
        now = int(time.time())
        for at in (now - 400, now - 50):
            Load(clients, make_warm_up(at)).run()
        return
    Load(clients, make_warm_up(None)).run()
    time.sleep(retry_after)
    Load(clients, make_warm_up(None)).run()


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.load", description="Measure one policy server."
    )
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--mode", choices=MODES, default="new")
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--requests", type=int, default=20_000, help="how many at most")
    parser.add_argument("--seconds", type=float, default=math.inf, help="how long at most")
    parser.add_argument("--rate", type=float, help="open loop: requests a second, Poisson")
    parser.add_argument(
        "--passes-clean", action="store_true", help="new mail passes too: it shows no signal"
    )
    parser.add_argument(
        "--no-warm-up",
        dest="warm_up",
        action="store_false",
        help="the known triplets of the modes mixed and known have passed already",
    )
    parser.add_argument(
        "--retry-after",
        type=float,
        metavar="SECONDS",
        help="warm up by the clock, for a server without policy_test_time: wait so long",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
