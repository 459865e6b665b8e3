"""The metrics port: ``/metrics`` for Prometheus, and three questions for whoever watches.

``/livez``: does the process answer? Where not, a restart helps.
``/healthz``: can it do its work, or must somebody mend something first? 503 where the store takes
nothing for a reason that does not pass by itself, e.g. a folder that belongs to another user. A
Redis that is away is no such reason: it returns, and mail passes meanwhile.
``/readyz``: does the store answer now?

At ``/`` there is a page for people, at ``/stats.json`` the same figures for programs.

HTTP/1.1 by h11; GET and HEAD only, one request a connection, so that nobody can queue up work. A
connection is closed after ``REQUEST_SECONDS``. No more than ``max_connections()`` are open at a
time: a new one takes the place of the one that keeps the server waiting longest.
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
from typing import TYPE_CHECKING, Any, NamedTuple

import h11

from greyd.escaping import percent_encode
from greyd.monitoring.metrics import exposition

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from greyd.monitoring.host_check import HostCheck
    from greyd.monitoring.metrics import Metrics
    from greyd.runtime.time_slices import TimeSlices

REQUEST_SECONDS = 10
MAX_CONNECTIONS = 100
"""Open at a time, where there are enough file descriptors."""

DESCRIPTORS_SHARE = 16
"""One of so many file descriptors may be a connection of the metrics port; the mail needs them."""

REFUSAL_LOG_SECONDS = 60
"""Of requests that name another host, one is logged in that time."""

_HTML = b"text/html; charset=utf-8"
_PLAIN = b"text/plain; charset=utf-8"
_JSON = b"application/json"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"

_OF_PROMETHEUS = b"x-prometheus-scrape-timeout-seconds"
"""A header of Prometheus's, and of all that scrape as it does; people and browsers send none."""

