"""Clients that mean harm, or are broken: the server lives, stays small, and answers everybody else.

What each test's clients do is done twice over: while they are connected and after they have gone,
memory may not have grown by 5 MB, and meanwhile a neighbour asks all the time.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import ssl
import struct
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import has_said
from tests.integration.pressure import (
    MIB,
    Load,
    allow_files,
    figures,
    open_sockets,
    question,
    resident_bytes,
)
from tests.processes import PolicyClient, Running, encode, greyd, request, slowness, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from pathlib import Path

pytestmark = pytest.mark.integration

MAX_GROWTH = 5 * MIB
SLOWEST_ANSWER_SECONDS = 1.0
"""For others meanwhile; 0.25 s on a quiet machine, which the figures show."""

SETTLE_SECONDS = 0.3
CLOSED = (ConnectionError, TimeoutError)


@pytest.fixture(scope="module")
def started() -> Iterator[ExitStack]:
    """What runs until the last test of this module."""
    allow_files(4096)
    with contextlib.ExitStack() as programs:
        yield programs


@pytest.fixture
def server(
    started: ExitStack, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Running:
    """The same warm greyd for all tests, until one has failed: then the next has a new one."""
    running: Running | None = getattr(request.module, "_running", None)
    if running is None or running.process.poll() is not None:
        running = started.enter_context(greyd(tmp_path_factory.mktemp("hostile")))
        warm(running)
        request.module._running = running
    return running


def warm(server: Running) -> None:
    """Let a server work for a moment, so that its memory is what it will be."""
    with Load(server.port, connections=50, pause_seconds=0) as load:
        wait_until(lambda: len(load.waits) > 3000, "warm")
    with contextlib.ExitStack() as connections:
        for _ in range(100):
            connect(server, connections).sendall(b"request=half")


def connect(server: Running, connections: ExitStack, timeout: float = 5.0) -> socket.socket:
    """Return a connection that ends with ``connections``."""
    return connections.enter_context(
        socket.create_connection(("127.0.0.1", server.port), timeout=timeout)
    )


def endure(server: Running, attack: Callable[[ExitStack], None]) -> None:
    """Run an attack whose connections stay open, then close them; nobody else may notice."""
    try:
        endure_it(server, attack)
    except BaseException:
        # What it has done to this server must not count against the next attack.
        server.process.kill()
        server.process.wait()
        raise


def endure_it(server: Running, attack: Callable[[ExitStack], None]) -> None:
    process = server.process.pid
    sockets, data = open_sockets(process), resident_bytes(process)
    with Load(server.port) as neighbour:
        with contextlib.ExitStack() as connections:
            attack(connections)
            time.sleep(SETTLE_SECONDS)
            during = resident_bytes(process) - data
        time.sleep(SETTLE_SECONDS)
        after = resident_bytes(process) - data
    figures(
        f"neighbour's slowest answer {neighbour.longest_wait * 1000:.0f} ms of"
        f" {len(neighbour.waits)}; memory {during / MIB:+.1f} MiB, then {after / MIB:+.1f} MiB"
    )
    assert server.process.poll() is None
    assert neighbour.failures == []
    assert neighbour.longest_wait < SLOWEST_ANSWER_SECONDS * slowness()
    assert during < MAX_GROWTH
    assert after < MAX_GROWTH
    wait_until(lambda: open_sockets(process) <= sockets, "all its connections are closed")
    assert "internal error" not in server.log()
    assert "Traceback" not in server.log()


def send_all_it_takes(connection: socket.socket, raw: bytes, seconds: float = 5.0) -> int:
    """Send ``raw`` again and again until the peer takes no more for half a second, or closes."""
    connection.settimeout(0.5)
    deadline = time.monotonic() + seconds
    sent = 0
    with contextlib.suppress(*CLOSED):
        while time.monotonic() < deadline:
            sent += connection.send(raw)
    return sent


def is_closed(connection: socket.socket, seconds: float = 5.0) -> bool:
    """Whether the peer closes within ``seconds``, whatever it sends before."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def pause() -> None:
    """Wait for less than the kernel takes to connect twice: a full backlog costs a second."""
    time.sleep(0.0005)


def numbered(number: int) -> bytes:
    """Return a request whose answer names its number."""
    return encode(request(recipient=f"bob@n{number}.example.org", client_address="203.0.113.9"))


# Too much --------------------------------------------------------------------------------------


def test_a_line_without_an_end_is_given_up(server: Running) -> None:
    def attack(connections: ExitStack) -> None:
        for _ in range(3):
            endless = connect(server, connections)
            sent = send_all_it_takes(endless, b"sender=" + b"a" * 65536)
            assert is_closed(endless)
            assert sent < 16 * MIB

    endure(server, attack)


