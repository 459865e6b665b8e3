"""What serves is started again when it meets an error nobody expects; the mail feels nothing."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.commands import answer_of, run
from tests.faults import faulty
from tests.integration.lives import (
    SOON_SECONDS,
    Datagrams,
    Load,
    ask,
    get,
    has_said,
    nothing_left_of,
)
from tests.processes import free_port, redis_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

ERRORS = {
    "OSError(5, 'Input/output error')": "OSError: [Errno 5] Input/output error",
    "MemoryError()": "MemoryError",
    "KeyError('unexpected')": "KeyError: 'unexpected'",
}
"""What is raised, and what the log says of it."""


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with nothing_left_of(tmp_path):
        yield


def errors_of(metrics: int, part: str) -> float:
    """Return how many internal errors of a part have been counted."""
    status, page = get(metrics, "/metrics")
    assert status == 200
    line = re.search(
        rf'^greyd_internal_errors_total\{{part="{re.escape(part)}"\}} (\S+)$', page, re.MULTILINE
    )
    assert line, part
    return float(line[1])


def has_reported(server: Running, metrics: int, part: str, error: str, outcome: str) -> None:
    """Wait until an error has been logged in one line, with its cause, and counted."""
    line = rf"^error: internal error, {part}: {re.escape(error)} \(\S+:\d+\); {outcome}$"
    wait_until(lambda: bool(re.search(line, server.log(), re.MULTILINE)), f"{line} in the log")
    wait_until(lambda: errors_of(metrics, part) >= 1, f"an error of {part} in the metrics")


def answers(server: Running) -> bool:
    """Whether mail is answered."""
    return (ask(server.port) or "").startswith("action=")


# Tasks ------------------------------------------------------------------------------------------


TASKS = {
    "control polling": "greyd.policy.control_poller:ControlPoller.poll",
    "whitelist hits": "greyd.whitelist.hits:HitCounter.store",
    "status page": "greyd.monitoring.web.status:StatusReporter.run",
    "connections": "greyd.server.connection_registry:ConnectionRegistry.close_idle",
    "store": "greyd.store.circuit_breaker:CircuitBreaker.run",
    "store size": "greyd.monitoring.store_size:StoreSizeMonitor.run",
}


@pytest.mark.parametrize(("raised", "error"), ERRORS.items())
def test_each_task_that_raises_is_logged_counted_and_started_again(
    tmp_path: Path, raised: str, error: str
) -> None:
    metrics = free_port()
    faults = dict.fromkeys(TASKS.values(), raised)
    option = f"--metrics=127.0.0.1:{metrics}"
    with faulty(tmp_path, faults, option, from_start=True) as (server, fault):
        for part in TASKS:
            has_reported(server, metrics, part, error, "restarting it in 1 s")
            has_reported(server, metrics, part, error, "restarting it in 2 s")
        assert answers(server)
        fault.end()
        counts = {part: errors_of(metrics, part) for part in TASKS}
        assert server.stop() == 0
        for part, count in counts.items():
            assert count == server.log().count(f"internal error, {part}: "), part
        assert "Traceback" not in server.log()


def test_a_mode_is_obeyed_after_an_error_in_the_polling(tmp_path: Path) -> None:
    metrics = free_port()
    faults = {"greyd.policy.control_poller:ControlPoller.poll": "KeyError('unexpected')"}
    with faulty(tmp_path, faults, f"--metrics=127.0.0.1:{metrics}") as (server, fault):
        fault.begin()
        has_said(server, "internal error, control polling: KeyError")
        done = run("mode", "off", f"--store=sqlite:{tmp_path / 'greyd.db'}")
        assert done.returncode == 2
        assert "not in force on server " in done.stdout
        assert (ask(server.port) or "").startswith("action=DEFER_IF_PERMIT")
        fault.end()
        has_said(server, "mode off, by ")
        assert ask(server.port, sender="another@example.com") == "action=DUNNO"


def test_hits_that_could_not_be_stored_are_stored_after_the_error(tmp_path: Path) -> None:
    (clients := tmp_path / "clients").write_text("friend.example.net\n")
    options = ["--metrics=0", f"--whitelist-clients={clients}"]
    faults = {"greyd.whitelist.hits:_add": "KeyError('unexpected')"}
    store = f"--store=sqlite:{tmp_path / 'greyd.db'}"
    with faulty(tmp_path, faults, *options, from_start=True) as (server, fault):
        assert ask(server.port, client_name="friend.example.net") == "action=DUNNO"
        has_said(server, "internal error, whitelist hits: KeyError", times=2)
        fault.end()
        environment = {
            "GREYD_WHITELIST_CLIENTS": str(clients),
            "GREYD_WHITELIST_RECIPIENTS": "/dev/null",
        }
        wait_until(
            lambda: (
                answer_of("check-whitelist", "--hits", store, **environment)["since"] is not None
            ),
            "hits in the store",
        )


def test_a_look_through_the_store_that_fails_leaves_the_page_without_it(tmp_path: Path) -> None:
    metrics = free_port()
    faults = {"greyd.monitoring.web.status:summarize_store": "KeyError('unexpected')"}
    with faulty(tmp_path, faults, f"--metrics=127.0.0.1:{metrics}") as (server, fault):
        has_said(server, "listens on")
        fault.begin()
        for _ in range(3):
            assert get(metrics, "/")[0] == 200
        outcome = "the page shows the last summary"
        has_reported(server, metrics, "status page", "KeyError: 'unexpected'", outcome)
        assert errors_of(metrics, "status page") == 1, "not once for each reader"
        fault.end()
        wait_until(lambda: "the store is empty" in get(metrics, "/")[1], "the store's part")


def test_the_probing_of_a_store_that_is_away_goes_on_after_an_error(tmp_path: Path) -> None:
    metrics = free_port()
    faults = {"greyd.store.circuit_breaker:_actionable_reason": "KeyError('unexpected')"}
    with redis_server(tmp_path / "redis") as redis:
        options = [f"--metrics=127.0.0.1:{metrics}", f"--store=redis://127.0.0.1:{redis.port}/0"]
        with faulty(tmp_path, faults, *options) as (server, fault):
            has_said(server, "listens on")
            fault.begin()
            redis.stop()
            ask(server.port)
            error = "KeyError: 'unexpected'"
            has_reported(server, metrics, "store", error, "restarting it in 1 s")
            with redis_server(tmp_path / "redis", port=redis.port):
                fault.end()
                has_said(server, "the store is back")
                sender = "after@example.com"
                assert (ask(server.port, sender=sender) or "").startswith("action=DEFER_IF_PERMIT")


# Callbacks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "function", "outcome"),
    [
        ("connections", "greyd.policy.protocol:RequestParser.feed", "closing this connection"),
        ("event loop", "greyd.server.connection_registry:ConnectionRegistry.remove", ".*"),
        ("requests", "greyd.policy.policy:Policy.now", "the mail passes"),
        ("DNS", "greyd.dns.collector:DnsEvidenceCollector._combine", "continuing without DNS"),
        ("metrics port", "greyd.monitoring.web.status:server_stats", "the page cannot be made"),
    ],
)
def test_a_callback_that_raises_is_logged_and_counted(
    tmp_path: Path, part: str, function: str, outcome: str
) -> None:
    metrics = free_port()
    options = [f"--metrics=127.0.0.1:{metrics}", "--identity=name", "--resolver=127.0.0.1:9"]
    with faulty(tmp_path, {function: "KeyError('unexpected')"}, *options) as (server, fault):
        has_said(server, "listens on")
        fault.begin()
        ask(server.port)
        if part == "metrics port":
            assert get(metrics, "/stats.json")[0] == 500
        has_reported(server, metrics, part, "KeyError: 'unexpected'", outcome)
        fault.end()
        assert answers(server)
        assert server.stop() == 0


# Threads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        *ERRORS.items(),
        ("StopIteration()", "RuntimeError: StopIteration"),
        ("SystemExit(3)", "RuntimeError: SystemExit: 3"),
    ],
)
def test_a_reload_that_raises_keeps_the_old_lists_and_systemd_hears_that_greyd_is_ready(
    tmp_path: Path, raised: str, error: str
) -> None:
    reload_fails(tmp_path, "greyd.whitelist.files:read_whitelist_files", raised, error)


def test_a_reload_for_which_there_is_no_thread_is_one_that_failed(tmp_path: Path) -> None:
    raised = 'RuntimeError("can\'t start new thread")'
    reload_fails(tmp_path, "threading:Thread.start", raised, "RuntimeError: can't start new thread")


def reload_fails(folder: Path, function: str, raised: str, error: str) -> None:
    """Reload while there is a fault, and again when there is none."""
    metrics = free_port()
    (clients := folder / "clients").write_text("old.example.net\n")
    options = [f"--metrics=127.0.0.1:{metrics}", f"--whitelist-clients={clients}"]
    told = {"NOTIFY_SOCKET": str(folder / "notify")}
    with (
        Datagrams(folder / "notify") as systemd,
        faulty(folder, {function: raised}, *options, environment=told) as (server, fault),
    ):
        has_said(server, "listens on")
        systemd.wait_for("READY=1")
        clients.write_text("new.example.net\n")
        fault.begin()
        server.signal(signal.SIGHUP)
        has_said(server, f"internal error, reload: {error}")
        systemd.wait_for("READY=1", times=2)
        fault.end()
        assert errors_of(metrics, "reload") == 1
        page = get(metrics, "/metrics")[1]
        assert 'greyd_whitelist_reloads_total{result="failure"} 1.0' in page
        assert "greyd_whitelist_last_read_successful 0.0" in page
        assert ask(server.port, client_name="old.example.net") == "action=DUNNO"
        server.signal(signal.SIGHUP)
        systemd.wait_for("READY=1", times=3)
        assert ask(server.port, client_name="new.example.net") == "action=DUNNO"
        assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_does_not_wait_for_a_reload_and_answers_all(tmp_path: Path, workers: int) -> None:
    faults = {"greyd.server.reload:reload_whitelists": "time.sleep(60)"}
    options = ["--metrics=0", f"--workers={workers}"]
    with faulty(tmp_path, faults, *options) as (server, fault):
        has_said(server, "listens on", times=workers)
        with Load(server.port, connections=10) as load:
            fault.begin()
            server.signal(signal.SIGHUP)
            has_said(server, "HUP received", times=workers)
            load.wait_for_answers(100)
            signalled_at = time.monotonic()
            server.signal(signal.SIGTERM)
            assert server.process.wait(SOON_SECONDS) == 0
            load.stop()
            assert not load.unanswered(before=signalled_at)
        assert "Traceback" not in server.log()


@pytest.mark.parametrize(("raised", "error"), list(ERRORS.items())[1:])
def test_an_error_in_the_log_s_thread_costs_lines_and_says_so(
    tmp_path: Path, raised: str, error: str
) -> None:
    metrics = free_port()
    faults = {"greyd.monitoring.log:StreamSink.write": raised}
    with faulty(tmp_path, faults, f"--metrics=127.0.0.1:{metrics}") as (server, fault):
        has_said(server, "listens on")
        fault.begin()
        assert answers(server)
        wait_until(lambda: errors_of(metrics, "log") >= 1, "the error in the metrics")
        fault.end()
        has_reported(server, metrics, "log", error, r"lines are lost; going on in \d s")
        has_said(server, "log lines were dropped")
        ask(server.port, sender="after@example.com")
        has_said(server, "sender=after@example.com")
        assert server.stop() == 0


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("part", "thread", "function"),
    [
        ("store", "sqlite", "greyd.store.sqlite.store:SqliteStore._work"),
        ("store", "checkpoint", "greyd.store.sqlite.checkpointer:Checkpointer.run"),
        ("log", "log", "greyd.monitoring.log:Log._write_all"),
    ],
)
def test_a_thread_that_is_gone_for_good_ends_the_process_with_status_1(
    tmp_path: Path, part: str, thread: str, function: str, workers: int
) -> None:
    metrics = free_port()
    options = [f"--metrics=127.0.0.1:{metrics}", f"--workers={workers}"]
    with faulty(tmp_path, {function: "SystemExit(1)"}, *options, from_start=True) as (
        server,
        fault,
    ):
        if workers == 1:
            assert server.process.wait(30) == 1
        else:
            has_said(server, "has ended with status 1; starting another in ")
            fault.end()
            assert answers(server)
            wait_until(lambda: errors_of(metrics, "workers") >= 1, "the worker's end")
            assert server.stop() == 0
        if part != "log":
            assert (
                f"error: internal error, {part}: RuntimeError: the thread {thread} does not run;"
                " it can't be restarted; stopping greyd\n"
            ) in server.log()


def test_a_start_for_which_there_is_no_thread_ends_with_one_line_and_status_1(
    tmp_path: Path,
) -> None:
    raised = 'RuntimeError("can\'t start new thread")'
    with faulty(tmp_path, {"threading:Thread.start": raised}, from_start=True) as (server, _):
        assert server.process.wait(30) == 1
        line = r"greyd: internal error: RuntimeError: can't start new thread \(\S+:\d+\)\n"
        assert re.fullmatch(line, server.log())


# The end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "function"),
    [
        ("whitelist hits", "greyd.whitelist.hits:HitCounter.store"),
        ("DNS", "greyd.dns.resolver:Resolver.close"),
        ("store", "greyd.store.circuit_breaker:CircuitBreaker.close"),
    ],
)
def test_a_step_of_the_stop_that_fails_does_not_keep_the_others_from_being_done(
    tmp_path: Path, part: str, function: str
) -> None:
    options = ["--metrics=0", "--identity=spf", "--resolver=127.0.0.1:9"]
    with faulty(tmp_path, {function: "KeyError('unexpected')"}, *options) as (server, fault):
        has_said(server, "listens on")
        fault.begin()
        assert server.stop() == 0
        assert re.search(
            rf"internal error, {part}: KeyError: .*; stopping all the same", server.log()
        )
        assert "Traceback" not in server.log()
