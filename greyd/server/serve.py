"""Runs one serving process: starts its parts, serves, and shuts them down."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from greyd import __version__
from greyd.config.vocabulary import METRICS_ENDPOINT
from greyd.monitoring.activity.dns_activity import DnsActivity
from greyd.monitoring.hits_observer import HitsObserver
from greyd.monitoring.log_observer import LogObserver
from greyd.monitoring.metrics import Metrics, folder_of_workers
from greyd.monitoring.metrics_observer import MetricsObserver
from greyd.monitoring.mode_in_force import ModeInForce
from greyd.monitoring.resource_monitor import ResourceMonitor
from greyd.monitoring.shared_outages import SharedOutages
from greyd.monitoring.store_size import StoreSizeMonitor
from greyd.monitoring.verbose_observer import VerboseObserver
from greyd.monitoring.web.host_check import HostCheck
from greyd.monitoring.web.http import MetricsSite, serve_site
from greyd.monitoring.web.status import StatusReporter
from greyd.policy.control_poller import ControlPoller
from greyd.policy.observers import Observers
from greyd.policy.policy import Policy
from greyd.runtime.supervision import THREAD_CHECK_SECONDS, TaskSupervisor
from greyd.runtime.time_slices import TimeSlices
from greyd.server.accepting import accept_backlog, serve_socket
from greyd.server.connection import Connection
from greyd.server.connection_registry import ConnectionRegistry
from greyd.server.evidence.collectors import collect_evidence
from greyd.server.evidence.sender_check import LazySenderCheck
from greyd.server.evidence.shadow import start_shadow
from greyd.server.log_setup import open_log
from greyd.server.os_signals import RELOAD_SIGNAL, STOP_SIGNALS, unblock
from greyd.server.reload import Reloader, set_entry_counts
from greyd.server.sockets import address_of
from greyd.store.circuit_breaker import CircuitBreaker
from greyd.store.opening import open_store
from greyd.store.url import redact_url
from greyd.whitelist.files import load_whitelists
from greyd.whitelist.hits import HitCounter

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from greyd.config.settings import Settings
    from greyd.monitoring.log import Log
    from greyd.server.context import ServerContext
    from greyd.store.contract import Store


MAX_HITS_SECONDS = 0.5
"""The time limit for storing the whitelist hits during a shutdown."""


async def serve(settings: Settings, context: ServerContext) -> int:
    """Serve until SIGTERM, SIGINT or SIGQUIT; SIGHUP reloads the whitelists.

    Returns:
        The exit status: 0 after a signal, 1 if a part of the server can't be restarted.

    Raises:
        StoreError: the store can't be opened.
    """
    log = open_log(settings, to_syslog=context.to_syslog)
    try:
        return await _serve(settings, context, log)
    finally:
        log.close()


class _Stop:
    """The event that stops the server, and its exit status."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self.status = 0

    def ask(self) -> None:
        """Stop the server, after a signal."""
        self._asked.set()

    def fail(self) -> None:
        """Stop with status 1, because a part can't be restarted; systemd may restart the server."""
        self.status = 1
        self._asked.set()

    async def wait(self) -> None:
        """Wait until the server has to stop."""
        await self._asked.wait()