def test_a_request_of_100_000_attributes_is_answered(server: Running) -> None:
    def attack(connections: ExitStack) -> None:
        client = PolicyClient(server.port)
        connections.callback(client.socket.close)
        client.send(b"".join(b"attribute%d=%d\n" % (number, number) for number in range(100_000)))
        client.send(numbered(1))
        assert b"n1.example.org" in (client.reply() or b"")

    endure(server, attack)


def test_100_000_repetitions_of_an_attribute_are_one(server: Running) -> None:
    def attack(connections: ExitStack) -> None:
        client = PolicyClient(server.port)
        connections.callback(client.socket.close)
        client.send(b"".join(b"sender=%0500d\n" % number for number in range(100_000)))
        client.send(numbered(2))
        assert b"n2.example.org" in (client.reply() or b"")

    endure(server, attack)


def test_requests_without_an_end_hold_no_memory_together(server: Running) -> None:
    def attack(connections: ExitStack) -> None:
        for _ in range(200):
            half = connect(server, connections)
            half.sendall(b"".join(b"x%d=%0200d\n" % (n, n) for n in range(200)) + b"sender=half")

    endure(server, attack)


def test_empty_lines_without_end_keep_nobody_waiting(server: Running) -> None:
    # An empty line ends a request; here each octet is one, and none deserves an answer.
    def attack(connections: ExitStack) -> None:
        for _ in range(5):
            send_all_it_takes(connect(server, connections), b"\n" * 65536, seconds=0.5)

    endure(server, attack)


def test_requests_that_need_no_store_keep_nobody_waiting(server: Running) -> None:
    # Answered without waiting for anything: the loop must turn all the same.
    exempt = encode({"request": "smtpd_access_policy", "sasl_username": "a"}) * 1000

    def attack(connections: ExitStack) -> None:
        for _ in range(5):
            send_all_it_takes(connect(server, connections), exempt, seconds=0.5)

    endure(server, attack)


# Not the protocol ------------------------------------------------------------------------------


def test_a_megabyte_of_random_bytes_does_no_harm(server: Running) -> None:
    def attack(connections: ExitStack) -> None:
        chance = random.Random(3)
        for _ in range(3):
            with contextlib.suppress(*CLOSED):
                connect(server, connections).sendall(chance.randbytes(MIB))

    endure(server, attack)


def test_a_tls_hello_gets_no_policy_answer(server: Running) -> None:
    def attack(connections: ExitStack) -> None:
        for _ in range(20):
            outgoing = ssl.MemoryBIO()
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
                ssl.MemoryBIO(), outgoing, server_hostname="mail.example.com"
            )
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            assert_silent(connect(server, connections), outgoing.read())

    endure(server, attack)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: localhost:10023\r\nCookie: a=b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 7\r\n\r\nsender=",
        b"EHLO example.com\r\nMAIL FROM:<a@example.com>\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
    ],
    ids=["http", "http-post", "smtp", "redis"],
)
def test_another_protocol_gets_no_policy_answer(server: Running, words: bytes) -> None:
    def attack(connections: ExitStack) -> None:
        for _ in range(20):
            assert_silent(connect(server, connections), words, seconds=0.02)

    endure(server, attack)


def assert_silent(connection: socket.socket, words: bytes, seconds: float = 0.05) -> None:
    """Say something and hear nothing: closed, or still waiting for a request."""
    connection.sendall(words)
    connection.settimeout(seconds)
    with contextlib.suppress(*CLOSED):
        assert connection.recv(100) == b""


def test_nul_and_a_lone_carriage_return_are_bytes_like_others(server: Running) -> None:
    def attack(_connections: ExitStack) -> None:
        with PolicyClient(server.port) as client:
            for number in range(20):
                odd = request(
                    sender=b"a\0b\rc@example.com",
                    helo_name=b"\r\0\r",
                    recipient=f"bob\r@n{number}.example.org",
                )
                reply = client.ask(odd)
                assert reply is not None
                assert f"n{number}.example.org" in reply

    endure(server, attack)


def test_a_carriage_return_before_each_line_feed_changes_nothing(server: Running) -> None:
    with PolicyClient(server.port) as client:
        client.send(numbered(3).replace(b"\n", b"\r\n"))
        assert b"n3.example.org" in (client.reply() or b"")


ODD_ADDRESSES = [
    "unknown", "", " ", "0", "a" * 300, "1" * 300, ":" * 300, "fe80::1%eth0",
    "fe80::1%" + "z" * 300, "[192.0.2.1]", "[2001:db8::1]",
    "192.0.2.1:25", "192.0.2", "192.0.2.1.1", "192.0.2.256",
    "0x7f.0.0.1", "0177.0.0.1", "192.0.2.1 ", "192.0.2.1\r", "192.0.2.1\0", "192.0.2.\u0661",
    "::ffff:192.0.2.1", "::ffff:192.0.2.256", "::ffff:0:0", "::", "2001:db8::1::2", "2001:db8::/32",
    "{192.0.2.1}", "/", "%00", "..", "\x1b[31m", "\u2028", "NaN", "-1", "1e3",
]  # fmt: skip


