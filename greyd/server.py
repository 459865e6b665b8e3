"""One serving process: connections of policy clients, signals, reloading, draining.

A connection's requests are answered in their order. What a client can make the process hold is
bounded: a few requests, and as many octets of answers that it does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from greyd import __version__, protocol, signals
from greyd.follow import Follower
from greyd.host_check import HostCheck
from greyd.log import DirectLog, Log, Severity, StreamSink, SyslogSink
from greyd.observe import Metrics, Observer
from greyd.policy import Policy
from greyd.protocol import ProtocolError, RequestParser
from greyd.settings import METRICS_ENDPOINT
from greyd.sockets import UnixSocket
from greyd.status import Status
from greyd.store import open_store
from greyd.store.guard import Guard
from greyd.store.url import shown_url
from greyd.store_size import StoreSizeMonitor
from greyd.supervision import THREAD_CHECK_SECONDS, TaskSupervisor, run_in_daemon_thread
from greyd.time_slices import TimeSlices
from greyd.verbose import VerbosePolicy
from greyd.web import Site, max_connections, serve_site
from greyd.whitelist_files import load_whitelists, reload_whitelists

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from greyd.dns.resolver import Resolver
    from greyd.policy import Tell
    from greyd.protocol import Request
    from greyd.settings import Settings
    from greyd.store import Store
    from greyd.supervision import SupervisedTask
    from greyd.whitelist import Whitelists
    from greyd.whitelist_files import Messages

READ_OCTETS = 8 * 1024
"""Read from a connection at a time; two such pieces may wait before no more is read from it."""

TURN = 20
"""Requests of one connection after which the others have their turn."""

MOST_UNANSWERED = 100
"""Requests in a row that deserve no answer, after which a connection is closed."""

IDLE_SECONDS = 1000
"""After which a connection without a complete request is closed; Postfix's own limit is 300 s."""

DRAIN_SECONDS = 0.8
"""How long a stop waits for answers under way; the store's deadline is shorter."""

HITS_SECONDS = 0.5
"""How long a stop stores the hits of the whitelists' entries."""

OTHER_DESCRIPTORS = 32
"""File descriptors kept for the store, the log and the like, beside the metrics port's."""

SHORT_TURN_SECONDS = 0.0002
"""How long requests wait for the reading of a long whitelist at a time."""

_LATE_OCTETS_SECONDS = 0.05


_READ_BUFFER = memoryview(bytearray(READ_OCTETS))
"""All connections read into this; what was read is copied out at once."""


class Connection(asyncio.BufferedProtocol):
    """A policy client."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._parser = RequestParser(of_identity=service.settings.knows_more)
        self._unread: deque[bytes] = deque()
        self._requests: Iterator[Request] = iter(())
        self._transport: Any = None
        self._busy = False
        """Something has been read that is not dealt with yet."""
        self._asking = False
        self._waiting = False
        """An answer is under way."""
        self._writable = True
        self._paused = False
        self._last = False
        self._unanswered = 0
        self.used_at = time.monotonic()

    # What the loop tells ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._service.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - a small buffer bounds memory
        """Return where to read into."""
        return _READ_BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Take what has been read; requests in it are taken out only as they are answered."""
        self._unread.append(bytes(_READ_BUFFER[:nbytes]))
        if not self._busy:
            self._busy = True
            self._go_on()
        else:
            self._transport.pause_reading()
            self._paused = True

    def eof_received(self) -> bool:
        """Answer what was asked before the client closed its side."""
        self._last = True
        return self._busy

    def pause_writing(self) -> None:
        """Wait: the client does not read its answers."""
        self._writable = False

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        if self._busy:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nobody is left to tell
        """Forget it; what is being decided is still stored."""
        self._unread.clear()
        self._requests = iter(())
        self._service.closed(self)

    # What it does -------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Ask for one answer after the other, until one takes its time."""
        try:
            for _ in range(TURN):
                if self._waiting or not self._writable:
                    # Whoever tells the answer, or lets write again, goes on.
                    return
                request = self._next()
                if request is None:
                    self._rest()
                    return
                self._asking = self._waiting = True
                self._service.answer(request, self._tell)
                self._asking = False
        except Exception as error:  # noqa: BLE001 - Postfix asks again where it finds one closed
            self._service.observer.internal_error("connections", error, "closing this connection")
            self.abort()
        else:
            self._service.loop.call_soon(self._go_on)

    def _next(self) -> Request | None:
        """Return the next request; None where there is none yet."""
        try:
            while True:
                request = next(self._requests, None)
                if request is not None or not self._unread:
                    return request
                self._requests = self._parser.feed(self._unread.popleft())
        except ProtocolError as error:
            self._give_up(str(error))
            return None

    def _tell(self, reply: bytes | None) -> None:
        """Send a reply, and go on."""
        if not self._waiting:
            return
        self._waiting = False
        self.used_at = time.monotonic()
        if reply is not None:
            self._unanswered = 0
            if not self._transport.is_closing():
                self._transport.write(protocol.encode(reply))
            if self._service.settings.exim:
                self._end()
        else:
            self._unanswered += 1
            if self._unanswered > MOST_UNANSWERED:
                self._give_up(f"{MOST_UNANSWERED} requests in a row deserved no answer")
        if not self._asking:
            self._go_on()

    def _give_up(self, reason: str) -> None:
        self._service.observer.misunderstood(f"closing a connection: {reason}")
        self._end()

    def _end(self) -> None:
        """Answer nothing more, and close."""
        self._unread.clear()
        self._requests = iter(())
        self._last = True

    def _rest(self) -> None:
        self._busy = False
        if self._last:
            self._transport.close()
        elif self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
            self._paused = False

    def finish(self) -> None:
        """Close as soon as nothing is left to answer."""
        self._last = True
        if not self._busy:
            self._transport.close()

    def is_idle(self) -> bool:
        """Whether nobody waits for an answer here."""
        return not self._busy

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()


