"""The statistics of servers are fetched from good servers, and faults from others."""

from __future__ import annotations

import asyncio
import json

import pytest

from greyd.config.vocabulary import Endpoint
from greyd.monitoring import stats_client
from greyd.monitoring.stats import ServerStats
from greyd.monitoring.stats_client import (
    FetchedStats,
    MetricsAddress,
    StatsUrlError,
    fetch_all_stats,
    metrics_addresses,
)
from tests.monitoring.test_stats import Server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
GOOD = json.dumps(Server().told()).encode()


def fetched_from(*answers: bytes | None, wait: bool = False) -> list[FetchedStats]:
    """Return what is fetched from servers that send these answers; None stands for no server."""

    async def serve(answer: bytes) -> asyncio.Server:
        async def answer_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            if wait:
                await reader.read()
            writer.close()

        return await asyncio.start_server(answer_it, "127.0.0.1", 0)

    async def run() -> list[FetchedStats]:
        started = [answer and await serve(answer) for answer in answers]
        ports = [each.sockets[0].getsockname()[1] if each else 1 for each in started]
        fetched = await fetch_all_stats([MetricsAddress("127.0.0.1", port) for port in ports])
        for each in started:
            if each:
                each.close()
        return fetched

    return asyncio.run(run())


def test_the_statistics_of_a_server_are_fetched() -> None:
    (fetched,) = fetched_from(OK % (len(GOOD), GOOD))
    assert fetched.stats == ServerStats.load(GOOD)
    assert fetched.dump()["answers"] is True
    assert fetched.dump()["host"] == "mx.example.org"


def test_a_server_that_is_down_does_not_hide_the_others() -> None:
    down, good = fetched_from(None, OK % (len(GOOD), GOOD))
    assert (down.stats, good.stats) == (None, ServerStats.load(GOOD))
    assert "connection refused" in down.fault
    assert down.dump() == {"url": "http://127.0.0.1:1", "answers": False, "fault": down.fault}


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"220 mail.example.org ESMTP\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n", "--metrics-host"),
        (OK % (2, b"{}"), "not the statistics of a greyd"),
        (OK % (3_000_000, b" " * 3_000_000), "more than 1048576 bytes"),
        (OK % (9, b"{"), "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "does not speak HTTP"),
        (b"\x1b[31m", "does not speak HTTP"),
    ],
)
def test_an_answer_that_is_not_greyds_is_a_fault_of_one_line(answer: bytes, fault: str) -> None:
    (fetched,) = fetched_from(answer)
    assert fetched.stats is None
    assert fault in fetched.fault
    assert fetched.fault.isprintable()


@pytest.mark.parametrize("answer", [b"H", b"HTTP/1.1 200 OK\r\n", OK % (99, b"{")])
def test_a_server_that_takes_too_long_is_given_up(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats_client, "TIMEOUT_SECONDS", 0.2)
    (fetched,) = fetched_from(answer, wait=True)
    assert fetched.fault == "no answer within 0.2 s"


# Addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metrics", "url"),
    [
        (Endpoint("127.0.0.1", 9923), "http://127.0.0.1:9923"),
        (Endpoint("0.0.0.0", 99), "http://127.0.0.1:99"),
        (Endpoint("", 99), "http://127.0.0.1:99"),
        (Endpoint("::", 99), "http://[::1]:99"),
        (Endpoint("mx.example.org", 99), "http://mx.example.org:99"),
    ],
)
def test_the_server_of_the_settings_is_reached_by_a_local_address(
    metrics: Endpoint, url: str
) -> None:
    (address,) = metrics_addresses([], metrics)
    assert address.url == url


def test_without_metrics_there_is_no_server_to_ask() -> None:
    assert metrics_addresses([], None) == []


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://mx1:9923", "http://mx1:9923"),
        ("mx1:99", "http://mx1:99"),
        ("mx1", "http://mx1:9923"),
        ("http://mx1/stats.json", "http://mx1:9923"),
        ("https://mx1/", "https://mx1:443"),
        ("http://[2001:db8::1]:99", "http://[2001:db8::1]:99"),
    ],
)
def test_a_url_names_a_metrics_port(text: str, url: str) -> None:
    (address,) = metrics_addresses([text], Endpoint("127.0.0.1", 1))
    assert address.url == url


@pytest.mark.parametrize(
    "text",
    [
        "", "ftp://x", "http://u:p@x", "http://x/other", "http://x?y", "http://x:99999",
        "http://[x", "http://a b", "file:///etc/passwd", "http://\x1b[31m",
    ],
)  # fmt: skip
def test_an_invalid_url_is_an_error_of_one_printable_line(text: str) -> None:
    with pytest.raises(StatsUrlError) as refused:
        metrics_addresses([text], None)
    assert str(refused.value).isprintable()