def test_an_odd_client_address_gets_an_answer(server: Running) -> None:
    def attack(_connections: ExitStack) -> None:
        with PolicyClient(server.port) as client:
            for address in ODD_ADDRESSES:
                reply = client.ask(request(client_address=address))
                assert reply is not None, address
                assert reply.startswith(("action=DUNNO", "action=DEFER_IF_PERMIT")), address

    endure(server, attack)


@pytest.mark.parametrize("address", ["unknown", "", "1" * 300, "fe80::1%eth0", "[192.0.2.1]"])
def test_mail_from_what_is_no_address_passes(server: Running, address: str) -> None:
    # Nothing to remember it by: greylisted it would wait for ever.
    with PolicyClient(server.port) as client:
        assert client.ask(request(client_address=address)) == "action=DUNNO"


# Unpunctual ------------------------------------------------------------------------------------


def test_half_a_request_is_waited_for_and_forgotten(server: Running) -> None:
    whole = numbered(4)

    def attack(connections: ExitStack) -> None:
        for each in range(300):
            with socket.create_connection(("127.0.0.1", server.port)) as leaving:
                leaving.sendall(whole[: each % len(whole)])
            pause()
        staying = connect(server, connections)
        staying.sendall(whole[:100])
        time.sleep(0.5)
        staying.sendall(whole[100:])
        assert b"n4.example.org" in staying.recv(4096)

    endure(server, attack)


def test_a_request_that_comes_octet_by_octet_from_200_connections_is_answered(
    server: Running,
) -> None:
    words = b"request=smtpd_access_policy\nclient_address=192.0.2.1\nsender=\n\n"

    def attack(connections: ExitStack) -> None:
        dribbling = [connect(server, connections) for _ in range(200)]
        for each in dribbling:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in words:
            for each in dribbling:
                each.sendall(bytes([byte]))
            time.sleep(0.01)
        for each in dribbling:
            assert each.recv(4096) == b"action=DUNNO\n\n"

    endure(server, attack)


def test_resets_in_every_state_do_no_harm(server: Running) -> None:
    whole = numbered(5)

    def attack(_connections: ExitStack) -> None:
        for each in range(600):
            resetting = socket.create_connection(("127.0.0.1", server.port))
            resetting.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            resetting.sendall((b"", whole[:50], whole, whole * 20)[each % 4])
            resetting.close()
            pause()

    endure(server, attack)


def test_who_never_reads_the_answers_gets_no_more_questions_in(server: Running) -> None:
    asked = b"".join(numbered(number) for number in range(100))

    def attack(connections: ExitStack) -> None:
        deaf = []
        for _ in range(20):
            connection = connect(server, connections)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            deaf.append(connection)
        deadline = time.monotonic() + 1.5
        taken = dict.fromkeys(deaf, 0)
        while time.monotonic() < deadline:
            for connection in deaf:
                with contextlib.suppress(BlockingIOError):
                    taken[connection] += connection.send(asked)
            time.sleep(0.001)
        before = sum(taken.values())
        time.sleep(0.5)
        for connection in deaf:
            with contextlib.suppress(BlockingIOError):
                taken[connection] += connection.send(asked)
        assert sum(taken.values()) - before < MIB

    endure(server, attack)


def test_200_requests_in_one_packet_are_answered_in_their_order(server: Running) -> None:
    def attack(_connections: ExitStack) -> None:
        for _ in range(10):
            with PolicyClient(server.port) as client:
                client.send(b"".join(numbered(number) for number in range(200)))
                replies = [client.reply() or b"" for _ in range(200)]
            domains = [re.findall(rb"n(\d+)\.example", reply) for reply in replies]
            assert domains == [[b"%d" % number] for number in range(200)]

    endure(server, attack)


def test_who_asks_200_times_and_stops_talking_still_gets_200_answers(server: Running) -> None:
    with PolicyClient(server.port) as client:
        client.send(b"".join(numbered(number) for number in range(200)))
        client.socket.shutdown(socket.SHUT_WR)
        replies = [client.reply() for _ in range(201)]
    assert None not in replies[:200]
    assert replies[200] is None


def test_two_thousand_connections_one_after_the_other_leave_nothing(server: Running) -> None:
    def attack(_connections: ExitStack) -> None:
        for _ in range(2000):
            socket.create_connection(("127.0.0.1", server.port)).close()
            pause()

    endure(server, attack)


# Names against patterns ------------------------------------------------------------------------

