"""Several processes that answer on one port, count as one, and stand in for each other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from greyd.store.sqlite.store import SqliteStore
from tests.integration.lives import (
    SOON_SECONDS,
    Load,
    ask,
    get,
    has_said,
    lives,
    nothing_left_of,
    processes_of,
    ready,
    serve,
    workers_of,
)
from tests.processes import (
    PolicyClient,
    Running,
    encode,
    free_port,
    redis_server,
    request,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = pytest.mark.integration

DELAY = 60
START = 1_000_000
"""A time to begin at, on the tests' own clock (``--test-time``)."""


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with nothing_left_of(tmp_path):
        yield


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """Options that name a store which several processes can share."""
    if request.param == "sqlite":
        yield []
        return
    with redis_server(tmp_path) as redis:
        yield [f"--store=redis://127.0.0.1:{redis.port}/0"]


@contextlib.contextmanager
def with_workers(folder: Path, number: int, *options: str) -> Iterator[Running]:
    """Run greyd with workers and metrics; its ``extra`` has the metrics port and the database."""
    metrics = free_port()
    named = [f"--workers={number}", f"--metrics=127.0.0.1:{metrics}"]
    # What a killed server leaves of its counters is to go with the test.
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    with ready(folder, *named, *options, environment={"TMPDIR": str(temporary)}) as server:
        wait_until(lambda: get(metrics, "/healthz")[0] == 200, "the metrics port")
        server.extra |= {"metrics": metrics, "database": folder / "greyd.db"}
        has_said(server, "listens on", times=number)
        assert len(workers_of(server.process.pid)) == number
        yield server


def page(server: Running) -> str:
    """Return /metrics."""
    status, body = get(int(server.extra["metrics"]), "/metrics")
    assert status == 200
    return body


def value(server: Running, series: str) -> float:
    """Return the value of one series."""
    line = re.search(rf"^{re.escape(series)} (\S+)$", page(server), re.MULTILINE)
    assert line, series
    return float(line[1])


def answered(server: Running) -> float:
    """Return how many requests have been answered, by all workers."""
    counts = re.findall(r"^greyd_requests_total\{.*\} (\S+)$", page(server), re.MULTILINE)
    return sum(float(count) for count in counts)


@contextlib.contextmanager
def connections_to_each(server: Running, number: int) -> Iterator[list[PolicyClient]]:
    """Yield connections to each worker, one worker's after the other's.

    Who accepts a connection is up to the kernel, so for each the other workers are held.
    """
    workers = workers_of(server.process.pid)
    with contextlib.ExitStack() as ends:
        clients = []
        for worker in workers:
            others = [each for each in workers if each != worker]
            with held(server, others):
                for _ in range(number):
                    client = ends.enter_context(PolicyClient(server.port))
                    assert client.ask(request(sasl_username="somebody")) == "action=DUNNO"
                    clients.append(client)
        yield clients


@contextlib.contextmanager
def held(server: Running, workers: Sequence[int]) -> Iterator[None]:
    """Stop workers for a while (SIGSTOP), at a moment when none of them holds the database."""
    try:
        while True:
            signal_all(workers, signal.SIGSTOP)
            if is_free(Path(server.extra["database"])):
                break
            signal_all(workers, signal.SIGCONT)
            time.sleep(0.01)
        yield
    finally:
        signal_all(workers, signal.SIGCONT)


