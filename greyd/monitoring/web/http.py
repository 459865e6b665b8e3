"""The metrics port: metrics for Prometheus, health checks, the status page and statistics.

``/metrics``: all metrics, in Prometheus's text format.
``/livez``: 200 while the process answers. If it does not, restart it.
``/healthz``: 503 if the store cannot be written until an administrator repairs it, e.g. because its
folder belongs to another user. An unreachable Redis does not count: it returns without help, and
mail passes meanwhile.
``/readyz``: 503 while the store does not answer.
``/``: the status page. ``/stats.json``: the same figures for programs.

HTTP/1.1 by h11; GET and HEAD only, and one request per connection, so that no client can queue up
work. A connection is closed after ``REQUEST_SECONDS``. At most ``max_connections()`` are open at a
time: a new connection replaces the one that has kept the server waiting longest.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import resource
import select
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11

from greyd.escaping import percent_encode
from greyd.monitoring.metrics import exposition

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from greyd.monitoring.metrics import Metrics
    from greyd.monitoring.web.host_check import HostCheck
    from greyd.runtime.time_slices import TimeSlices

REQUEST_SECONDS = 10
MAX_CONNECTIONS = 100
"""Open at a time, if there are enough file descriptors."""

DESCRIPTORS_SHARE = 16
"""One in 16 file descriptors may be a connection of the metrics port; mail needs the others."""

REFUSAL_LOG_SECONDS = 60
"""Requests for another host are logged once in this time."""

_HTML = b"text/html; charset=utf-8"
_PLAIN = b"text/plain; charset=utf-8"
_JSON = b"application/json"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"

_OF_PROMETHEUS = b"x-prometheus-scrape-timeout-seconds"
"""A header that Prometheus and compatible scrapers send, and browsers do not."""

_FOR_BROWSERS = (
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cache-Control", b"no-store"),
)
"""Forbid browsers to load, run or cache anything."""


_ABSOLUTE = re.compile(rb"https?://(?:[^/?#@]*@)?(?P<host>[^/?#]*)", re.IGNORECASE)

_NOT_THIS_HOST = b"the Host header is not a name of this server; --metrics-host=NAME allows it\n"

_PATHS = b"see /, /metrics, /stats.json, /livez, /healthz, /readyz\n"


@dataclass(frozen=True, slots=True)
class PageResponse:
    """A response, without the headers that all responses have."""

    status: HTTPStatus
    body: bytes
    kind: bytes = _PLAIN
    headers: Sequence[tuple[bytes, bytes]] = ()


def max_connections() -> int:
    """Return how many connections may be open at a time."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(min(MAX_CONNECTIONS, descriptors // DESCRIPTORS_SHARE), 1)


@dataclass
class MetricsSite:
    """What the metrics port serves, and its open connections."""

    metrics: Metrics
    ready: Callable[[], bool]
    """Return whether the store answers this process."""
    unwritable: Callable[[], str]
    """Return why the store cannot be written until it is repaired; empty if it can."""
    page: Callable[[], Awaitable[bytes]]
    stats: Callable[[], Awaitable[bytes]]
    hosts: HostCheck
    warn: Callable[[str], None]
    """Logs a warning."""
    slices: TimeSlices
    connections: dict[HttpConnection, None] = field(default_factory=dict)
    """Open connections, the oldest first."""
    _refused_at: float = -REFUSAL_LOG_SECONDS

    def refuse(self, host: str) -> PageResponse:
        """Return the response to a request for another host, and log it now and then."""
        if time.monotonic() - self._refused_at >= REFUSAL_LOG_SECONDS:
            self._refused_at = time.monotonic()
            name = percent_encode(host[:100].encode("latin-1", "replace")).decode()
            self.warn(
                f'metrics port: refused a request for the host "{name}"; if that is this server,'
                " allow it by --metrics-host"
            )
        return PageResponse(HTTPStatus.MISDIRECTED_REQUEST, _NOT_THIS_HOST)

    def opened(self, connection: HttpConnection) -> None:
        """Keep a connection; if there are too many, close one, the new one as the last resort."""
        self.connections[connection] = None
        if len(self.connections) > max_connections():
            # In this order: clients that have sent nothing, that are slow to send, that do not read
            # the response. A response that is being made is always sent.
            silent = [each for each in self.connections if each.waits_for_request()]
            unread = [each for each in self.connections if each.waits_for_reader()]
            victims = itertools.chain(
                (each for each in silent if each is not connection and not each.has_input()),
                silent[:-1],
                unread,
            )
            victim = next(victims, connection)
            # Now: connection_lost() comes only later, and another client may connect before it.
            del self.connections[victim]
            victim.abort()

    async def answer(self, path: bytes, *, scraped: bool = False) -> PageResponse:
        """Return the response for a path; ``scraped`` says that a Prometheus asks for it."""
        match path.partition(b"?")[0]:
            case b"/":
                return PageResponse(HTTPStatus.OK, await self.page(), _HTML, _FOR_BROWSERS)
            case b"/metrics":
                return PageResponse(
                    HTTPStatus.OK, await self._show_metrics(scraped=scraped), _METRICS
                )
            case b"/stats.json":
                return PageResponse(HTTPStatus.OK, await self.stats(), _JSON, _FOR_BROWSERS)
            case b"/livez":
                return PageResponse(HTTPStatus.OK, b"ok\n")
            case b"/healthz":
                return self._health()
            case b"/readyz" if self._all_ready():
                return PageResponse(HTTPStatus.OK, b"ready\n")
            case b"/readyz":
                return PageResponse(
                    HTTPStatus.SERVICE_UNAVAILABLE, b"not ready: the store does not answer\n"
                )
            case _:
                return PageResponse(HTTPStatus.NOT_FOUND, _PATHS)

    def _health(self) -> PageResponse:
        # All workers use the same file, so any of them can answer for all.
        if fault := self.unwritable():
            body = f"the store cannot be written: {fault}\n".encode(errors="replace")
            return PageResponse(HTTPStatus.SERVICE_UNAVAILABLE, body)
        return PageResponse(HTTPStatus.OK, b"ok\n")

    async def _show_metrics(self, *, scraped: bool) -> bytes:
        now = time.time()
        self.metrics.clock.set(now)
        shown = await self.slices.run(map(exposition, self.metrics.families()))
        if scraped:
            self.metrics.scraped.set(now)
        return b"".join(shown)

    def _all_ready(self) -> bool:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self.ready()
        up = self.metrics.store_is_up()
        # While the workers' files are missing, this worker answers for itself.
        return self.ready() if up is None else up