CATASTROPHIC = [
    r"/^(a+)+$/", r"/(x+x+)+y/", r"/^(([a-z])+.)+[A-Z]([a-z])+$/", r"/(.*)*!$^/", r"/(a|aa)+$/",
    r"/(a|a?)+b/", r"/^(.*?,){40}P/", r"/(a*)*(a*)*(a*)*b/", r"/([a-z]+)+@/", r"/((a?){50}){20}b/",
]  # fmt: skip
NAMES = [b"a" * 511 + b"!", b"x" * 512, b"ax" * 256, b"a," * 256, b"a" * 512, b"aaaX" * 128]


def test_no_pattern_is_catastrophic_for_any_name(tmp_path: Path) -> None:
    lists = {}
    for kind in ("clients", "recipients"):
        lists[kind] = tmp_path / kind
        lists[kind].write_text("\n".join(CATASTROPHIC) + "\n")
    options = [f"--whitelist-{kind}={file}" for kind, file in lists.items()]
    waits = []
    with greyd(tmp_path, *options) as server:
        with Load(server.port) as neighbour, PolicyClient(server.port) as client:
            for name in NAMES * 3:
                started = time.monotonic()
                asked = request(client_name=name, recipient=name + b"@example.org", sender=name)
                assert client.ask(asked) is not None
                waits.append(time.monotonic() - started)
        log = server.log()
    figures(
        f"slowest answer {max(waits) * 1000:.1f} ms,"
        f" the neighbour's {neighbour.longest_wait * 1000:.1f} ms"
    )
    assert "skipped" not in log
    assert max(waits) < SLOWEST_ANSWER_SECONDS * slowness()
    assert neighbour.failures == []
    assert neighbour.longest_wait < SLOWEST_ANSWER_SECONDS * slowness()


# The log ---------------------------------------------------------------------------------------

STEERING = [
    b"\r", b"\r\r", b"\x1b[2J\x1b[31m", b"\x07", b"\0", b"\x0b", b"\x0c", b"\x1c", b"\x7f", b"\x85",
    b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xe2\x80\xae", b"\xff\xfe", b"\xed\xa0\x80",
    b'"', b"\\", b'"}{"', b"\\n", b"%0a", b"\t", b"\rgreyd: action=pass, reason=triplet found",
]  # fmt: skip
LOGGED = (
    "client_name", "client_address", "sender", "recipient", "helo_name", "queue_id", "instance",
    "sasl_username", "request", "reverse_client_name",
)  # fmt: skip


@pytest.mark.parametrize("log_format", ["postgrey", "json"])
def test_no_octet_of_a_client_starts_a_line_or_steers_a_terminal(
    tmp_path: Path, log_format: str
) -> None:
    with greyd(tmp_path, f"--log-format={log_format}", "--verbose") as server:
        with PolicyClient(server.port) as client:
            for data in STEERING:
                for name in LOGGED:
                    client.send(encode(request(**{name: b"x" + data + b"y"})))
                client.send(b"no equals sign " + data + b"\n" + numbered(6))
            client.send(encode(request(recipient="last@example.net", client_address="2001:db8::9")))
            client.socket.shutdown(socket.SHUT_WR)
            answers = 0
            while client.reply() is not None:
                answers += 1
        has_said(server, "last@example.net")
        text = server.output.read_bytes()
    *lines, rest = text.split(b"\n")
    assert rest == b""
    assert not re.search(rb"[^\x20-\x7e\n]", text)
    if log_format == "json":
        events = [json.loads(line) for line in lines]
        decisions = [event for event in events if "action" in event]
        assert all("message" in event for event in events if event not in decisions)
    else:
        decisions = [line for line in lines if re.match(rb"(\S+: )?action=\w+, reason=", line)]
        others = [line for line in lines if line not in decisions]
        known = rb"step: |warning: |greyd \S+ listens |whitelists: |[0-9]+ more"
        assert [line for line in others if not re.match(known, line)] == []
    # One line a decision: none is missing, and nobody has made up another.
    assert answers == len(STEERING) * len(LOGGED) + 1
    assert len(decisions) == answers


def test_no_octet_of_a_client_ends_its_answer_early(server: Running) -> None:
    with PolicyClient(server.port) as client:
        for data in STEERING:
            reply = client.ask(request(recipient=b"bob@example" + data + b".org"))
            assert reply is not None
            assert not re.search(r"[\x00-\x1f\x7f]", reply)
        # The answers are still in step with the questions.
        client.send(numbered(7))
        assert b"n7.example.org" in (client.reply() or b"")


def test_the_bytes_of_one_client_stay_out_of_the_question_of_another(server: Running) -> None:
    with PolicyClient(server.port) as rude, PolicyClient(server.port) as polite:
        rude.send(b"sender=mallory@example.com\nrecipient=bob@evil.example\n")
        polite.send(numbered(8))
        assert b"n8.example.org" in (polite.reply() or b"")
        rude.send(question(0, 0))
        assert (rude.reply() or b"").startswith(b"action=")