async def _serve(settings: Settings, context: ServerContext, log: Log) -> int:
    loop = asyncio.get_running_loop()
    log.batch(lambda: loop.call_later(log.FLUSH_SECONDS, log.flush))
    for warning in settings.warnings:
        log.warning(warning)
    metrics = Metrics()
    hits = HitCounter()
    dns_activity = DnsActivity()
    observers = Observers(
        MetricsObserver(metrics),
        *([VerboseObserver(log, lambda: policy)] if settings.verbose else []),
        LogObserver(
            log,
            passes_without_store=settings.passes_without_store,
            outages=SharedOutages(folder_of_workers()),
        ),
        HitsObserver(hits),
        dns_activity,
    )
    loop.set_exception_handler(partial(_report_unhandled, observers))
    log.on_failure(partial(_report_from_log_thread, loop, observers))
    if settings.workers == 1:
        # With several workers, another one may serve the metrics: the counters must be current
        # before the reply is sent, so they can't be batched.
        observers.batch(lambda: loop.call_soon(observers.flush))
    stop = _Stop()
    supervisor = TaskSupervisor(observers.internal_error, stop.fail)
    store = open_store(settings, context.folder)
    store.set_problem_handlers(log.warning, partial(observers.internal_error, "SQLite"))
    circuit_breaker = CircuitBreaker(
        store,
        settings.store_timeout_seconds,
        observers.store_changed,
        partial(observers.internal_error, "store"),
        partial(supervisor.run, "store"),
        log.warning,
    )
    whitelists, messages = load_whitelists(settings)
    messages.log_to(log)
    set_entry_counts(metrics, whitelists)
    metrics.show_mode(settings.mode)
    metrics.state.show_settings(settings)
    metrics.whitelists_read.set(whitelists.complete)
    policy = Policy(settings, whitelists, circuit_breaker, observers)
    shadow = start_shadow(settings, policy, store, observers, metrics, log, supervisor)
    sources = list(collect_evidence(policy, shadow, settings, observers, metrics))
    sender_check = policy.sender_check = LazySenderCheck(
        settings, observers, sources[0].resolver if settings.needs_evidence else None
    )
    registry = ConnectionRegistry(metrics, log)
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.ask)
    if context.lifeline is not None:
        os.set_blocking(context.lifeline, False)
        loop.add_reader(context.lifeline, _read_lifeline, context.lifeline, stop, metrics)
    reloader = Reloader(settings, context, policy, observers, metrics, log, supervisor, shadow)
    loop.add_signal_handler(RELOAD_SIGNAL, reloader.request)
    unblock()
    await circuit_breaker.check()
    control_poller = ControlPoller(settings, circuit_breaker, policy, observers)
    await control_poller.poll_at_start()
    servers = [
        await serve_socket(
            loop, lambda: Connection(loop, settings, policy, observers, registry), each
        )
        for each in context.sockets
    ]
    store_name = _redacted_store(settings, context)
    slices = TimeSlices()
    status = StatusReporter(
        settings,
        circuit_breaker,
        observers,
        metrics,
        store_name,
        lambda: ModeInForce.of(settings.mode, control_poller.mode_override),
        slices,
        dns_activity,
        listens_on=address_of(context.sockets[0]) if context.sockets else "",
    )
    site = MetricsSite(
        metrics,
        ready=lambda: not circuit_breaker.is_open,
        unwritable=lambda: circuit_breaker.unwritable,
        page=status.page,
        still_page=partial(status.page, refreshes=False),
        stats=status.stats,
        hosts=HostCheck(
            settings.metrics or METRICS_ENDPOINT, settings.metrics_host, settings.hostname or ""
        ),
        warn=log.warning,
        slices=slices,
    )
    servers += [await serve_site(site, each) for each in context.metrics_sockets]
    supervisor.serve("store", circuit_breaker.run)
    supervisor.serve("connections", registry.close_idle)
    supervisor.serve("status page", status.run)
    supervisor.serve("control polling", control_poller.run)
    supervisor.serve("whitelist hits", partial(hits.run, circuit_breaker))
    supervisor.serve("store size", StoreSizeMonitor(store, metrics, log).run)
    supervisor.serve("resources", ResourceMonitor(store, metrics.state).run)
    supervisor.run("event loop", partial(_watch_threads, log, store, supervisor))
    _log_start(replace(settings, mode=policy.mode), context, log, store_name)
    context.ready()
    _tune_garbage_collector()

    await stop.wait()
    if context.lifeline is not None:
        loop.remove_reader(context.lifeline)
    context.stopping()
    log.info("stopping")
    await accept_backlog(context.sockets)
    for server in servers:
        server.close()
    policy.stop_lookups()
    sender_check.close()
    await registry.drain()
    observers.flush()
    if shadow is not None:
        await _finish(observers, "shadow", shadow.close())
    status.stop()
    await supervisor.stop()
    await _finish(observers, "whitelist hits", _store_hits(hits, circuit_breaker))
    await _finish(observers, "DNS", sender_check.close_resolver())
    for each in sources:
        await _finish(observers, "DNS", each.close())
    await _finish(observers, "store", circuit_breaker.close())
    return stop.status


def _read_lifeline(lifeline: int, stop: _Stop, metrics: Metrics) -> None:
    """Count failures of other workers; stop when the parent process has ended."""
    try:
        failures = os.read(lifeline, 1024)
    except OSError:
        failures = b""
    for _ in failures:
        metrics.count_internal_error("workers")
    if not failures:
        asyncio.get_running_loop().remove_reader(lifeline)
        stop.ask()


async def _finish(observers: Observers, part: str, step: Awaitable[None]) -> None:
    """Run one step of the shutdown; its failure does not prevent the others."""
    try:
        await step
    except Exception as error:  # noqa: BLE001 - any failure: the shutdown continues
        observers.internal_error(part, error, "stopping all the same")


async def _watch_threads(log: Log, store: Store, supervisor: TaskSupervisor) -> None:
    """Stop the process if a thread that it needs has ended, or was never started."""
    while True:
        await asyncio.sleep(THREAD_CHECK_SECONDS)
        threads = [("log", log.thread), *(("store", thread) for thread in store.threads)]
        for part, thread in threads:
            if not thread.is_alive():
                supervisor.give_up(part, RuntimeError(f"the thread {thread.name} does not run"))
                return


def _report_unhandled(
    observers: Observers, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Report an unhandled exception of an event-loop callback."""
    message = str(context.get("message", "unhandled"))
    error = context.get("exception") or RuntimeError(message)
    observers.internal_error(str(context.get("part", "event loop")), error, message)


def _report_from_log_thread(
    loop: asyncio.AbstractEventLoop, observers: Observers, error: Exception, seconds: float
) -> None:
    outcome = f"lines are lost; going on in {seconds:g} s"
    loop.call_soon_threadsafe(observers.internal_error, "log", error, outcome)


async def _store_hits(hits: HitCounter, circuit_breaker: CircuitBreaker) -> None:
    """Store the latest whitelist hits, for at most ``MAX_HITS_SECONDS``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(MAX_HITS_SECONDS):
            await hits.store(circuit_breaker, rest_seconds=0)


def _tune_garbage_collector() -> None:
    """Exclude all objects that exist now from garbage collection, and run it less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _log_start(settings: Settings, context: ServerContext, log: Log, store: str) -> None:
    names = ", ".join(address_of(each) for each in context.sockets)
    log.info(f"greyd {__version__} listens on {names}; mode {settings.mode}, store {store}")


def _redacted_store(settings: Settings, context: ServerContext) -> str:
    """Return the store's URL without secrets, for the log."""
    url = settings.store or f"sqlite:{context.folder / 'greyd.db'}"
    return redact_url(url)
