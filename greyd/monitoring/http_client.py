"""The HTTP client for the metrics ports of servers: GET, bounded in time and size."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11

from greyd.escaping import printable
from greyd.monitoring.errors import MonitoringError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_MISDIRECTED = 421
"""The status of greyd's response to a request for a host name that is not allowed."""


class HttpClientError(MonitoringError):
    """A URL cannot be fetched; the text has the reason without the URL."""


@dataclass(frozen=True, slots=True)
class FetchedResponse:
    """The response to a GET request."""

    status: int
    body: bytes


async def get(url: str, *, timeout_seconds: float, max_bytes: int) -> FetchedResponse:
    """Fetch an http or https URL, without following redirects or using proxies.

    Raises:
        HttpClientError: the URL is invalid, the connection failed, the response was not complete
            within ``timeout_seconds`` and ``max_bytes``, or the server does not accept the URL's
            host name.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise HttpClientError("invalid URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpClientError("invalid URL: write http://HOST:PORT")
    try:
        async with asyncio.timeout(timeout_seconds):
            response = await _exchange(parts, parts.hostname, port, max_bytes)
    except TimeoutError:
        raise HttpClientError(f"no answer within {timeout_seconds:g} s") from None
    except (OSError, h11.ProtocolError, UnicodeError) as error:
        raise HttpClientError(_reason(error)) from None
    if response.status == _MISDIRECTED:
        raise HttpClientError(
            "the server does not accept this host name; add it there with --metrics-host"
        )
    return response


def _reason(error: Exception) -> str:
    if isinstance(error, h11.RemoteProtocolError):
        return "it does not speak HTTP"
    if isinstance(error, h11.LocalProtocolError):
        return "invalid URL"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is greyd running, with --metrics?"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(str(reason).encode())[:200]


async def _exchange(parts: SplitResult, host: str, port: int, max_bytes: int) -> FetchedResponse:
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        http = h11.Connection(h11.CLIENT)
        authority = f"[{host}]" if ":" in host else host
        request = h11.Request(
            method="GET", target=parts.path or "/", headers=[("Host", f"{authority}:{port}")]
        )
        writer.write((http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b""))
        return await _response(http, reader, max_bytes)
    finally:
        # Complete or not, the response is not needed any more, so do not wait for an orderly close.
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _response(
    http: h11.Connection, reader: asyncio.StreamReader, max_bytes: int
) -> FetchedResponse:
    status, body = 0, b""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > max_bytes:
                raise HttpClientError(f"more than {max_bytes} bytes")
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            return FetchedResponse(status, body)