def signal_all(processes: Sequence[int], number: signal.Signals) -> None:
    """Send all of them a signal; one that has ended meanwhile needs none."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def is_free(database: Path) -> bool:
    """Whether nobody is in the middle of a write."""
    if not database.exists():
        return True
    with contextlib.closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as looking:
        try:
            looking.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        looking.execute("ROLLBACK")
    return True


def at_once(clients: Sequence[PolicyClient], ask: Callable[[int], bytes]) -> list[str]:
    """Ask over all connections in the same moment; returns the replies."""
    replies: list[bytes | None] = [None] * len(clients)
    start = threading.Barrier(len(clients))

    def one(number: int) -> None:
        start.wait()
        clients[number].send(ask(number))
        replies[number] = clients[number].reply()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert None not in replies
    return [(reply or b"").decode() for reply in replies]


# Answering and counting -------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 3])
def test_each_worker_answers_on_the_one_port(tmp_path: Path, number: int) -> None:
    with with_workers(tmp_path, number) as server, connections_to_each(server, 1) as clients:
        assert len(clients) == number
        assert answered(server) == number


@pytest.mark.parametrize("number", [2, 3])
def test_counters_equal_the_answers_of_all_workers_exactly(
    tmp_path: Path, number: int, store: list[str]
) -> None:
    with with_workers(tmp_path, number, *store) as server, Load(server.port) as load:
        load.wait_for_answers(300)
        load.stop()
        assert not load.troubles
        assert "store away" not in server.log()
        assert {each.reply[:13] for each in load.asked if each.reply} == {b"action=DEFER_"}
        assert answered(server) == len(load.asked)
        new = value(server, 'greyd_requests_total{action="greylist",reason="new"}')
        assert new == len(load.asked)
        assert value(server, "greyd_request_duration_seconds_count") == len(load.asked)
        # Whichever worker the question comes to, the answer is the same.
        assert {answered(server) for _ in range(20)} == {float(len(load.asked))}


def test_whichever_worker_is_asked_tells_for_all(tmp_path: Path) -> None:
    with with_workers(tmp_path, 2) as server, connections_to_each(server, 3):
        for worker in workers_of(server.process.pid):
            others = [each for each in workers_of(server.process.pid) if each != worker]
            with held(server, others):
                assert answered(server) == 6
                assert value(server, "greyd_connections") == 6
                assert get(int(server.extra["metrics"]), "/readyz") == (200, "ready\n")
                assert get(int(server.extra["metrics"]), "/healthz") == (200, "ok\n")


def test_every_series_is_there_at_the_start(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    metrics = free_port()
    with with_workers(tmp_path, 2) as server:
        body = page(server)
        with ready(alone, f"--metrics=127.0.0.1:{metrics}"):
            one_process = get(metrics, "/metrics")[1]
    # What a process uses does not add up, so several workers do not show it.
    names = re.compile(r"^((?!process_)\w+(?:\{[^}]*\})?) ", re.MULTILINE)
    assert sorted(names.findall(body)) == sorted(names.findall(one_process))
    assert "store away" not in server.log()
    assert "greyd_store_up 1.0" in body
    assert re.search(r'greyd_build_info\{version="[^"]+"\} 1\.0', body)
    assert "pid=" not in body


# Standing in for each other ---------------------------------------------------------------------


def test_a_killed_worker_is_replaced_and_its_counts_stay(tmp_path: Path, store: list[str]) -> None:
    with with_workers(tmp_path, 2, *store) as server:
        before = workers_of(server.process.pid)
        with connections_to_each(server, 10):
            assert answered(server) == 20
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: before[0] not in workers_of(server.process.pid), "its end")
        # The other one takes all that comes meanwhile.
        assert (ask(server.port) or "").startswith("action=DEFER_IF_PERMIT")
        wait_until(lambda: len(workers_of(server.process.pid)) == 2, "a new worker")
        has_said(server, f"worker {before[0]} was killed by SIGKILL; starting another in 1 s")
        has_said(server, "listens on", times=3)
        with connections_to_each(server, 1):
            assert answered(server) == 23
            wait_until(lambda: value(server, "greyd_connections") == 2, "no more than two open")
        assert value(server, "greyd_store_up") == 1
        assert get(int(server.extra["metrics"]), "/readyz")[0] == 200
        assert value(server, 'greyd_whitelist_entries{list="clients"}') == 0
        assert server.stop() == 0


def test_workers_killed_under_load_cost_no_more_than_their_own_connections(tmp_path: Path) -> None:
    with with_workers(tmp_path, 2) as server:
        victim, other = workers_of(server.process.pid)
        # Those whom the other worker serves must not notice.
        with held(server, [victim]):
            load = Load(server.port, connections=20).start()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in workers_of(server.process.pid), "its end")
        wait_until(lambda: len(workers_of(server.process.pid)) == 2, "a new worker")
        assert other in workers_of(server.process.pid)
        load.stop()
        assert not load.troubles


def test_a_stop_while_a_worker_is_being_replaced_is_a_stop(tmp_path: Path) -> None:
    with with_workers(tmp_path, 2) as server:
        victim = workers_of(server.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in workers_of(server.process.pid), "its end")
        server.signal(signal.SIGTERM)
        assert server.process.wait(SOON_SECONDS) == 0
        assert not processes_of(tmp_path)
        assert "greyd: " not in server.log()
        read_whitelists = server.log().count("whitelists: ")
        assert read_whitelists == 2, "nobody is started only to be stopped"


def test_workers_end_when_the_process_that_watches_over_them_is_killed(tmp_path: Path) -> None:
    # They would hold the port, and greyd could not be started again.
    with with_workers(tmp_path, 2) as server:
        workers = workers_of(server.process.pid)
        server.process.kill()
        server.process.wait(SOON_SECONDS)
        wait_until(lambda: not any(lives(worker) for worker in workers), "their end", SOON_SECONDS)
    with ready(tmp_path, port=server.port) as again:
        assert ask(again.port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_under_load_ends_all_and_answers_all(
    tmp_path: Path, number: signal.Signals, store: list[str]
) -> None:
    with with_workers(tmp_path, 3, *store) as server, Load(server.port) as load:
        signalled_at = time.monotonic()
        server.signal(number)
        assert server.process.wait(SOON_SECONDS) == 0
        load.stop()
        assert not load.unanswered(before=signalled_at)
        assert not [pid for pid in processes_of(tmp_path) if "redis" not in command_of(pid)]


def command_of(pid: int) -> str:
    """Return a process's command line."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def test_ctrl_c_in_a_terminal_reaches_all_processes_and_ends_them(tmp_path: Path) -> None:
    # A terminal signals the whole group, so the workers hear it twice.
    with with_workers(tmp_path, 2) as server:
        for pid in [*workers_of(server.process.pid), server.process.pid]:
            os.kill(pid, signal.SIGINT)
        assert server.process.wait(SOON_SECONDS) == 0
        assert "Traceback" not in server.log()


