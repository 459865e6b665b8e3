"""Serves in several processes: a supervisor, and workers that share its sockets.

The supervisor has no threads and no event loop, so it can fork a new worker at any time. Each
worker writes its metrics to files, which prometheus-client adds up, so any worker can serve them.

When a worker ends or can't be started:

- If its setup failed during the server's start (exit status 2), greyd prints the reason and ends
  with status 2.
- After any other failure, the supervisor logs the reason and starts another worker after an
  exponential backoff. While no worker serves, clients wait in the sockets' backlog. So the backoff
  is short then, and after ``MAX_FAILED_STARTS`` greyd ends with status 1 and refuses clients.
- During a shutdown, the worker is not replaced.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from greyd.errors import GreydError, describe_error
from greyd.runtime.supervision import Backoff
from greyd.server.os_signals import RELOAD_SIGNAL, STOP_SIGNALS, block, unblock
from greyd.server.systemd import notify, notify_reloading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.monitoring.log import DirectLog
    from greyd.server.files.metrics_folder import MetricsFolder

    Serve = Callable[[Callable[[], None], Sequence[str], int], int]


MAX_FAILED_STARTS = 5
"""Consecutive failed starts, while no worker serves, after which greyd ends."""

MAX_OUTAGE_BACKOFF_SECONDS = 1.0
"""The longest backoff while no worker serves; Postfix waits 10 s with the recommended settings."""

CHECK_SECONDS = 5.0
"""The interval between checks that the metrics folder exists and has all workers' metrics."""

MAX_STOP_SECONDS = 8.0
"""How long a shutdown waits for the workers before it kills them; they need at most 4 s."""

SETUP_STATUS = 2
"""The exit status of a worker whose setup failed; another worker would fail as well."""

_READY = b"\n"
"""The byte that a worker sends once it serves; no reason begins with it."""
_MAX_BYTES = 4096
"""The maximum length of the reason that a worker sends for its end."""


class ReadySignal:
    """Writes a byte on the first call, and nothing on later calls, e.g. after a reload."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def __call__(self) -> None:
        """Write the byte, on the first call only."""
        if self._descriptor is not None:
            os.write(self._descriptor, _READY)
            self._descriptor = None


@dataclass
class _Worker:
    pid: int
    lifeline: socket.socket
    """Receives ``_READY`` and the reason for the worker's end; closing it stops the worker."""
    started_at: float
    is_ready: bool = False
    is_restarting: bool = False
    """The supervisor has stopped this worker in order to replace it."""
    reason: bytes = b""

    def read_lifeline(self) -> None:
        """Read all that the worker has sent: ``_READY``, and the reason for its end."""
        with contextlib.suppress(OSError):
            while data := self.lifeline.recv(_MAX_BYTES, socket.MSG_DONTWAIT):
                if not self.is_ready and data.startswith(_READY):
                    self.is_ready = True
                    data = data.removeprefix(_READY)
                self.reason = (self.reason + data)[:_MAX_BYTES]

    def describe_end(self, exit_code: int) -> str:
        """Describe the end of the worker, for the log."""
        if self.reason:
            return f"has ended: {self.reason.decode(errors='backslashreplace')}"
        if exit_code < 0:
            return f"was killed by {_signal_name(-exit_code)}"
        return f"has ended with status {exit_code}"