_FOR_BROWSERS = (
    (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cache-Control", b"no-store"),
)
"""Nothing may be loaded, run or kept."""


_ABSOLUTE = re.compile(rb"https?://(?:[^/?#@]*@)?(?P<host>[^/?#]*)", re.IGNORECASE)

_NOT_THIS_HOST = b"not asked by a name of this server; --metrics-host=NAME allows one more\n"

_PATHS = b"see /, /metrics, /stats.json, /livez, /healthz, /readyz\n"


class HttpResponse(NamedTuple):
    """What is answered to a request."""

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
    """What the port shows, and to whom."""

    metrics: Metrics
    ready: Callable[[], bool]
    """Whether the store answers this process."""
    unwritable: Callable[[], str]
    """What somebody has to mend before the store takes anything; empty where nothing is."""
    page: Callable[[], Awaitable[bytes]]
    figures: Callable[[], Awaitable[bytes]]
    hosts: HostCheck
    warn: Callable[[str], None]
    """Logs a warning."""
    slices: TimeSlices
    connections: dict[HttpConnection, None] = field(default_factory=dict)
    """Those that are open, the oldest first."""
    _refused_at: float = -REFUSAL_LOG_SECONDS

    def refuse(self, host: str) -> HttpResponse:
        """Return what is answered to a request for another host, and log it now and then."""
        if time.monotonic() - self._refused_at >= REFUSAL_LOG_SECONDS:
            self._refused_at = time.monotonic()
            name = percent_encode(host[:100].encode("latin-1", "replace")).decode()
            self.warn(
                f'metrics port: refused a request for the host "{name}"; if that is this server,'
                " allow its name by --metrics-host"
            )
        return HttpResponse(HTTPStatus.MISDIRECTED_REQUEST, _NOT_THIS_HOST)

    def opened(self, connection: HttpConnection) -> None:
        """Keep a connection; where there are too many, one has to go, the new one at the last."""
        self.connections[connection] = None
        if len(self.connections) > max_connections():
            # First who has sent nothing to be read, then who is slow to send, then who does not
            # read the answer; an answer that is being made is given.
            silent = [each for each in self.connections if each.waits_for_request()]
            unread = [each for each in self.connections if each.waits_for_reader()]
            victims = itertools.chain(
                (each for each in silent if each is not connection and not each.has_input()),
                silent[:-1],
                unread,
            )
            victim = next(victims, connection)
            # At once: it hears of its end only later, and others may come before that.
            del self.connections[victim]
            victim.abort()

    async def answer(self, path: bytes, *, scraped: bool = False) -> HttpResponse:
        """Return what is to be shown for a path; ``scraped`` says that a Prometheus asks."""
        match path.partition(b"?")[0]:
            case b"/":
                return HttpResponse(HTTPStatus.OK, await self.page(), _HTML, _FOR_BROWSERS)
            case b"/metrics":
                return HttpResponse(
                    HTTPStatus.OK, await self._show_metrics(scraped=scraped), _METRICS
                )
            case b"/stats.json":
                return HttpResponse(HTTPStatus.OK, await self.figures(), _JSON, _FOR_BROWSERS)
            case b"/livez":
                return HttpResponse(HTTPStatus.OK, b"ok\n")
            case b"/healthz":
                return self._health()
            case b"/readyz" if self._all_ready():
                return HttpResponse(HTTPStatus.OK, b"ready\n")
            case b"/readyz":
                return HttpResponse(
                    HTTPStatus.SERVICE_UNAVAILABLE, b"not ready: the store is away\n"
                )
            case _:
                return HttpResponse(HTTPStatus.NOT_FOUND, _PATHS)

    def _health(self) -> HttpResponse:
        # With several workers each sees the same file, so any of them may answer for all.
        if fault := self.unwritable():
            body = f"the store can't be written: {fault}\n".encode(errors="replace")
            return HttpResponse(HTTPStatus.SERVICE_UNAVAILABLE, body)
        return HttpResponse(HTTPStatus.OK, b"ok\n")

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
        # Where the workers' files are gone, until they are back, this one speaks for itself.
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
        """Begin, unless there are too many."""
        self._transport = transport
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(REQUEST_SECONDS, self._transport.abort)
        self._site.opened(self)

    def waits_for_request(self) -> bool:
        """Whether no complete request has been read."""
        return self._answering is None

    def has_input(self) -> bool:
        """Whether something has come that has not been read yet."""
        came = select.poll()
        came.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return bool(came.poll(0))

    def waits_for_reader(self) -> bool:
        """Whether the answer has been given, and not been read."""
        return self._answering is not None and self._answering.done()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Answer the first request, and read over what follows until the client closes too."""
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
        """Close too."""

    async def _respond(self, request: h11.Request) -> None:
        path, host = _split(request)
        if host is not None and not self._site.hosts.allows(host, self._reached()):
            answer = self._site.refuse(host)
        elif request.method in (b"GET", b"HEAD"):
            scraped = any(name == _OF_PROMETHEUS for name, _ in request.headers)
            answer = await self._answer(path, scraped=scraped)
        else:
            answer = HttpResponse(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n")
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
        # Closing both ways at once could reset the answer on its way.
        self._transport.write_eof()

    def _reached(self) -> str:
        """Return the address of ours that the client has reached."""
        address = self._transport.get_extra_info("sockname")
        return str(address[0]) if address else ""

    async def _answer(self, path: bytes, *, scraped: bool) -> HttpResponse:
        try:
            return await self._site.answer(path, scraped=scraped)
        except Exception as error:  # noqa: BLE001 - who asks is told, and so is the log
            fault = {
                "message": "the page can't be shown",
                "exception": error,
                "part": "metrics port",
            }
            asyncio.get_running_loop().call_exception_handler(fault)
            return HttpResponse(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error, see the log\n")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nothing is lost with it
        """End."""
        self._site.connections.pop(self, None)
        for under_way in (self._timer, self._answering):
            if under_way is not None:
                under_way.cancel()


def _split(request: h11.Request) -> tuple[bytes, str | None]:
    """Return path and host of a request.

    The host of an absolute URL counts more than the header (RFC 9112, 3.2.2). None: a request of
    HTTP/1.0 without the header, which no browser sends.
    """
    host = next((value for name, value in request.headers if name == b"host"), None)
    path = bytes(request.target)
    if absolute := _ABSOLUTE.match(path):
        host, path = absolute["host"], path[absolute.end() :]
        path = path if path.startswith(b"/") else b"/" + path
    return path, None if host is None else host.decode("latin-1")


async def serve_site(site: MetricsSite, listening: socket.socket) -> asyncio.Server:
    """Serve the site on a listening socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: HttpConnection(site), sock=listening)
