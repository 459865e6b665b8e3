"""What greyd needs of the machine runs out, hangs, goes away or changes; mail goes on.

Connections, file descriptors, the log's reader, syslog, the metrics port, the whitelist files.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lives import has_said
from tests.integration.pressure import (
    MIB,
    Load,
    allow_files,
    busy_share,
    figures,
    open_files,
    percentile,
    resident_bytes,
)
from tests.processes import (
    PolicyClient,
    Running,
    accepts,
    encode,
    free_port,
    greyd,
    redis_server,
    request,
    running,
    slowness,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

SLOWEST_ANSWER_SECONDS = 1.0
BUSY = 0.5
"""Share of a core that is spinning."""

IN_FORCE_SECONDS = 60.0
"""Until a reload is in force; 2 s on a quiet machine, which the figures show."""


def new(number: int) -> dict[str, str | bytes]:
    """Return a request of a triplet that has not been seen before."""
    return request(sender=f"s{number}@example.com", client_address=f"203.0.113.{number % 250}")


# Connections -----------------------------------------------------------------------------------


def test_2000_idle_connections_leave_a_newcomer_its_answer(tmp_path: Path) -> None:
    allow_files(4096)
    with greyd(tmp_path) as server, contextlib.ExitStack() as idle:
        before = resident_bytes(server.process.pid)
        for number in range(2000):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            idle.callback(connection.close)
            if number % 2:
                connection.sendall(b"request=smtpd_access_policy\nsender=half")
            if number % 100 == 0:
                time.sleep(0.01)
        started = time.monotonic()
        with PolicyClient(server.port) as newcomer:
            assert newcomer.ask(new(0)) is not None
            first = time.monotonic() - started
            waits = []
            for number in range(1, 201):
                started = time.monotonic()
                assert newcomer.ask(new(number)) is not None
                waits.append(time.monotonic() - started)
        growth = resident_bytes(server.process.pid) - before
        share = busy_share(server.process.pid, 1)
    figures(
        f"newcomer {first * 1000:.1f} ms, p99 {percentile(waits, 0.99) * 1000:.1f} ms;"
        f" {growth / MIB:.1f} MiB for 2,000 connections, {share:.0%} of a core when idle"
    )
    assert first < SLOWEST_ANSWER_SECONDS * slowness()
    assert percentile(waits, 0.99) < 0.5 * slowness()
    assert share < BUSY


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_used_up_file_descriptors_neither_spin_nor_last(tmp_path: Path, store: str) -> None:
    with contextlib.ExitStack() as programs:
        options = []
        if store == "redis":
            redis = programs.enter_context(redis_server(tmp_path))
            options = [f"--store=redis://127.0.0.1:{redis.port}/0"]
        server = programs.enter_context(greyd(tmp_path, *options))
        process = server.process.pid
        resource.prlimit(process, resource.RLIMIT_NOFILE, (64, 64))
        with PolicyClient(server.port) as early, contextlib.ExitStack() as hoard:
            assert early.ask(new(0)) is not None
            for _ in range(300):
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=5)
                hoard.callback(connection.close)
            has_said(server, "no more can be")
            lines = server.log().count("\n")
            share = busy_share(process, 2)
            lines = server.log().count("\n") - lines
            # A newcomer takes the place of who is idle longest, and is greylisted as ever.
            with PolicyClient(server.port) as newcomer:
                started = time.monotonic()
                for number in range(1, 50):
                    assert "DEFER" in (newcomer.ask(new(number)) or "")
                answering = time.monotonic() - started
                server.signal(signal.SIGHUP)
                time.sleep(0.2)
                assert newcomer.ask(new(50)) is not None
        started = time.monotonic()
        wait_until(lambda: answers(server), "a newcomer is answered", seconds=5)
        back = time.monotonic() - started
    figures(
        f"{store}: {share:.0%} of a core, {lines} lines of log in 2 s; 49 answers in"
        f" {answering * 1000:.0f} ms meanwhile; back after {back:.1f} s"
    )
    assert share < BUSY
    assert lines < 100
    assert answering < 49 * 0.1


def test_newcomers_that_come_together_each_take_an_idle_place(tmp_path: Path) -> None:
    with greyd(tmp_path) as server, contextlib.ExitStack() as connections:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        for _ in range(50):
            hoarded = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            connections.callback(hoarded.close)
        for burst in range(8):
            newcomers = []
            # Held up, so that it finds all of them at its door in one turn of its loop.
            server.signal(signal.SIGSTOP)
            for number in range(15):
                newcomer = PolicyClient(server.port, timeout=5)
                connections.callback(newcomer.socket.close)
                newcomers.append(newcomer)
                newcomer.send(encode(new(100 * burst + number)))
            server.signal(signal.SIGCONT)
            assert all("DEFER" in str(newcomer.reply()) for newcomer in newcomers)
        # The reserve that the store and the log need is still there.
        files = open_files(server.process.pid)
    figures(f"{files} descriptors of 64 in use after eight bursts of 15 newcomers")
    assert files < 56


def answers(server: Running) -> bool:
    """Whether a new connection gets an answer."""
    with contextlib.suppress(OSError), PolicyClient(server.port, timeout=1) as client:
        return client.ask(request()) is not None
    return False


# The log's reader ------------------------------------------------------------------------------


UNBLOCK = f"{sys.executable} -c 'import os; os.set_blocking(2, False)';"


@contextlib.contextmanager
def logging_to_a_pipe(folder: Path, *, blocking: bool = True) -> Iterator[tuple[Running, int]]:
    """Run a greyd whose standard error is a pipe that the test reads, or does not read.

    Yields:
        The server, and the descriptor of the pipe's reading end; closing it is the test's choice.
    """
    pipe = folder / "stderr"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    port = free_port()
    empty = folder / "empty"
    empty.touch()
    unblock = "" if blocking else UNBLOCK
    command = [
        "/bin/sh", "-c", f'log=$1; shift; exec 2>"$log"; {unblock} exec "$@"', "sh", str(pipe),
        sys.executable, "-m", "greyd", "serve", f"--inet=127.0.0.1:{port}", f"--dbdir={folder}",
        "--metrics=0", f"--whitelist-clients={empty}", f"--whitelist-recipients={empty}",
    ]  # fmt: skip
    try:
        with running(command, folder, port, lambda: accepts(port)) as server:
            yield server, reading
    finally:
        with contextlib.suppress(OSError):
            os.close(reading)


def ask_many(server: Running, number: int = 3000) -> None:
    """Ask so often that any pipe is full, and be answered each time."""
    with Load(server.port, connections=20, pause_seconds=0) as load:
        wait_until(lambda: len(load.waits) >= number or bool(load.failures), "answers")
    figures(f"slowest answer {load.longest_wait * 1000:.0f} ms of {len(load.waits)}")
    assert load.failures == []
    assert load.longest_wait < SLOWEST_ANSWER_SECONDS * slowness()


def test_a_log_reader_that_sleeps_keeps_no_mail_waiting(tmp_path: Path) -> None:
    with logging_to_a_pipe(tmp_path) as (server, reading):
        ask_many(server)
        assert busy_share(server.process.pid, 1) < BUSY
        # It wakes up, and has missed nothing.
        text = b""
        deadline = time.monotonic() + 5
        while text.count(b"action=") < 3000 and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                text += os.read(reading, 65536)
        assert text.count(b"action=") >= 3000
        assert answers(server)


def test_a_log_reader_that_sleeps_for_long_loses_lines_and_is_told_so(tmp_path: Path) -> None:
    with logging_to_a_pipe(tmp_path) as (server, reading):
        before = resident_bytes(server.process.pid)
        asked = encode(request(sasl_username="a")) * 500
        for _ in range(60):
            with PolicyClient(server.port) as client:
                client.send(asked)
                for _ in range(500):
                    assert client.reply() == b"action=DUNNO"
        growth = resident_bytes(server.process.pid) - before
        figures(f"memory {growth / MIB:+.1f} MiB for 30,000 lines that nobody reads")
        assert growth < 30 * MIB
        text = b""
        deadline = time.monotonic() + 10
        while b"lines were dropped" not in text and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                text += os.read(reading, 2**20)
            answers(server)
        assert b"lines were dropped" in text
        assert all(
            line.startswith((b"action=", b"warning: ", b"greyd ", b"whitelists: "))
            for line in text.split(b"\n")[:-1]
        )


def test_a_log_reader_that_sleeps_keeps_no_stop_waiting(tmp_path: Path) -> None:
    with logging_to_a_pipe(tmp_path) as (server, _reading):
        ask_many(server)
        started = time.monotonic()
        assert server.stop() == 0
        stopping = time.monotonic() - started
    figures(f"stopped after {stopping:.2f} s")
    assert stopping < 2


def test_a_log_reader_that_is_gone_keeps_no_mail_waiting(tmp_path: Path) -> None:
    with logging_to_a_pipe(tmp_path) as (server, reading):
        os.close(reading)
        ask_many(server)
        server.signal(signal.SIGHUP)
        ask_many(server, number=500)
        assert busy_share(server.process.pid, 1) < BUSY
        assert server.process.poll() is None
        assert server.stop() == 0


def test_a_log_pipe_that_does_not_block_gets_whole_lines(tmp_path: Path) -> None:
    # Who starts greyd may share the pipe and have made it so (Node.js does).
    with logging_to_a_pipe(tmp_path, blocking=False) as (server, reading):
        ask_many(server)
        assert busy_share(server.process.pid, 1) < BUSY
        text = b""
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                text += os.read(reading, 65536)
        assert all(
            line.startswith((b"action=", b"warning: ", b"greyd ", b"whitelists: "))
            for line in text.split(b"\n")[:-1]
        )


# syslog ----------------------------------------------------------------------------------------

DAEMON = """
import sys
from greyd.monitoring.log import SyslogSink
SyslogSink.__init__.__defaults__ = (sys.argv.pop(1),)
from greyd.cli.main import main
main()
"""
"""Greyd with another place for /dev/log, which these tests leave alone."""


@contextlib.contextmanager
def daemon(folder: Path, syslog: Path) -> Iterator[Running]:
    """Run greyd in the background, logging to the socket ``syslog``."""
    port = free_port()
    empty, pidfile, output = folder / "empty", folder / "pid", folder / "output"
    empty.touch()
    command = [
        sys.executable, "-c", DAEMON, str(syslog), "serve", "--daemonize", f"--pidfile={pidfile}",
        f"--inet=127.0.0.1:{port}", f"--dbdir={folder}", "--metrics=0",
        f"--whitelist-clients={empty}", f"--whitelist-recipients={empty}",
    ]  # fmt: skip
    with output.open("wb") as log:
        starting = subprocess.Popen(command, stdout=log, stderr=log)
        assert starting.wait(20) == 0, output.read_text()
    process = int(pidfile.read_text())
    starting.pid = process
    try:
        assert accepts(port)
        yield Running(starting, port, output)
    finally:
        os.kill(process, signal.SIGTERM)
        wait_until(lambda: not is_alive(process), "the daemon ends", seconds=5)


def is_alive(process: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@contextlib.contextmanager
def syslog_socket(path: Path) -> Iterator[socket.socket]:
    """Listen as syslogd does; gone without its socket file in the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(5)
        yield listening
    path.unlink()