@dataclass
class Service:
    """What all connections of a process share."""

    settings: Settings
    policy: Policy
    guard: Guard
    observer: Observer

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._connections: set[Connection] = set()
        self._none_left = asyncio.Event()
        self._said_full_at = 0.0

    def answer(self, request: Request, tell: Tell) -> None:
        """Answer one request, whatever happens."""
        try:
            self.policy.answer(request, tell)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not stop the mail
            tell(self.policy.failed(request, error))

    def opened(self, connection: Connection) -> None:
        """Count a connection; where no more can be, the one that is idle longest has to go."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        others = OTHER_DESCRIPTORS + max_connections()
        if len(self._connections) >= max(descriptors - others, 1):
            self._make_room()
        self._connections.add(connection)
        self.observer.metrics.connections.set(len(self._connections))

    def _make_room(self) -> None:
        idle = [each for each in self._connections if each.is_idle()]
        if idle:
            # Postfix opens another where it finds one closed, and nobody notices.
            min(idle, key=lambda each: each.used_at).abort()
        if time.monotonic() - self._said_full_at >= 1:
            self._said_full_at = time.monotonic()
            self.observer.log.warning(
                f"{len(self._connections)} connections are open and no more can be;"
                " closing idle ones (raise LimitNOFILE or ulimit -n)"
            )

    def closed(self, connection: Connection) -> None:
        """Discount a connection."""
        self._connections.discard(connection)
        self.observer.metrics.connections.set(len(self._connections))
        if not self._connections:
            self._none_left.set()

    async def close_idle(self) -> None:
        """Close connections that ask nothing for long, until cancelled."""
        while True:
            await asyncio.sleep(IDLE_SECONDS / 10)
            oldest = time.monotonic() - IDLE_SECONDS
            for connection in [each for each in self._connections if each.used_at < oldest]:
                connection.abort()

    async def drain(self) -> None:
        """Answer all that has been asked, and close all connections."""
        # What a client has sent a moment ago is still on its way through the kernel.
        await asyncio.sleep(_LATE_OCTETS_SECONDS)
        self._none_left.clear()
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            try:
                await asyncio.wait_for(self._none_left.wait(), DRAIN_SECONDS)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()


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
    store.report_to(log.warning, partial(observer.internal_error, "SQLite"))
    guard = Guard(
        store,
        settings.store_timeout_seconds,
        observer.store_changed,
        partial(observer.internal_error, "store"),
        partial(supervisor.run, "store"),
        log.warning,
    )
    whitelists, messages = load_whitelists(settings)
    messages.log_to(log)
    _show_entries(metrics, whitelists)
    metrics.whitelists_read.set(whitelists.complete)
    kind = VerbosePolicy if settings.verbose else Policy
    policy = kind(settings, whitelists, guard, observer)
    resolver = _know_more(policy, settings, observer) if settings.knows_more else None
    service = Service(settings, policy, guard, observer)
    for number in signals.STOPS:
        loop.add_signal_handler(number, stop.ask)
    if place.lifeline is not None:
        os.set_blocking(place.lifeline, False)
        loop.add_reader(place.lifeline, _hear_supervisor, place.lifeline, stop, metrics)
    reloader = Reloader(settings, place, policy, observer, supervisor)
    loop.add_signal_handler(signals.RELOAD, reloader.request)
    signals.release()
    await guard.check()
    follower = Follower(settings, guard, policy, observer)
    await follower.look_at_start()
    servers = [await _accept(loop, lambda: Connection(service), each) for each in place.sockets]
    store_name = _shown_store(settings, place)
    slices = TimeSlices()
    status = Status(settings, guard, observer, store_name, lambda: policy.mode, slices)
    site = Site(
        metrics,
        ready=lambda: not guard.away,
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


async def _store_hits(policy: Policy, guard: Guard) -> None:
    """Store the last hits of the whitelists, as far as that goes at once."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HITS_SECONDS):
            await policy.hits.store(guard, rest_seconds=0)


