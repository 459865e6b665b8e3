"""The metrics port: ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for whoever watches.

HTTP/1.1 by h11; GET and HEAD only, one request a connection, so that nobody can queue up work. A
connection is closed after ``REQUEST_SECONDS``, and no more than ``MOST_CONNECTIONS`` are open at a
time.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import h11
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from greyd.observe import Metrics

REQUEST_SECONDS = 10
MOST_CONNECTIONS = 50
_PLAIN = b"text/plain; charset=utf-8"
_METRICS = b"text/plain; version=0.0.4; charset=utf-8"

Answer = tuple[int, bytes, bytes]


class Site:
    """What the port shows."""

    def __init__(self, metrics: Metrics, ready: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._ready = ready
        self.open_connections = 0

    def answer(self, path: bytes) -> Answer:
        """Return status, content type and body for a path."""
        pages: dict[bytes, Callable[[], Answer]] = {
            b"/metrics": self._show_metrics,
            b"/healthz": lambda: (200, _PLAIN, b"ok\n"),
            b"/readyz": self._show_readiness,
        }
        page = pages.get(path.partition(b"?")[0])
        if page is None:
            return 404, _PLAIN, b"see /metrics, /healthz, /readyz\n"
        return page()

    def _show_metrics(self) -> Answer:
        return 200, _METRICS, generate_latest(self._registry())

    def _show_readiness(self) -> Answer:
        if self._all_ready():
            return 200, _PLAIN, b"ready\n"
        return 503, _PLAIN, b"not ready: the store is away\n"

    def _registry(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._metrics.registry
        # Whichever worker is asked answers for all of them.
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def _all_ready(self) -> bool:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._ready()
        return self._registry().get_sample_value("greyd_store_up") == 1


class WebConnection(asyncio.Protocol):
    """One HTTP client."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=16 * 1024)
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

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
        if self._answered:
            return
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError:
            self._transport.close()
            return
        if isinstance(event, h11.Request):
            self._respond(event)

    def eof_received(self) -> None:
        """Close too."""

    def _respond(self, request: h11.Request) -> None:
        self._answered = True
        if request.method in (b"GET", b"HEAD"):
            status, kind, body = self._site.answer(request.target)
        else:
            status, kind, body = 405, _PLAIN, b"only GET and HEAD\n"
        headers = [
            (b"Content-Type", kind),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"close"),
            (b"Server", b"greyd"),
        ]
        parts = [self._http.send(h11.Response(status_code=status, headers=headers))]
        if request.method != b"HEAD":
            parts.append(self._http.send(h11.Data(data=body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in parts if part))
        # Closing both ways at once could reset the answer on its way.
        self._transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nothing is lost with it
        """End."""
        self._site.open_connections -= 1
        if self._timer is not None:
            self._timer.cancel()


async def serve_site(site: Site, listening: socket.socket) -> asyncio.Server:
    """Serve the site on a listening socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: WebConnection(site), sock=listening)
