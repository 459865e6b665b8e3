"""The metrics port: ``/metrics`` for Prometheus, and three questions for whoever watches.

``/livez``: does the process answer? Where not, a restart helps.
``/healthz``: can it do its work, or must somebody mend something first? 503 where the store takes
nothing for a reason that does not pass by itself, e.g. a folder that belongs to another user. A
Redis that is away is no such reason: it returns, and mail passes meanwhile.
``/readyz``: does the store answer now?

At ``/`` there is a page for people, at ``/stats.json`` the same figures for programs.

HTTP/1.1 by h11; GET and HEAD only, one request a connection, so that nobody can queue up work. A
connection is closed after ``REQUEST_SECONDS``, and no more than ``MOST_CONNECTIONS`` are open at a
time.
"""

from __future__ import annotations

import asyncio
import os
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

import h11
from prometheus_client import generate_latest

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from greyd.observe import Metrics

REQUEST_SECONDS = 10
MOST_CONNECTIONS = 50

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


_PATHS = b"see /, /metrics, /stats.json, /livez, /healthz, /readyz\n"


class Answer(NamedTuple):
    """What is answered to a request."""

    status: HTTPStatus
    body: bytes
    kind: bytes = _PLAIN
    headers: Sequence[tuple[bytes, bytes]] = ()


class Site:
    """What the port shows."""

    def __init__(
        self,
        metrics: Metrics,
        ready: Callable[[], bool],
        unwritable: Callable[[], str],
        page: Callable[[], Awaitable[bytes]],
        figures: Callable[[], bytes],
    ) -> None:
        """Show ``metrics``, whether the store is ``ready``, the ``page``, and ``figures``.

        ``unwritable`` says what somebody has to mend before the store takes anything; empty where
        nothing is.
        """
        self._metrics = metrics
        self._ready = ready
        self._unwritable = unwritable
        self._page = page
        self._figures = figures
        self.open_connections = 0

    async def answer(self, path: bytes, *, scraped: bool = False) -> Answer:
        """Return what is to be shown for a path; ``scraped`` says that a Prometheus asks."""
        match path.partition(b"?")[0]:
            case b"/":
                return Answer(HTTPStatus.OK, await self._page(), _HTML, _FOR_BROWSERS)
            case b"/metrics":
                return Answer(HTTPStatus.OK, self._show_metrics(scraped=scraped), _METRICS)
            case b"/stats.json":
                return Answer(HTTPStatus.OK, self._figures(), _JSON, _FOR_BROWSERS)
            case b"/livez":
                return Answer(HTTPStatus.OK, b"ok\n")
            case b"/healthz":
                return self._health()
            case b"/readyz" if self._all_ready():
                return Answer(HTTPStatus.OK, b"ready\n")
            case b"/readyz":
                return Answer(HTTPStatus.SERVICE_UNAVAILABLE, b"not ready: the store is away\n")
            case _:
                return Answer(HTTPStatus.NOT_FOUND, _PATHS)

    def _health(self) -> Answer:
        # With several workers each sees the same file, so any of them may answer for all.
        if fault := self._unwritable():
            body = f"the store can't be written: {fault}\n".encode(errors="replace")
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, body)
        return Answer(HTTPStatus.OK, b"ok\n")

    def _show_metrics(self, *, scraped: bool) -> bytes:
        now = time.time()
        self._metrics.clock.set(now)
        shown = generate_latest(self._metrics.of_all_workers())
        if scraped:
            self._metrics.scraped.set(now)
        return shown

    def _all_ready(self) -> bool:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._ready()
        up = self._metrics.of_all_workers().get_sample_value("greyd_store_up")
        # Where the workers' files are gone, until they are back, this one speaks for itself.
        return self._ready() if up is None else up == 1


class WebConnection(asyncio.Protocol):
    """One HTTP client."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many."""
        self._transport = transport
        self._site.open_connections += 1
        if self._site.open_connections > MOST_CONNECTIONS:
            self._transport.abort()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(REQUEST_SECONDS, self._transport.abort)

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
        if request.method in (b"GET", b"HEAD"):
            scraped = any(name == _OF_PROMETHEUS for name, _ in request.headers)
            answer = await self._answer(request.target, scraped=scraped)
        else:
            answer = Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET and HEAD\n")
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

    async def _answer(self, path: bytes, *, scraped: bool) -> Answer:
        try:
            return await self._site.answer(path, scraped=scraped)
        except Exception as error:  # noqa: BLE001 - who asks is told, and so is the log
            fault = {
                "message": "the page can't be shown",
                "exception": error,
                "part": "metrics port",
            }
            asyncio.get_running_loop().call_exception_handler(fault)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error, see the log\n")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nothing is lost with it
        """End."""
        self._site.open_connections -= 1
        for under_way in (self._timer, self._answering):
            if under_way is not None:
                under_way.cancel()


async def serve_site(site: Site, listening: socket.socket) -> asyncio.Server:
    """Serve the site on a listening socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: WebConnection(site), sock=listening)