def _know_more(policy: Policy, settings: Settings, observer: Observer) -> Resolver:
    """Let a policy ask the DNS, and what Postfix knows, of its clients."""
    from greyd.dns.resolver import Resolver
    from greyd.dns.witness import DnsWitness

    resolver = Resolver(
        settings.resolvers, settings.dns_timeout_seconds, observer.metrics.watch_dns()
    )
    policy.witness = DnsWitness(
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


class Reloader:
    """Reads the whitelists again, one time after the other, without holding up requests.

    They are read in a thread, for whose end no stop waits; all else is done in the loop's thread.
    """

    def __init__(
        self,
        settings: Settings,
        place: Place,
        policy: Policy,
        observer: Observer,
        supervisor: TaskSupervisor,
    ) -> None:
        self._settings = settings
        self._place = place
        self._policy = policy
        self._observer = observer
        self._supervisor = supervisor
        self._running: SupervisedTask | None = None
        self._again = False

    def request(self) -> None:
        """Reload now, or once more when the reload under way is through."""
        self._again = True
        if self._running is None or self._running.is_over:
            self._running = self._supervisor.run("reload", self._reload)

    async def _reload(self) -> None:
        while self._again:
            self._again = False
            self._place.reloading()
            self._observer.log.notice("HUP received: reading the whitelists again")
            try:
                whitelists, messages = await run_in_daemon_thread("reload", self._read)
                messages.log_to(self._observer.log)
            except Exception as error:  # noqa: BLE001 - whatever it is, the reload has an end
                outcome = "the old whitelists stay in force"
                self._observer.internal_error("reload", error, outcome)
                whitelists = None
            self._put_in_force(whitelists)
            self._place.ready()

    def _read(self) -> tuple[Whitelists | None, Messages]:
        with _short_turns():
            return reload_whitelists(self._settings)

    def _put_in_force(self, whitelists: Whitelists | None) -> None:
        """Answer by the new whitelists; None: they could not be read, and the old ones stay."""
        metrics = self._observer.metrics
        metrics.reloads["failure" if whitelists is None else "success"].inc()
        metrics.whitelists_read.set(whitelists is not None)
        if whitelists is not None:
            self._policy.whitelists = whitelists
            _show_entries(metrics, whitelists)


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    """Let other threads keep the interpreter for themselves only a moment.

    A request waits for it a few times, by default 5 ms each while another thread computes.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SHORT_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _show_entries(metrics: Metrics, whitelists: Whitelists) -> None:
    metrics.whitelist_entries["clients"].set(len(whitelists.clients))
    metrics.whitelist_entries["recipients"].set(len(whitelists.recipients))


def _say_hello(settings: Settings, place: Place, log: Log, store: str) -> None:
    names = ", ".join(_name(each) for each in place.sockets)
    log.info(f"greyd {__version__} listens on {names}; mode {settings.mode}, store {store}")


def _shown_store(settings: Settings, place: Place) -> str:
    """Return the store's URL without what is secret in it."""
    url = settings.store or f"sqlite:{place.folder / 'greyd.db'}"
    return shown_url(url)


def _name(listening: socket.socket) -> str:
    if isinstance(listening, UnixSocket):
        return str(listening.path)
    name = listening.getsockname()
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return str(name)