def test_a_daemon_without_syslog_serves_mail(tmp_path: Path) -> None:
    with daemon(tmp_path, tmp_path / "log") as server:
        ask_many(server)
        assert busy_share(server.process.pid, 1) < BUSY
        assert is_alive(server.process.pid)
        # It comes up later, as it may at boot.
        with syslog_socket(tmp_path / "log") as syslog:
            assert answers(server)
            text = syslog.recv(4096)
    assert text.startswith(b"<")
    assert b"greyd[%d]: " % server.process.pid in text


def test_a_daemon_outlives_a_syslog_that_hangs_and_one_that_is_restarted(tmp_path: Path) -> None:
    with daemon(tmp_path, tmp_path / "log") as server:
        with syslog_socket(tmp_path / "log"):
            # Nobody reads: after a few datagrams the kernel's queue is full.
            ask_many(server)
            assert busy_share(server.process.pid, 1) < BUSY
        ask_many(server, number=500)
        with syslog_socket(tmp_path / "log") as syslog:
            assert answers(server)
            assert b"greyd[" in syslog.recv(4096)


# The metrics port ------------------------------------------------------------------------------


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Running]:
    """A greyd with a metrics port, which is in ``extra``."""
    metrics = free_port()
    with greyd(tmp_path, f"--metrics=127.0.0.1:{metrics}") as server:
        server.extra["metrics"] = metrics
        yield server