class HttpConnection(asyncio.Protocol):
    """One HTTP client."""

    def __init__(self, site: MetricsSite) -> None:
        self._site = site
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection, and start its timeout."""
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(REQUEST_SECONDS, self._transport.abort)
        self._site.opened(self)

    def waits_for_request(self) -> bool:
        """Return whether no complete request has been read."""
        return self._answering is None

    def has_input(self) -> bool:
        """Return whether the socket has input that has not been read."""
        came = select.poll()
        came.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return bool(came.poll(0))

    def waits_for_reader(self) -> bool:
        """Return whether the response has been sent, and the client has not read it."""
        return self._answering is not None and self._answering.done()

    def abort(self) -> None:
        """Close the connection immediately."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer the first request, and ignore what follows until the client closes."""
        if self._answering is not None:
            return
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError:
            self._transport.close()
            return
        if isinstance(event, h11.Request):
            self._answering = asyncio.ensure_future(self._respond(event))

    def eof_received(self) -> None:
        """Let asyncio close the connection."""

    async def _respond(self, request: h11.Request) -> None:
        path, host = _split(request)
        if host is not None and not self._site.hosts.allows(host, self._reached()):
            answer = self._site.refuse(host)
        elif request.method in (b"GET", b"HEAD"):
            scraped = any(name == _OF_PROMETHEUS for name, _ in request.headers)
            answer = await self._answer(path, scraped=scraped)
        else:
            answer = PageResponse(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n")
        headers = [
            (b"Content-Type", answer.kind),
            (b"Content-Length", b"%d" % len(answer.body)),
            (b"Connection", b"close"),
            (b"Server", b"greyd"),
            *answer.headers,
        ]
        parts = [self._http.send(h11.Response(status_code=answer.status, headers=headers))]
        if request.method != b"HEAD":
            parts.append(self._http.send(h11.Data(data=answer.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in parts if part))
        # Closing both directions at once could reset the connection before the response arrives.
        self._transport.write_eof()

    def _reached(self) -> str:
        """Return this machine's address that the client has connected to."""
        address = self._transport.get_extra_info("sockname")
        return str(address[0]) if address else ""

    async def _answer(self, path: bytes, *, scraped: bool) -> PageResponse:
        try:
            return await self._site.answer(path, scraped=scraped)
        except Exception as error:  # noqa: BLE001 - the client gets a response, and the log a line
            fault = {
                "message": "the page cannot be made",
                "exception": error,
                "part": "metrics port",
            }
            asyncio.get_running_loop().call_exception_handler(fault)
            return PageResponse(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error, see the log\n")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """Forget the connection, and stop what it waits for."""
        self._site.connections.pop(self, None)
        for under_way in (self._timer, self._answering):
            if under_way is not None:
                under_way.cancel()


def _split(request: h11.Request) -> tuple[bytes, str | None]:
    """Return path and host of a request.

    The host of an absolute URL takes precedence over the header (RFC 9112, section 3.2.2). The host
    is None for an HTTP/1.0 request without the header, which no browser sends.
    """
    host = next((value for name, value in request.headers if name == b"host"), None)
    path = bytes(request.target)
    if absolute := _ABSOLUTE.match(path):
        host, path = absolute["host"], path[absolute.end() :]
        path = path if path.startswith(b"/") else b"/" + path
    return path, None if host is None else host.decode("latin-1")


async def serve_site(site: MetricsSite, listening: socket.socket) -> asyncio.Server:
    """Start serving on a listening socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: HttpConnection(site), sock=listening)
