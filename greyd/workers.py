"""Serving in several processes: one that watches, and its workers on the same sockets.

The watching process has no threads and no loop, so that it may fork a new worker at any time. The
workers' metrics are in files that prometheus-client adds up; whichever worker is asked answers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from greyd import signals
from greyd.systemd import notify, notify_reloading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Serve = Callable[[Callable[[], None], Sequence[str], int], int]

RESTART_SECONDS = 1.0
"""After which a worker that ended is replaced."""


class TellOnce:
    """Writes an octet when called for the first time: after a reload nobody waits any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def __call__(self) -> None:
        """Write it, the first time."""
        if self._descriptor is not None:
            os.write(self._descriptor, b"1")
            self._descriptor = None


class Supervisor:
    """Starts the workers, passes signals on to them, and replaces those that end."""

    def __init__(
        self, serve: Serve, sockets: Sequence[socket.socket], warnings: Sequence[str]
    ) -> None:
        """Watch over processes that run ``serve(ready, warnings, lifeline)``.

        A worker's lifeline is a descriptor that becomes readable when this process is gone.
        """
        self._serve = serve
        self._sockets = sockets
        self._warnings = warnings
        # Process id → this end of the lifeline, on which a worker also says that it is ready.
        self._workers: dict[int, int] = {}
        self._stopping = False
        self._told_to_stop = False

    def run(self, count: int, ready: Callable[[], None]) -> int:
        """Serve with ``count`` workers until told to stop; returns the exit status."""
        for number in signals.STOPS:
            signal.signal(number, self._stop)
        signal.signal(signals.RELOAD, self._reload)
        self._start(self._warnings)
        for _ in range(count - 1):
            self._start([])
        signals.release()
        # A worker that ends before it is ready can't be set up; it has said why.
        all_ready = all(os.read(told, 1) for told in self._workers.values())
        if all_ready:
            ready()
        else:
            self._stop(signal.SIGTERM)
        self._watch()
        return 0 if all_ready or self._told_to_stop else 2

    def _watch(self) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        while self._workers:
            ended, _ = os.waitpid(-1, 0)
            if ended not in self._workers:
                # As the first process of a container, this one inherits other processes' children.
                continue
            os.close(self._workers.pop(ended))
            mark_process_dead(ended)  # type: ignore[no-untyped-call]
            if not self._stopping:
                self._replace(ended)

    def _replace(self, ended: int) -> None:
        time.sleep(RESTART_SECONDS)
        # The stop may have come meanwhile.
        if not self._stopping:
            self._start([f"worker {ended} has ended, another takes its place"])
            signals.release()

    # Signals ------------------------------------------------------------------------------------

    def _stop(self, number: int, frame: object = None) -> None:
        self._told_to_stop = self._told_to_stop or frame is not None
        if not self._stopping:
            self._stopping = True
            notify("STOPPING=1")
            # The workers answer those who wait at the sockets; this process never would.
            for each in self._sockets:
                each.close()
        self._pass_on(number)

    def _reload(self, number: int, _frame: object) -> None:
        notify_reloading()
        self._pass_on(number)
        notify("READY=1")

    def _pass_on(self, number: int) -> None:
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, number)

    # Workers ------------------------------------------------------------------------------------

    def _start(self, warnings: Sequence[str]) -> None:
        ours, theirs = (each.detach() for each in socket.socketpair())
        # What arrives before the worker has handlers of its own waits for them.
        signals.hold()
        worker = os.fork()
        if worker == 0:
            for each in (ours, *self._workers.values()):
                os.close(each)
            self._be_worker(theirs, warnings)
        self._workers[worker] = ours
        os.close(theirs)

    def _be_worker(self, lifeline: int, warnings: Sequence[str]) -> NoReturn:
        os.environ.pop("NOTIFY_SOCKET", None)
        status = 1
        try:
            status = self._serve(TellOnce(lifeline), warnings, lifeline)
        except Exception as error:  # noqa: BLE001 - a process of its own ends with one line, too
            # What the first lacks all lack: that is said once.
            if len(self._workers) == 0:
                sys.stderr.write(f"greyd: {error}\n")
        finally:
            os._exit(status)
