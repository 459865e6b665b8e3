"""A worker that ends, or can't be had, at any moment: the others go on, and the log says why."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.faults import Faults, faulty
from tests.integration.lives import (
    Datagrams,
    ask,
    get,
    has_said,
    nothing_left_of,
    processes_of,
    workers_of,
)
from tests.integration.test_supervision import answers, errors_of
from tests.processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.processes import Running

pytestmark = pytest.mark.integration

LISTS = "greyd.server.serve:load_whitelists"
"""What a worker does before it is ready."""


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with nothing_left_of(tmp_path):
        yield


@contextlib.contextmanager
def two_workers(
    folder: Path,
    faults: Mapping[str, str],
    *,
    environment: Mapping[str, str] | None = None,
    from_start: bool = False,
) -> Iterator[tuple[Running, Faults, int]]:
    """Run greyd with two workers; also yields the metrics port."""
    metrics = free_port()
    (temporary := folder / "tmp").mkdir(exist_ok=True)
    told = {"TMPDIR": str(temporary), **(environment or {})}
    options = ["--workers=2", f"--metrics=127.0.0.1:{metrics}"]
    with faulty(folder, faults, *options, environment=told, from_start=from_start) as (
        server,
        fault,
    ):
        if not from_start:
            both_serve(server)
        yield server, fault, metrics


def both_serve(server: Running, since: int = 0) -> None:
    """Wait until two workers are ready, after so many were before."""
    has_said(server, "listens on", times=since + 2)
    assert len(workers_of(server.process.pid)) == 2


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def ends(server: Running) -> int:
    """Wait until greyd has ended by itself; returns its exit status."""
    return server.process.wait(30)


def refuses(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


# No process to be had ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        ("BlockingIOError(11, 'Resource temporarily unavailable')", "[Errno 11] Resource temp"),
        ("OSError(12, 'Cannot allocate memory')", "[Errno 12] Cannot allocate memory"),
        ("MemoryError()", "MemoryError"),
    ],
)
def test_a_fork_that_fails_is_tried_again_and_the_other_worker_serves_meanwhile(
    tmp_path: Path, raised: str, error: str
) -> None:
    with two_workers(tmp_path, {"os:fork": raised}) as (server, fault, metrics):
        victim, other = workers_of(server.process.pid)
        fault.begin()
        kill(victim)
        has_said(server, f"error: worker {victim} was killed by SIGKILL; starting another in 1 s")
        has_said(server, f"error: no process for a worker: {error}")
        has_said(server, "starting another in 4 s")
        assert workers_of(server.process.pid) == [other]
        assert answers(server)
        # The first death and two forks.
        wait_until(lambda: errors_of(metrics, "workers") == 3, "three failures in the metrics")
        fault.end()
        both_serve(server, since=1)
        assert other in workers_of(server.process.pid)
        assert server.stop() == 0
        assert "Traceback" not in server.log()


def test_when_no_worker_can_be_had_any_more_greyd_ends_and_clients_are_refused(
    tmp_path: Path,
) -> None:
    raised = "OSError(12, 'Cannot allocate memory')"
    with two_workers(tmp_path, {"os:fork": raised}) as (server, fault, _):
        fault.begin()
        for worker in workers_of(server.process.pid):
            kill(worker)
        assert ends(server) == 1
        assert refuses(server.port)
        assert server.log().endswith(
            "error: no process for a worker: [Errno 12] Cannot allocate memory;"
            " no worker can be started, so greyd ends\n"
        )
        assert not processes_of(tmp_path)


def test_workers_that_all_die_are_waited_for_by_the_clients(tmp_path: Path) -> None:
    with two_workers(tmp_path, {}) as (server, _, metrics):
        for worker in workers_of(server.process.pid):
            kill(worker)
        assert (ask(server.port) or "").startswith("action=DEFER_IF_PERMIT")
        both_serve(server, since=2)
        wait_until(lambda: errors_of(metrics, "workers") >= 1, "their end in the metrics")


def test_a_fork_that_fails_at_the_start_is_tried_again(tmp_path: Path) -> None:
    raised = "on_call(2, OSError(11, 'Resource temporarily unavailable'))"
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with (
        Datagrams(tmp_path / "notify") as systemd,
        two_workers(tmp_path, {"os:fork": raised}, environment=told, from_start=True) as (
            server,
            _,
            __,
        ),
    ):
        systemd.wait_for("READY=1")
        has_said(server, "no process for a worker: [Errno 11]")
        both_serve(server)


def test_where_no_process_can_be_had_at_the_start_greyd_ends_with_one_line(tmp_path: Path) -> None:
    raised = "OSError(12, 'Cannot allocate memory')"
    with two_workers(tmp_path, {"os:fork": raised}, from_start=True) as (server, _, __):
        assert ends(server) == 1
        assert server.log().endswith(
            "greyd: no process for a worker: [Errno 12] Cannot allocate memory;"
            " no worker can be started, so greyd ends\n"
        )


# The death of a worker, at each moment ----------------------------------------------------------


def test_one_killed_while_it_starts_is_replaced(tmp_path: Path) -> None:
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    faults = {LISTS: "time.sleep(600)"}
    with (
        Datagrams(tmp_path / "notify") as systemd,
        two_workers(tmp_path, faults, environment=told, from_start=True) as (server, fault, _),
    ):
        wait_until(lambda: len(workers_of(server.process.pid)) == 2, "two workers")
        victims = workers_of(server.process.pid)
        fault.end()
        for victim in victims:
            kill(victim)
            has_said(server, f"worker {victim} was killed by SIGKILL; starting another in ")
        systemd.wait_for("READY=1")
        both_serve(server)
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        ("KeyError('unexpected')", r"KeyError: 'unexpected' \(\S+:\d+\)"),
        ("MemoryError()", r"MemoryError \(\S+:\d+\)"),
        ("StoreError('nowhere')", "nowhere"),
    ],
)
def test_one_that_fails_before_it_is_ready_is_tried_again_and_the_log_has_its_reason(
    tmp_path: Path, raised: str, reason: str
) -> None:
    with two_workers(tmp_path, {LISTS: raised}) as (server, fault, metrics):
        victim, other = workers_of(server.process.pid)
        fault.begin()
        kill(victim)
        line = rf"^error: worker \d+ has ended: {reason}; starting another in [24] s$"
        wait_until(lambda: bool(re.search(line, server.log(), re.MULTILINE)), line)
        assert answers(server)
        assert errors_of(metrics, "workers") >= 2
        fault.end()
        both_serve(server, since=1)
        assert other in workers_of(server.process.pid)


@pytest.mark.parametrize("number", [1, 2])
def test_what_any_worker_lacks_at_the_start_is_said_once_and_nothing_serves(
    tmp_path: Path, number: int
) -> None:
    raised = f"on_call({number}, StoreError('no store for this one'))"
    with two_workers(tmp_path, {LISTS: raised}, from_start=True) as (server, _, __):
        assert ends(server) == 2
        assert server.log().count("greyd: no store for this one\n") == 1
        assert "Traceback" not in server.log()
        assert refuses(server.port)


def test_an_unexpected_error_of_all_workers_at_the_start_ends_greyd_with_its_reason(
    tmp_path: Path,
) -> None:
    faults = {LISTS: "KeyError('unexpected')"}
    with two_workers(tmp_path, faults, from_start=True) as (server, _, __):
        assert ends(server) == 1
        line = (
            r"^greyd: worker \d+ has ended: KeyError: 'unexpected' .*; no worker can be started, "
        )
        assert re.search(line, server.log(), re.MULTILINE)


def test_one_killed_while_it_reloads_is_replaced_and_the_next_reload_reaches_all(
    tmp_path: Path,
) -> None:
    faults = {"greyd.server.reload:reload_whitelists": "time.sleep(600)"}
    with two_workers(tmp_path, faults) as (server, fault, metrics):
        fault.begin()
        server.signal(signal.SIGHUP)
        has_said(server, "HUP received", times=2)
        fault.end()
        for victim in workers_of(server.process.pid):
            kill(victim)
        both_serve(server, since=2)
        server.signal(signal.SIGHUP)
        reloads = r'^greyd_whitelist_reloads_total\{result="success"\} 2\.0$'
        wait_until(
            lambda: bool(re.search(reloads, get(metrics, "/metrics")[1], re.MULTILINE)), reloads
        )


def test_one_killed_while_it_stops_is_told_of_and_the_stop_is_none_the_less_one(
    tmp_path: Path,
) -> None:
    with two_workers(tmp_path, {}) as (server, _, __):
        victim, other = workers_of(server.process.pid)
        os.kill(victim, signal.SIGSTOP)
        server.signal(signal.SIGTERM)
        wait_until(lambda: other not in workers_of(server.process.pid), "the other's end")
        kill(victim)
        assert ends(server) == 0
        has_said(server, f"error: worker {victim} was killed by SIGKILL while it was to stop")


def test_one_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    with two_workers(tmp_path, {}) as (server, _, __):
        os.kill(workers_of(server.process.pid)[0], signal.SIGSTOP)
        server.signal(signal.SIGTERM)
        assert ends(server) == 0
        has_said(server, "error: 1 workers do not stop; killing them")


# The folder of the metrics ----------------------------------------------------------------------


def metrics_folder(temporary: Path) -> Path:
    (folder,) = temporary.iterdir()
    return folder


@pytest.mark.parametrize("what", ["the folder", "its files"])
def test_metrics_that_somebody_removes_are_there_again_after_a_while(
    tmp_path: Path, what: str
) -> None:
    with two_workers(tmp_path, {}) as (server, _, metrics):
        before = workers_of(server.process.pid)
        folder = metrics_folder(tmp_path / "tmp")
        if what == "the folder":
            shutil.rmtree(folder)
        else:
            for file in folder.iterdir():
                file.unlink()

        def all_are_new() -> bool:
            assert get(metrics, "/readyz")[0] == 200, "it is ready all the while"
            assert answers(server)
            return not set(before) & set(workers_of(server.process.pid))

        wait_until(all_are_new, "new workers", 40)
        both_serve(server, since=2)
        if what == "the folder":
            has_said(server, f"warning: {folder}, the folder of the metrics, is gone; using ")
        has_said(server, "has lost its metrics; restarting it", times=2)
        before = workers_of(server.process.pid)
        kill(before[0])
        both_serve(server, since=3)
        wait_until(lambda: errors_of(metrics, "workers") == 1, "the one that was killed")
        assert server.stop() == 0
    assert not list((tmp_path / "tmp").iterdir())


def test_where_no_folder_can_be_made_the_workers_go_on_without(tmp_path: Path) -> None:
    with two_workers(tmp_path, {}) as (server, _, metrics):
        before = workers_of(server.process.pid)
        shutil.rmtree(tmp_path / "tmp")
        has_said(server, "is gone, and no other can be made: [Errno 2] No such file or directory")
        assert workers_of(server.process.pid) == before
        assert answers(server)
        assert get(metrics, "/readyz") == (200, "ready\n")
        kill(before[0])
        line = r"error: worker \d+ has ended: FileNotFoundError: "
        wait_until(lambda: bool(re.search(line, server.log())), "the reason why it can't start")
        assert answers(server)
        (tmp_path / "tmp").mkdir()
        has_said(server, "is gone; using ", times=1)
        both_serve(server, since=2)


def test_the_folder_is_in_the_runtime_folder_of_the_service(tmp_path: Path) -> None:
    (runtime := tmp_path / "run").mkdir()
    told = {"RUNTIME_DIRECTORY": f"{runtime}:/nowhere"}
    with two_workers(tmp_path, {}, environment=told) as (server, _, __):
        assert list(runtime.iterdir())
        assert not list((tmp_path / "tmp").iterdir())
        assert server.stop() == 0
    assert not list(runtime.iterdir())