class Supervisor:
    """Starts the workers, passes signals on to them, and replaces those that end."""

    def __init__(
        self,
        serve: Serve,
        sockets: Sequence[socket.socket],
        warnings: Sequence[str],
        log: DirectLog,
        metrics_folder: MetricsFolder,
    ) -> None:
        """Supervise workers that run ``serve(ready, warnings, lifeline)``.

        A worker's lifeline is a socket, which the kernel closes when this process ends.
        """
        self._serve = serve
        self._sockets = sockets
        self._warnings = warnings
        self._log = log
        self._metrics_folder = metrics_folder
        self._workers: dict[int, _Worker] = {}
        self._count = 0
        self._backoff = Backoff()
        self._next_start_at = 0.0
        """The earliest time for the next start, on the monotonic clock."""
        self._next_check_at = 0.0
        self._failed_starts = 0
        self._unreported_failures = 0
        self._signals: list[int] = []
        self._kill_at: float | None = None
        """When to kill the workers that have not stopped; None unless the server is stopping."""
        self._notify_ready: Callable[[], None] | None = None
        """Notifies systemd and the waiting parent that greyd serves; None after the call."""
        self._printed_reasons: set[str] = set()
        self._restarts_for_metrics = False
        """Whether workers are being restarted because their metrics are lost."""
        self._status = 0

    def run(self, count: int, ready: Callable[[], None]) -> int:
        """Serve with ``count`` workers until a signal stops the server; return the exit status."""
        self._count = count
        self._notify_ready = ready
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, RELOAD_SIGNAL, signal.SIGCHLD):
            signal.signal(number, self._record_signal)
        try:
            self._watch()
        finally:
            signal.set_wakeup_fd(-1)
            self._wake_receiver.close()
            self._wake_sender.close()
        return self._status

    def _watch(self) -> None:
        while self._workers or not self._is_stopping:
            if not self._is_stopping:
                self._maintain_metrics_folder()
                self._start_missing()
            unblock()
            self._wait()
            for worker in self._workers.values():
                worker.read_lifeline()
            self._reap()
            self._handle_signals()
            self._report_failures()
            self._announce_when_ready()

    @property
    def _is_stopping(self) -> bool:
        return self._kill_at is not None

    def _serving(self) -> list[_Worker]:
        return [each for each in self._workers.values() if each.is_ready]

    # Waiting ------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for a signal, for data from a worker, or until the next scheduled action."""
        poll = select.poll()
        poll.register(self._wake_receiver, select.POLLIN)
        for worker in self._workers.values():
            # A ready worker sends no more until its end, which SIGCHLD reports.
            if not worker.is_ready:
                poll.register(worker.lifeline, select.POLLIN)
        if not self._signals:
            poll.poll(1000 * self._timeout_seconds())
        with contextlib.suppress(BlockingIOError):
            self._wake_receiver.recv(_MAX_BYTES)

    def _timeout_seconds(self) -> float:
        now = time.monotonic()
        if self._kill_at is not None:
            return max(self._kill_at - now, 0.1)
        times = [self._next_check_at]
        if len(self._workers) < self._count:
            times.append(self._next_start_at)
        return max(min(times) - now, 0.01)

    def _record_signal(self, number: int, _frame: object) -> None:
        self._signals.append(number)

    def _handle_signals(self) -> None:
        noted, self._signals = self._signals, []
        for number in noted:
            if number in STOP_SIGNALS:
                self._stop(number)
            elif number == RELOAD_SIGNAL:
                notify_reloading()
                self._forward(number)
                notify("READY=1")
        if self._kill_at is not None and time.monotonic() >= self._kill_at and self._workers:
            self._log.error(f"{len(self._workers)} workers do not stop; killing them")
            self._kill_at += MAX_STOP_SECONDS
            self._forward(signal.SIGKILL)

    def _stop(self, number: int) -> None:
        if not self._is_stopping:
            self._kill_at = time.monotonic() + MAX_STOP_SECONDS
            notify("STOPPING=1")
            # The workers accept the connections in the backlog; this process never would.
            for each in self._sockets:
                each.close()
        self._forward(number)

    def _forward(self, number: int) -> None:
        for pid in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _announce_when_ready(self) -> None:
        """Notify readiness once every started worker serves."""
        if self._notify_ready is None or self._is_stopping:
            return
        if self._workers and len(self._serving()) == len(self._workers):
            self._notify_ready()
            self._notify_ready = None

    # Ends ---------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Handle the end of all child processes that have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # As the first process of a container, greyd also inherits orphaned processes.
            worker = self._workers.pop(pid, None)
            if worker is not None:
                worker.read_lifeline()
                worker.lifeline.close()
                self._metrics_folder.remove_gauges_of(pid)
                self._handle_end(worker, os.waitstatus_to_exitcode(status))

    def _handle_end(self, worker: _Worker, exit_code: int) -> None:
        why = worker.describe_end(exit_code)
        if self._notify_ready is not None and exit_code == SETUP_STATUS:
            self._end_with(SETUP_STATUS, worker.reason.decode(errors="backslashreplace"))
        elif self._is_stopping:
            if exit_code != 0:
                self._log.error(f"worker {worker.pid} {why} while it was to stop")
        elif worker.is_restarting and exit_code == 0:
            self._next_start_at = 0.0
        else:
            ran_seconds = time.monotonic() - worker.started_at
            self._fail(f"worker {worker.pid} {why}", ran_seconds, was_ready=worker.is_ready)

    def _fail(self, what: str, ran_seconds: float, *, was_ready: bool) -> None:
        """Log and count a worker that failed or could not be started; schedule the next start."""
        now = time.monotonic()
        is_alone = not self._serving()
        self._failed_starts = 0 if was_ready else self._failed_starts + 1
        if is_alone and self._failed_starts >= MAX_FAILED_STARTS and not self._workers:
            self._end_with(1, f"{what}; no worker can be started, so greyd ends")
            return
        if now >= self._next_start_at:
            # If a start is scheduled already, this worker is replaced at the same time.
            seconds = self._backoff.seconds_after(ran_seconds)
            self._next_start_at = now + (
                min(seconds, MAX_OUTAGE_BACKOFF_SECONDS) if is_alone else seconds
            )
        self._log.error(f"{what}; starting another in {max(self._next_start_at - now, 0):.0f} s")
        self._unreported_failures += 1

    def _end_with(self, status: int, why: str) -> None:
        """Stop with ``status``; log the reason, or print it if greyd has not served yet."""
        if self._notify_ready is None:
            self._log.error(why)
        elif why not in self._printed_reasons:
            # All workers fail for the same reason: print it once.
            self._printed_reasons.add(why)
            sys.stderr.write(f"greyd: {why}\n")
        self._status = status
        self._stop(signal.SIGTERM)

    def _report_failures(self) -> None:
        """Send the failures to a worker that serves, to count them: this process has no metrics."""
        for worker in self._serving():
            if self._unreported_failures == 0:
                return
            with contextlib.suppress(OSError):
                failures = b"!" * self._unreported_failures
                self._unreported_failures -= worker.lifeline.send(failures, socket.MSG_DONTWAIT)

    # Starts -------------------------------------------------------------------------------------

    def _start_missing(self) -> None:
        while len(self._workers) < self._count and time.monotonic() >= self._next_start_at:
            try:
                self._start()
            except (OSError, MemoryError) as error:
                what = f"no process for a worker: {str(error) or type(error).__name__}"
                self._fail(what, 0.0, was_ready=False)
                if self._is_stopping:
                    return

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # Signals stay pending until the worker has installed its own handlers.
            block()
            try:
                pid = os.fork()
            except BaseException:
                ours.close()
                raise
            if pid == 0:
                self._run_worker(theirs.detach(), ours)
        self._workers[pid] = _Worker(pid, ours, time.monotonic())
        self._warnings = ()

    def _run_worker(self, lifeline: int, other_end: socket.socket) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            own_ends = [each.lifeline for each in self._workers.values()]
            for each in (other_end, self._wake_receiver, self._wake_sender, *own_ends):
                each.close()
            os.environ.pop("NOTIFY_SOCKET", None)
            status = self._serve(ReadySignal(lifeline), self._warnings, lifeline)
        except GreydError as error:
            status = SETUP_STATUS
            _send_reason(lifeline, str(error))
        except Exception as error:  # noqa: BLE001 - the supervisor logs it
            _send_reason(lifeline, describe_error(error))
        finally:
            os._exit(status)

    # The folder of the metrics ------------------------------------------------------------------

    def _maintain_metrics_folder(self) -> None:
        """Recreate the metrics folder if it is gone, and make all workers use the new one.

        A running worker can't switch folders, so the workers are restarted one after the other.
        """
        now = time.monotonic()
        if (
            now < self._next_check_at
            and len(self._workers) == self._count
            and not self._restarts_for_metrics
        ):
            return
        self._next_check_at = now + CHECK_SECONDS
        if not self._metrics_folder.exists():
            what = f"{self._metrics_folder.path}, the folder of the metrics, is gone"
            try:
                self._metrics_folder.recreate()
            except OSError as error:
                self._log.error(f"{what}, and no other can be made: {error}")
                return
            self._log.warning(f"{what}; using {self._metrics_folder.path}")
        self._restart_one_without_metrics()

    def _restart_one_without_metrics(self) -> None:
        workers = self._workers.values()
        if len(workers) < self._count or not all(each.is_ready for each in workers):
            return
        without = [each for each in workers if not self._metrics_folder.has_metrics_of(each.pid)]
        self._restarts_for_metrics = bool(without)
        if without and not any(each.is_restarting for each in workers):
            worker = without[0]
            worker.is_restarting = True
            self._log.warning(f"worker {worker.pid} has lost its metrics; restarting it")
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)


def _send_reason(lifeline: int, reason: str) -> None:
    with contextlib.suppress(OSError):
        os.write(lifeline, reason.encode(errors="backslashreplace")[:_MAX_BYTES])


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