def test_the_folder_of_the_counters_goes_with_the_server(tmp_path: Path) -> None:
    with with_workers(tmp_path, 2) as server:
        assert list((tmp_path / "tmp").iterdir())
        assert server.stop() == 0
    assert not list((tmp_path / "tmp").iterdir())


# Signals and stores -----------------------------------------------------------------------------


def test_a_hup_reaches_all_workers(tmp_path: Path) -> None:
    clients = tmp_path / "clients"
    clients.write_text("")
    with with_workers(tmp_path, 3, f"--whitelist-clients={clients}") as server:
        clients.write_text("friend.example.net\n")
        server.signal(signal.SIGHUP)
        reloads = 'greyd_whitelist_reloads_total{result="success"}'
        wait_until(lambda: value(server, reloads) == 3, "all three", SOON_SECONDS)
        with connections_to_each(server, 1) as asking:
            for client in asking:
                assert client.ask(request(client_name="friend.example.net")) == "action=DUNNO"
        hits = value(server, 'greyd_requests_total{action="pass",reason="client whitelist"}')
        assert hits == 3
        assert value(server, 'greyd_whitelist_entries{list="clients"}') == 1


def test_a_memory_of_its_own_for_each_worker_is_refused() -> None:
    refused = serve("--workers=2", "--store=memory://", "--metrics=0")
    assert refused.status == 2
    assert refused.errors.startswith("greyd: --workers: processes cannot share memory://; ")
    assert refused.errors.count("\n") == 1


def test_a_database_that_another_worker_is_just_making_is_waited_for(tmp_path: Path) -> None:
    # SQLite itself does not wait here: switching a new file to WAL fails at once.
    file = tmp_path / "greyd.db"

    async def open_while_another_writes() -> None:
        store = SqliteStore(str(file))
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as another:
            # Nothing is in it yet, so it is nobody else's.
            another.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.05, another.execute, "ROLLBACK")
            await store.transact([b"key"], lambda _remembered: (None, []))
        await store.close()

    asyncio.run(open_while_another_writes())


def test_workers_that_race_for_a_new_triplet_agree_on_when_it_was_first_seen(
    tmp_path: Path, store: list[str]
) -> None:
    options = ["--test-time", f"--delay={DELAY}", "--greylist-text=wait %s", *store]
    with (
        with_workers(tmp_path, 2, *options) as server,
        connections_to_each(server, 10) as clients,
    ):
        for turn in range(10):
            sender = f"turn{'abcdefghij'[turn]}@example.com"

            def question(number: int, sender: str = sender) -> bytes:
                return encode(request(sender=sender, policy_test_time=str(START + number)))

            # Whoever is first, the earliest time is the first sight in the end.
            replies = at_once(clients, question)
            assert {reply[:32] for reply in replies} == {"action=DEFER_IF_PERMIT 4.2.0 wai"}
            for client, missing in ((clients[0], 1), (clients[-1], 1)):
                reply = client.ask(request(sender=sender, policy_test_time=str(START + DELAY - 1)))
                assert reply == f"action=DEFER_IF_PERMIT 4.2.0 wait {missing}"


def test_workers_that_race_for_the_first_pass_add_one_header_and_one_count(
    tmp_path: Path, store: list[str]
) -> None:
    threshold = 2
    options = [
        "--test-time", f"--delay={DELAY}", f"--auto-whitelist-clients={threshold}", *store,
    ]  # fmt: skip
    with (
        with_workers(tmp_path, 2, *options) as server,
        connections_to_each(server, 10) as clients,
    ):
        for turn in range(5):
            address = f"198.51.{turn}.7"

            def question(number: int, at: int, same: bool, address: str = address) -> bytes:
                recipient = "same@example.org" if same else f"user{number}@example.org"
                return encode(
                    request(
                        client_address=address,
                        recipient=recipient,
                        policy_test_time=str(at),
                        instance=f"{address}.{number}",
                    )
                )

            at_once(clients, lambda number: question(number, START, same=True))
            passed = at_once(clients, lambda number: question(number, START + DELAY, same=True))
            headers = [reply for reply in passed if reply.startswith("action=PREPEND X-Greylist")]
            assert len(headers) == 1, "one first pass, one header"
            assert passed.count("action=DUNNO") == len(clients) - 1

            # Twenty triplets pass at once, within the hour in which a client counts once.
            at_once(clients, lambda number: question(number, START + 100, same=False))
            at_once(clients, lambda number: question(number, START + 100 + DELAY, same=False))
        awl = 'greyd_requests_total{action="pass",reason="client AWL"}'
        assert value(server, awl) == 0, "no client has two counts"
        assert value(server, "greyd_auto_whitelisted_clients_total") == 0
        assert value(server, "greyd_greylist_delay_seconds_count") == 5 * (1 + len(clients))
