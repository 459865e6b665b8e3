"""The HTTP client is bounded, and says in one line what is wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from greyd.monitoring.http_client import HttpClientError, get

if TYPE_CHECKING:
    from greyd.monitoring.http_client import FetchedResponse


def fetched(answer: bytes, path: str = "/", max_bytes: int = 1000) -> tuple[FetchedResponse, bytes]:
    """Return what is fetched from a server that sends this answer, and the request it got."""
    requests = []

    async def run() -> FetchedResponse:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}{path}"
            return await get(url, timeout_seconds=5, max_bytes=max_bytes)

    return asyncio.run(run()), requests[0]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n", 503, b""),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, b""),
    ],
)
def test_an_answer_has_a_status_and_a_body(answer: bytes, status: int, body: bytes) -> None:
    response, request = fetched(answer, "/metrics")
    assert (response.status, response.body) == (status, body)
    assert request.startswith(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n", "--metrics-host"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000, "more than 1000 bytes"),
        (b"220 mail.example.org ESMTP\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
    ],
)
def test_an_answer_that_is_refused_cut_off_or_too_large_is_an_error(
    answer: bytes, fault: str
) -> None:
    with pytest.raises(HttpClientError, match=fault):
        fetched(answer)


@pytest.mark.parametrize(
    "url", ["", "ftp://x/", "http://", "http://[x/", "http://x:99999/", "http://127.0.0.1:1/a b"]
)
def test_an_invalid_url_is_an_error_of_one_printable_line(url: str) -> None:
    with pytest.raises(HttpClientError) as raised:
        asyncio.run(get(url, timeout_seconds=5, max_bytes=1000))
    assert str(raised.value).isprintable()
