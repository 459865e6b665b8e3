"""What is heard of servers: of good ones, bad ones, and several together."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config.vocabulary import Endpoint
from greyd.monitoring import stats_client
from greyd.monitoring.stats import Counts, ServerStats
from greyd.monitoring.stats_client import (
    FetchedStats,
    MetricsAddress,
    StatsUrlError,
    combined_periods,
    counts_between,
    fetch_all_stats,
    metrics_addresses,
)
from greyd.rules.reasons import Reason
from tests.monitoring.test_stats import Server

if TYPE_CHECKING:
    from collections.abc import Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
GOOD = json.dumps(Server().told()).encode()


def figures(requests: int = 0, *, seconds: float = 60, **changes: Any) -> ServerStats:
    server = Server()
    server.metrics.requests[Reason.NEW].inc(requests)
    told = server.figures()
    periods = {name: replace(each, seconds=seconds) for name, each in told.periods.items()}
    return replace(told, periods=periods, **changes)


def heard_of(*answers: bytes | None, wait: bool = False) -> list[FetchedStats]:
    """Return what is heard of servers that answer so; None is one that is not there."""

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
        heard = await fetch_all_stats([MetricsAddress("127.0.0.1", port) for port in ports])
        for each in started:
            if each:
                each.close()
        return heard

    return asyncio.run(run())


def test_a_server_tells_its_figures() -> None:
    (heard,) = heard_of(OK % (len(GOOD), GOOD))
    assert heard.stats == ServerStats.load(GOOD)
    assert heard.dump()["answers"] is True
    assert heard.dump()["host"] == "mx.example.org"


def test_one_that_is_away_does_not_keep_the_others_from_being_heard() -> None:
    away, good = heard_of(None, OK % (len(GOOD), GOOD))
    assert (away.stats, good.stats) == (None, ServerStats.load(GOOD))
    assert "connection refused" in away.fault
    assert away.dump() == {"url": "http://127.0.0.1:1", "answers": False, "fault": away.fault}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"220 mail.example.org ESMTP\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n", "--metrics-host"),
        (OK % (2, b"{}"), "not the statistics of a greyd"),
        (OK % (3_000_000, b" " * 3_000_000), "more than 1048576 octets"),
        (OK % (9, b"{"), "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "does not speak HTTP"),
        (b"\x1b[31m", "does not speak HTTP"),
    ],
)
def test_what_is_no_greyd_is_a_fault_in_one_line(answer: bytes, said: str) -> None:
    (heard,) = heard_of(answer)
    assert heard.stats is None
    assert said in heard.fault
    assert heard.fault.isprintable()


@pytest.mark.parametrize("answer", [b"H", b"HTTP/1.1 200 OK\r\n", OK % (99, b"{")])
def test_one_that_takes_too_long_is_given_up(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats_client, "TIMEOUT_SECONDS", 0.2)
    (heard,) = heard_of(answer, wait=True)
    assert heard.fault == "no answer within 0.2 s"


# Where to ask -------------------------------------------------------------------------------------


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
def test_the_settings_own_server_is_asked_from_here(metrics: Endpoint, url: str) -> None:
    (place,) = metrics_addresses([], metrics)
    assert place.url == url


def test_no_server_is_asked_where_there_are_no_metrics() -> None:
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
def test_servers_are_named_by_urls(text: str, url: str) -> None:
    (place,) = metrics_addresses([text], Endpoint("127.0.0.1", 1))
    assert place.url == url


@pytest.mark.parametrize(
    "text",
    [
        "", "ftp://x", "http://u:p@x", "http://x/other", "http://x?y", "http://x:99999",
        "http://[x", "http://a b", "file:///etc/passwd", "http://\x1b[31m",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused_in_one_harmless_line(text: str) -> None:
    with pytest.raises(StatsUrlError) as refused:
        metrics_addresses([text], None)
    assert str(refused.value).isprintable()


# Together -----------------------------------------------------------------------------------------


def test_servers_are_added_up_each_by_its_own_time() -> None:
    both = combined_periods([figures(60, seconds=60), figures(30, seconds=10)])["hour"]
    assert both.counts.requests == 90
    assert both.rate == 1 + 3
    assert both.dump()["per_second"] == 4
    outcomes = {each["reason"]: each for each in both.dump()["outcomes"]}
    assert outcomes["new"]["per_second"] == 4
    assert combined_periods([]) == {}


def test_a_server_that_was_just_started_has_no_rate_out_of_this_world() -> None:
    assert combined_periods([figures(60, seconds=0.01)])["minute"].rate == 60


def counted(of: Callable[[], Counts | None]) -> Counts:
    counts = of()
    assert counts is not None
    return counts


def test_between_two_answers_is_what_came_in_between() -> None:
    before, after = figures(10, time=100.0), figures(25, time=105.0)
    counts = counted(lambda: counts_between(before, after))
    assert (counts.requests, counts.seconds) == (15, 5)


def test_a_restart_in_between_is_seen() -> None:
    assert counts_between(figures(10, time=100.0), figures(3, time=105.0)) is None
    assert counts_between(figures(10, time=100.0), figures(10, time=100.0)) is None
