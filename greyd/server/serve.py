"""One serving process: its start, its parts, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import select
import socket
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from greyd import __version__
from greyd.config.vocabulary import METRICS_ENDPOINT
from greyd.monitoring.host_check import HostCheck
from greyd.monitoring.http import Site, serve_site
from greyd.monitoring.log import DirectLog, Log, Severity, StreamSink, SyslogSink
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.observer import Observer
from greyd.monitoring.status import Status
from greyd.monitoring.store_size import StoreSizeMonitor
from greyd.policy.control_poller import ControlPoller
from greyd.policy.policy import Policy
from greyd.runtime.supervision import THREAD_CHECK_SECONDS, TaskSupervisor
from greyd.runtime.time_slices import TimeSlices
from greyd.server import os_signals
from greyd.server.connection import DRAIN_SECONDS, Connection, Service
from greyd.server.reload import Reloader, show_entries
from greyd.server.sockets import UnixSocket
from greyd.server.verbose import VerbosePolicy
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.opening import open_store
from greyd.store.url import redact_url
from greyd.whitelist.files import load_whitelists

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from greyd.config.settings import Settings
    from greyd.dns.resolver import Resolver
    from greyd.store.contract import Store


HITS_SECONDS = 0.5
"""How long a stop stores the hits of the whitelists' entries."""


@dataclass(frozen=True)
class Place:
    """What a serving process is given: its sockets and its folder, and whom to tell."""

    sockets: Sequence[socket.socket]
    web_sockets: Sequence[socket.socket]
    folder: Path
    to_syslog: bool
    lifeline: int | None
    """A socket that is closed when the process that watches over this one is gone.

    Until then it brings an octet for each other worker that has failed.
    """
    ready: Callable[[], None]
    reloading: Callable[[], None]
    stopping: Callable[[], None]


async def serve(settings: Settings, place: Place) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP reads the whitelists again.

    Returns:
        The exit status: 0 after a signal, 1 where a part of the server was given up.

    Raises:
        StoreError: the store can't be opened.
    """
    log = open_log(settings, to_syslog=place.to_syslog)
    try:
        return await _serve(settings, place, log)
    finally:
        log.close()


def open_log(settings: Settings, *, to_syslog: bool) -> Log:
    """Return the log: standard error, or syslog for a daemon."""
    sink = _sink(settings, to_syslog=to_syslog)
    return Log(sink, _most(settings), as_json=settings.log_format == "json")


def open_direct_log(settings: Settings, *, to_syslog: bool) -> DirectLog:
    """Return the same for a process without threads."""
    sink = _sink(settings, to_syslog=to_syslog)
    return DirectLog(sink, _most(settings), as_json=settings.log_format == "json")


def _sink(settings: Settings, *, to_syslog: bool) -> StreamSink | SyslogSink:
    if to_syslog:
        return SyslogSink(settings.syslog_ident, settings.syslog_facility)
    return StreamSink(2)


def _most(settings: Settings) -> Severity:
    if settings.quiet:
        return Severity.NOTICE
    return Severity.DEBUG if settings.verbose else Severity.INFO


class _Stop:
    """Whether the server is to stop, and with which exit status."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.status = 0

    def ask(self) -> None:
        """Stop, as a signal says."""
        self._asked.set()

    def fail(self) -> None:
        """Stop because a part of the server was given up; whoever started it may start it anew."""
        self.status = 1
        self._asked.set()

    async def wait(self) -> None:
        """Wait until it is to stop."""
        await self._asked.wait()


