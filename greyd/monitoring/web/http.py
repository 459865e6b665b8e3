"""The metrics port: metrics for Prometheus, health checks, the status page and statistics.

``/metrics``: all metrics, in Prometheus's text format.
``/livez``: 200. If there is no response, the process hangs and has to be restarted.
``/healthz``: 503 if the store is not writable until an administrator repairs it, e.g. because its
folder belongs to another user. For an unreachable Redis it is 200, because that recovers without
an administrator.
``/readyz``: 503 while the store does not answer.
``/``: the status page. ``/stats.json``: the same figures for programs.

The protocol is HTTP/1.1 (h11) with GET and HEAD only, and with one request per connection, so that
no client can queue requests. A connection is closed after ``REQUEST_SECONDS``. At most
``max_connections()`` are open at a time: a further connection replaces the one that has kept the
server waiting longest.
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
"""Maximum number of open connections, if the limit of file descriptors is high enough."""

DESCRIPTORS_SHARE = 16
"""At most ``1 / DESCRIPTORS_SHARE`` of the file descriptors may be connections of this port."""

REFUSAL_LOG_SECONDS = 60
"""Minimum time between two log lines about requests for another host."""

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
"""Headers that forbid a browser to load other files, to run scripts, and to cache the page."""


_ABSOLUTE = re.compile(rb"https?://(?:[^/?#@]*@)?(?P<host>[^/?#]*)", re.IGNORECASE)

_NOT_THIS_HOST = b"the Host header is not a name of this server; --metrics-host=NAME allows it\n"

_PATHS = b"see /, /metrics, /stats.json, /livez, /healthz, /readyz\n"


@dataclass(frozen=True, slots=True)
class PageResponse:
    """A response without the headers that all responses share."""

    status: HTTPStatus
    body: bytes
    kind: bytes = _PLAIN
    headers: Sequence[tuple[bytes, bytes]] = ()


def max_connections() -> int:
    """Return the maximum number of open connections."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(min(MAX_CONNECTIONS, descriptors // DESCRIPTORS_SHARE), 1)


@dataclass
class MetricsSite:
    """The content of the metrics port, and its open connections."""

    metrics: Metrics
    ready: Callable[[], bool]
    """Returns whether the store answers this process."""
    unwritable: Callable[[], str]
    """Returns why the store is not writable until it is repaired; empty if it is writable."""
    page: Callable[[], Awaitable[bytes]]
    still_page: Callable[[], Awaitable[bytes]]
    """The same without a refresh by the browser, at ``/?refresh=0``."""
    stats: Callable[[], Awaitable[bytes]]
    hosts: HostCheck
    warn: Callable[[str], None]
    """Logs a warning."""
    slices: TimeSlices
    connections: dict[HttpConnection, None] = field(default_factory=dict)
    """Open connections, the oldest first."""
    _refused_at: float = -REFUSAL_LOG_SECONDS

    def refuse(self, host: str) -> PageResponse:
        """Return the response to a request for another host.

        Logs the request, but at most once in ``REFUSAL_LOG_SECONDS``.
        """
        if time.monotonic() - self._refused_at >= REFUSAL_LOG_SECONDS:
            self._refused_at = time.monotonic()
            name = percent_encode(host[:100].encode("latin-1", "replace")).decode()
            self.warn(
                f'metrics port: refused a request for the host "{name}"; if that is this server,'
                " allow it by --metrics-host"
            )
        return PageResponse(HTTPStatus.MISDIRECTED_REQUEST, _NOT_THIS_HOST)

    def opened(self, connection: HttpConnection) -> None:
        """Register a connection; if there are too many, close another one, else the new one."""
        self.connections[connection] = None
        if len(self.connections) > max_connections():
            # Close in this order: clients that have sent no input, clients with an incomplete
            # request, clients that do not read the response. A response in preparation is sent.
            silent = [each for each in self.connections if each.waits_for_request()]
            unread = [each for each in self.connections if each.waits_for_reader()]
            victims = itertools.chain(
                (each for each in silent if each is not connection and not each.has_input()),
                silent[:-1],
                unread,
            )
            victim = next(victims, connection)
            # At once, because another client may connect before connection_lost() is called.
            del self.connections[victim]
            victim.abort()

    async def answer(self, path: bytes, *, scraped: bool = False) -> PageResponse:
        """Return the response for a path; ``scraped`` if the request comes from Prometheus."""
        name, _, query = path.partition(b"?")
        match name:
            case b"/":
                page = self.still_page if query == b"refresh=0" else self.page
                return PageResponse(HTTPStatus.OK, await page(), _HTML, _FOR_BROWSERS)
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
        # All workers use the same file, so each of them can check it for all.
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
        # Without the workers' files, only the state of this worker is known.
        return self.ready() if up is None else up


class HttpConnection(asyncio.Protocol):
    """The connection of an HTTP client."""

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
        """Return whether the connection has not yet sent a complete request."""
        return self._answering is None

    def has_input(self) -> bool:
        """Return whether the socket has unread input."""
        came = select.poll()
        came.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return bool(came.poll(0))

    def waits_for_reader(self) -> bool:
        """Return whether the response has been sent but the client has not read all of it."""
        return self._answering is not None and self._answering.done()

    def abort(self) -> None:
        """Close the connection immediately."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer the first request, and ignore all later input."""
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
        """Return the local address of the connection."""
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
        """Remove the connection, and cancel its timer and its response."""
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