def connect_to_metrics(server: Running, connections: contextlib.ExitStack) -> socket.socket:
    """Return a connection to the metrics port."""
    port = int(str(server.extra["metrics"]))
    return connections.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))


def scrape(server: Running) -> str:
    """Return what Prometheus would get."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.extra['metrics']}/metrics") as page:
        return str(page.read().decode())


@contextlib.contextmanager
def undisturbed(server: Running) -> Iterator[None]:
    """Policy answers go on meanwhile, and no memory is taken for long."""
    scrape(server)
    before = resident_bytes(server.process.pid)
    with Load(server.port, connections=5) as load:
        yield
        time.sleep(0.2)
    growth = resident_bytes(server.process.pid) - before
    figures(
        f"slowest policy answer {load.longest_wait * 1000:.0f} ms of {len(load.waits)};"
        f" memory {growth / MIB:+.1f} MiB"
    )
    assert load.failures == []
    assert load.longest_wait < SLOWEST_ANSWER_SECONDS * slowness()
    assert growth < 5 * MIB
    wait_until(lambda: accepts_scrape(server), "the port serves again", seconds=5)


def accepts_scrape(server: Running) -> bool:
    """Whether the metrics port answers."""
    with contextlib.suppress(OSError):
        return "greyd_requests_total" in scrape(server)
    return False


def test_a_slow_loris_on_the_metrics_port_disturbs_no_mail(watched: Running) -> None:
    with undisturbed(watched), contextlib.ExitStack() as connections:
        slow = [connect_to_metrics(watched, connections) for _ in range(100)]
        for byte in b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-A":
            for each in slow:
                with contextlib.suppress(ConnectionError):
                    each.sendall(bytes([byte]))
            time.sleep(0.01)


def test_garbage_on_the_metrics_port_disturbs_no_mail(watched: Running) -> None:
    chance = random.Random(5)
    much = b"x" * MIB
    with undisturbed(watched), contextlib.ExitStack() as connections:
        for garbage in (
            *(chance.randbytes(100_000) for _ in range(20)),
            b"GET " + b"/" * 100_000,
            b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000,
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n" + much,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + much,
            b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n" + b"x" * 1000,
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nxyz",
            b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0", b"\0",
            b"\r\n" * 10_000,
            b"HEAD /metrics HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n", encode(request()),
        ):  # fmt: skip
            with contextlib.suppress(ConnectionError, TimeoutError):
                connect_to_metrics(watched, connections).sendall(garbage)
    assert "Traceback" not in watched.log()
    assert "error: " not in watched.log()


def test_a_scraper_that_never_reads_disturbs_no_mail(watched: Running) -> None:
    asked = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000
    with undisturbed(watched), contextlib.ExitStack() as connections:
        for _ in range(5):
            deaf = connect_to_metrics(watched, connections)
            deaf.settimeout(0.2)
            deadline = time.monotonic() + 1
            with contextlib.suppress(ConnectionError, TimeoutError):
                while time.monotonic() < deadline:
                    deaf.send(asked)


def test_resets_on_the_metrics_port_disturb_no_mail(watched: Running) -> None:
    with undisturbed(watched):
        for number in range(200):
            with contextlib.ExitStack() as connections:
                each = connect_to_metrics(watched, connections)
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                each.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"[: number % 40])
    assert "Traceback" not in watched.log()


# The whitelist files ---------------------------------------------------------------------------


@pytest.fixture
def listing(tmp_path: Path) -> Iterator[tuple[Running, Path]]:
    """A greyd with a metrics port, and the file of its client whitelist, which holds one name."""
    file, metrics = tmp_path / "clients", free_port()
    file.write_text("first.example\n")
    options = (f"--whitelist-clients={file}", f"--metrics=127.0.0.1:{metrics}")
    with greyd(tmp_path, *options) as server:
        server.extra["metrics"] = metrics
        yield server, file


def is_whitelisted(server: Running, name: str) -> bool:
    """Whether a client of that name passes; each asks with an address of its own."""
    with PolicyClient(server.port) as client:
        reply = client.ask(request(client_name=name, client_address="203.0.113.77", sender=name))
    assert reply is not None
    return reply == "action=DUNNO"


@contextlib.contextmanager
def under_load(server: Running, what: str) -> Iterator[None]:
    """50 connections ask meanwhile, and none of them may notice anything."""
    with Load(server.port, connections=50) as load:
        yield
    figures(f"{what}: longest gap {load.longest_wait * 1000:.0f} ms in {len(load.waits)} answers")
    assert load.failures == []
    assert load.longest_wait < SLOWEST_ANSWER_SECONDS * slowness()
    # Nor is mail let through because the store had no time.
    assert "store away" not in server.log()


def reload_until(server: Running, name: str) -> None:
    """Send SIGHUP and wait until that client is whitelisted."""
    started = time.monotonic()
    server.signal(signal.SIGHUP)
    wait_until(lambda: is_whitelisted(server, name), "the list is in force", IN_FORCE_SECONDS)
    figures(f"in force after {time.monotonic() - started:.2f} s")


def reload_until_said(server: Running, text: str) -> None:
    """Send SIGHUP and wait until the log has said so once more."""
    before = server.log().count(text)
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.log().count(text) > before, text, IN_FORCE_SECONDS)


def test_a_changed_list_is_in_force_soon(listing: tuple[Running, Path]) -> None:
    server, file = listing
    assert is_whitelisted(server, "mx.first.example")
    with under_load(server, "changed"):
        file.write_text("second.example\n")
        reload_until(server, "mx.second.example")
        assert not is_whitelisted(server, "mx.first.example")


def test_a_broken_line_is_told_and_the_others_stand(listing: tuple[Running, Path]) -> None:
    server, file = listing
    with under_load(server, "broken"):
        file.write_bytes(
            b"/(unclosed/\n/(?<=look)behind/\n\x00\xff\xfe\nthree words here\n/[z-a]/\n"
            b"300.1.2.3/99\n" + b"a" * 100_000 + b"\n/" + b"(" * 5000 + b")" * 5000 + b"/\n"
            b"second.example\n"
        )
        reload_until(server, "mx.second.example")
    for line in (1, 2, 4, 5):
        has_said(server, f"{file}:{line}: ")


def test_a_list_of_100_000_lines_is_in_force_soon(listing: tuple[Running, Path]) -> None:
    server, file = listing
    lines = [f"host{number}.example.net" for number in range(60_000)]
    lines += [f"10.{n >> 8 & 255}.{n & 255}.0/24" for n in range(30_000)]
    lines += [f"2001:db8:{number:x}::/48" for number in range(9000)]
    lines += [rf"/^dyn-{number}\.pool\./" for number in range(1000)]
    large = file.with_name("large")
    large.write_text("\n".join(lines) + "\nlast.example\n")
    before = resident_bytes(server.process.pid)
    with under_load(server, "100,000 lines"):
        large.replace(file)
        reload_until(server, "mx.last.example")
        assert is_whitelisted(server, "host59999.example.net")
        assert is_whitelisted(server, "dyn-999.pool.example.net")
        once = resident_bytes(server.process.pid) - before
        for _ in range(3):
            reload_until_said(server, "whitelists: ")
    again = resident_bytes(server.process.pid) - before
    figures(f"memory {once / MIB:+.0f} MiB, after three more reloads {again / MIB:+.0f} MiB")
    # Old and new exist together for a moment, never three.
    assert again < 3 * once


def test_a_list_over_the_size_limit_keeps_the_old_one(listing: tuple[Running, Path]) -> None:
    server, file = listing
    with under_load(server, "over the limit"):
        with file.open("r+b") as opened:
            opened.truncate(64 * MIB)
        reload_until_said(server, "old whitelists stay in force")
        assert is_whitelisted(server, "mx.first.example")


UNREADABLE = ["gone", "folder", "loop", "forbidden", "endless"]


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_list_that_can_not_be_read_keeps_the_old_one(
    listing: tuple[Running, Path], how: str
) -> None:
    server, file = listing
    if how == "forbidden" and os.geteuid() == 0:
        pytest.skip("root may read anything")
    with under_load(server, how):
        make_unreadable(file, how)
        reload_until_said(server, "old whitelists stay in force")
        assert is_whitelisted(server, "mx.first.example")
        if how == "forbidden":
            file.chmod(0o600)
        elif how == "folder":
            file.rmdir()
        else:
            file.unlink(missing_ok=True)
        file.write_text("second.example\n")
        reload_until(server, "mx.second.example")
    page = scrape(server)
    assert 'greyd_whitelist_reloads_total{result="failure"} 1.0' in page
    assert 'greyd_whitelist_reloads_total{result="success"} 1.0' in page


def make_unreadable(file: Path, how: str) -> None:
    """Put something in the file's place that gives no list."""
    if how == "forbidden":
        file.chmod(0)
        return
    file.unlink()
    if how == "folder":
        file.mkdir()
    elif how == "loop":
        file.symlink_to(file)
    elif how == "endless":
        file.symlink_to("/dev/zero")


def test_a_pipe_without_a_writer_in_place_of_a_list_hangs_nothing(
    listing: tuple[Running, Path],
) -> None:
    server, file = listing
    with under_load(server, "pipe"):
        file.unlink()
        os.mkfifo(file)
        server.signal(signal.SIGHUP)
        time.sleep(0.3)
        file.unlink()
        file.write_text("second.example\n")
        reload_until(server, "mx.second.example")


def test_a_storm_of_reloads_ends_with_the_newest_list(listing: tuple[Running, Path]) -> None:
    server, file = listing
    with under_load(server, "storm"):
        for number in range(200):
            file.write_text(f"storm{number}.example\n")
            server.signal(signal.SIGHUP)
            time.sleep(0.005)
        file.write_text("second.example\n")
        reload_until(server, "mx.second.example")