async def _serve(settings: Settings, place: Place, log: Log) -> int:
    loop = asyncio.get_running_loop()
    log.gather(lambda: loop.call_later(log.FLUSH_SECONDS, log.flush))
    for warning in settings.warnings:
        log.warning(warning)
    metrics = Metrics()
    observer = Observer(metrics, log, passes_without_store=settings.passes_without_store)
    loop.set_exception_handler(partial(_report_unhandled, observer))
    log.on_failure(partial(_report_from_log_thread, loop, observer))
    if settings.workers == 1:
        # With several, whoever asks for the metrics may ask another one: there the counters have
        # to be ahead of the answers.
        observer.gather(lambda: loop.call_soon(observer.flush))
    stop = _Stop()
    supervisor = TaskSupervisor(observer.internal_error, stop.fail)
    store = open_store(settings, place.folder)
    store.set_problem_handlers(log.warning, partial(observer.internal_error, "SQLite"))
    guard = CircuitBreaker(
        store,
        settings.store_timeout_seconds,
        observer.store_changed,
        partial(observer.internal_error, "store"),
        partial(supervisor.run, "store"),
        log.warning,
    )
    whitelists, messages = load_whitelists(settings)
    messages.log_to(log)
    show_entries(metrics, whitelists)
    metrics.whitelists_read.set(whitelists.complete)
    kind = VerbosePolicy if settings.verbose else Policy
    policy = kind(settings, whitelists, guard, observer)
    resolver = _know_more(policy, settings, observer) if settings.needs_evidence else None
    service = Service(settings, policy, guard, observer)
    for number in os_signals.STOPS:
        loop.add_signal_handler(number, stop.ask)
    if place.lifeline is not None:
        os.set_blocking(place.lifeline, False)
        loop.add_reader(place.lifeline, _hear_supervisor, place.lifeline, stop, metrics)
    reloader = Reloader(settings, place, policy, observer, supervisor)
    loop.add_signal_handler(os_signals.RELOAD, reloader.request)
    os_signals.release()
    await guard.check()
    follower = ControlPoller(settings, guard, policy, observer)
    await follower.look_at_start()
    servers = [await _accept(loop, lambda: Connection(service), each) for each in place.sockets]
    store_name = _shown_store(settings, place)
    slices = TimeSlices()
    status = Status(settings, guard, observer, store_name, lambda: policy.mode, slices)
    site = Site(
        metrics,
        ready=lambda: not guard.is_open,
        unwritable=lambda: guard.unwritable,
        page=status.page,
        figures=status.figures,
        hosts=HostCheck(
            settings.metrics or METRICS_ENDPOINT, settings.metrics_host, settings.hostname or ""
        ),
        warn=log.warning,
        slices=slices,
    )
    servers += [await serve_site(site, each) for each in place.web_sockets]
    supervisor.serve("store", guard.run)
    supervisor.serve("connections", service.close_idle)
    supervisor.serve("status page", status.run)
    supervisor.serve("control polling", follower.run)
    supervisor.serve("whitelist hits", partial(policy.hits.run, guard))
    supervisor.serve("store size", StoreSizeMonitor(store, observer).run)
    supervisor.run("event loop", partial(_watch_threads, log, store, supervisor))
    _say_hello(replace(settings, mode=policy.mode), place, log, store_name)
    place.ready()
    _spare_the_garbage_collector()

    await stop.wait()
    if place.lifeline is not None:
        loop.remove_reader(place.lifeline)
    place.stopping()
    log.info("stopping")
    await _take_all_that_wait(place.sockets)
    for server in servers:
        server.close()
    if policy.witness is not None:
        policy.witness.close()
    await service.drain()
    observer.flush()
    status.stop()
    await supervisor.stop()
    await _finish(observer, "whitelist hits", _store_hits(policy, guard))
    if resolver is not None:
        await _finish(observer, "DNS", resolver.close())
    await _finish(observer, "store", guard.close())
    return stop.status


def _hear_supervisor(lifeline: int, stop: _Stop, metrics: Metrics) -> None:
    """Count the failures of other workers, and stop when the process that tells of them is gone."""
    try:
        failures = os.read(lifeline, 1024)
    except OSError:
        failures = b""
    for _ in failures:
        metrics.count_internal_error("workers")
    if not failures:
        asyncio.get_running_loop().remove_reader(lifeline)
        stop.ask()


async def _finish(observer: Observer, part: str, step: Awaitable[None]) -> None:
    """Do one step of the stop; its failure does not keep the others from being done."""
    try:
        await step
    except Exception as error:  # noqa: BLE001 - whatever it is, the stop goes on
        observer.internal_error(part, error, "stopping all the same")


async def _watch_threads(log: Log, store: Store, supervisor: TaskSupervisor) -> None:
    """End the process where a thread without which it can't serve has ended, or never began."""
    while True:
        await asyncio.sleep(THREAD_CHECK_SECONDS)
        threads = [("log", log.thread), *(("store", thread) for thread in store.threads)]
        for part, thread in threads:
            if not thread.is_alive():
                supervisor.give_up(part, RuntimeError(f"the thread {thread.name} does not run"))
                return


def _report_unhandled(
    observer: Observer, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Report what a callback of the event loop raised and nobody caught."""
    message = str(context.get("message", "unhandled"))
    error = context.get("exception") or RuntimeError(message)
    observer.internal_error(str(context.get("part", "event loop")), error, message)


def _report_from_log_thread(
    loop: asyncio.AbstractEventLoop, observer: Observer, error: Exception, seconds: float
) -> None:
    outcome = f"lines are lost; going on in {seconds:g} s"
    loop.call_soon_threadsafe(observer.internal_error, "log", error, outcome)


async def _store_hits(policy: Policy, guard: CircuitBreaker) -> None:
    """Store the last hits of the whitelists, as far as that goes at once."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HITS_SECONDS):
            await policy.hits.store(guard, rest_seconds=0)


def _know_more(policy: Policy, settings: Settings, observer: Observer) -> Resolver:
    """Let a policy ask the DNS, and what Postfix knows, of its clients."""
    from greyd.dns.collector import DnsEvidenceCollector
    from greyd.dns.resolver import Resolver

    resolver = Resolver(
        settings.resolvers, settings.dns_timeout_seconds, observer.metrics.watch_dns()
    )
    policy.witness = DnsEvidenceCollector(
        settings, resolver, lambda: policy.whitelists.override, observer.stumbled
    )
    return resolver


async def _take_all_that_wait(sockets: Sequence[socket.socket]) -> None:
    """Let the loop accept the clients in the queues: closing a socket would reset them."""
    waiting = select.poll()
    for listening in sockets:
        waiting.register(listening, select.POLLIN)
    deadline = time.monotonic() + DRAIN_SECONDS / 2
    # The kernel's queue has no event that the loop does not take for itself.
    while waiting.poll(0) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def _spare_the_garbage_collector() -> None:
    """Let it look at what a request leaves behind, now and then, and never again at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _accept(
    loop: asyncio.AbstractEventLoop, client: Callable[[], Connection], listening: socket.socket
) -> asyncio.Server:
    if listening.family == socket.AF_UNIX:
        # Who made the socket's file removes it: the loop would remove whatever is at its name.
        return await loop.create_unix_server(
            client,
            sock=listening,
            cleanup_socket=False,  # type: ignore[call-arg]  # since Python 3.13, and uvloop's own
        )
    return await loop.create_server(client, sock=listening)


def _say_hello(settings: Settings, place: Place, log: Log, store: str) -> None:
    names = ", ".join(_name(each) for each in place.sockets)
    log.info(f"greyd {__version__} listens on {names}; mode {settings.mode}, store {store}")


def _shown_store(settings: Settings, place: Place) -> str:
    """Return the store's URL without what is secret in it."""
    url = settings.store or f"sqlite:{place.folder / 'greyd.db'}"
    return redact_url(url)


def _name(listening: socket.socket) -> str:
    if isinstance(listening, UnixSocket):
        return str(listening.path)
    name = listening.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return str(name)
