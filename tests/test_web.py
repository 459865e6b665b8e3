"""The metrics port: what it shows, and what it does with clients that speak HTTP badly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from greyd import __version__, web
from greyd.observe import OUTCOMES, PARTS, Metrics
from greyd.web import MOST_CONNECTIONS, Site, serve_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

METRICS: dict[str, str] = {
    "greyd_requests": "counter",
    "greyd_request_duration_seconds": "histogram",
    "greyd_greylist_delay_seconds": "histogram",
    "greyd_connections": "gauge",
    "greyd_whitelist_hits": "counter",
    "greyd_whitelist_entries": "gauge",
    "greyd_whitelist_reloads": "counter",
    "greyd_whitelist_last_read_successful": "gauge",
    "greyd_auto_whitelisted_clients": "counter",
    "greyd_auto_whitelisted_identities": "counter",
    "greyd_signals": "counter",
    "greyd_unsure": "counter",
    "greyd_identities": "counter",
    "greyd_store_duration_seconds": "histogram",
    "greyd_store_errors": "counter",
    "greyd_store_up": "gauge",
    "greyd_store_size_bytes": "gauge",
    "greyd_store_max_size_bytes": "gauge",
    "greyd_mode": "gauge",
    "greyd_protocol_errors": "counter",
    "greyd_internal_errors": "counter",
    "greyd_build_info": "gauge",
    "greyd_last_scrape_timestamp_seconds": "gauge",
    "greyd_clock_timestamp_seconds": "gauge",
    "process_virtual_memory_bytes": "gauge",
    "process_resident_memory_bytes": "gauge",
    "process_start_time_seconds": "gauge",
    "process_cpu_seconds": "counter",
    "process_open_fds": "gauge",
    "process_max_fds": "gauge",
}

DNS_METRICS: dict[str, str] = {
    "greyd_dns_lookups": "counter",
    "greyd_dns_cache_hits": "counter",
    "greyd_dns_duration_seconds": "histogram",
}
"""There where DNS is in use."""


class Answer(NamedTuple):
    """What a server has answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A connection to the port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def answer(self, *, body: bool = True) -> Answer:
        """Read one answer; with ``body=False`` to a HEAD."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        length = int(headers["content-length"]) if body else 0
        status = int(head[0].split(" ")[1])
        return Answer(status, headers, await self.reader.readexactly(length))

    async def get(self, path: str, method: str = "GET") -> Answer:
        self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return await self.answer(body=method != "HEAD")

    async def rest(self) -> bytes:
        """Read until the server closes, however it does that."""
        octets = b""
        with contextlib.suppress(ConnectionError):
            while piece := await self.reader.read(65536):
                octets += piece
        return octets


class Port:
    """A running port."""

    def __init__(self, number: int, metrics: Metrics) -> None:
        self.number = number
        self.metrics = metrics
        self.ready = True
        self.unwritable = ""
        self.fault: Exception | None = None

    async def page(self) -> bytes:
        """Return the page for people, or fail as the test wants."""
        if self.fault is not None:
            raise self.fault
        return b"<p>all is well</p>"

    def figures(self) -> bytes:
        """Return the figures for programs."""
        return b'{"requests": 0}'

    def site(self) -> Site:
        """Return what the port shows."""
        return Site(
            self.metrics, lambda: self.ready, lambda: self.unwritable, self.page, self.figures
        )

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def get(self, path: str, method: str = "GET") -> Answer:
        async with self.connected() as client:
            return await client.get(path, method)


def with_port(do: Callable[[Port], Coroutine[Any, Any, None]]) -> None:
    """Do something with a running port; faults in its callbacks fail the test."""

    async def run() -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        port = Port(listening.getsockname()[1], Metrics())
        server = await serve_site(port.site(), listening)
        try:
            await asyncio.wait_for(do(port), 30)
            assert (await port.get("/healthz")).status == 200
        finally:
            server.close()
            await server.wait_closed()
        assert faults == []

    asyncio.run(run())


# What it shows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("uses_dns", [False, True])
def test_the_metrics_can_be_read_by_prometheus_and_all_are_there_from_the_start(
    uses_dns: bool,
) -> None:
    async def do(port: Port) -> None:
        expected = METRICS
        if uses_dns:
            port.metrics.watch_dns()
            expected = METRICS | DNS_METRICS
        answer = await port.get("/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        families = list(text_string_to_metric_families(answer.body.decode()))
        assert {family.name: family.type for family in families} == expected
        assert all(family.documentation for family in families)
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
            if sample.name != "greyd_build_info" and not sample.name.startswith("process_")
        }
        assert abs(samples.pop(("greyd_clock_timestamp_seconds", ())) - time.time()) < 60
        requests = {
            (labels["action"], labels["reason"])
            for name, pairs in samples
            if name == "greyd_requests_total" and (labels := dict(pairs))
        }
        assert requests == set(OUTCOMES)
        assert samples.pop(("greyd_store_up", ())) == 1
        assert set(samples.values()) == {0}

    with_port(do)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("greyd_whitelist_hits_total", {"list": "clients"}),
        ("greyd_whitelist_hits_total", {"list": "recipients"}),
        ("greyd_whitelist_entries", {"list": "clients"}),
        ("greyd_whitelist_entries", {"list": "recipients"}),
        ("greyd_whitelist_reloads_total", {"result": "success"}),
        ("greyd_whitelist_reloads_total", {"result": "failure"}),
        ("greyd_whitelist_last_read_successful", {}),
        ("greyd_auto_whitelisted_clients_total", {}),
        ("greyd_store_duration_seconds_count", {"operation": "transact"}),
        ("greyd_store_errors_total", {"operation": "transact"}),
        ("greyd_protocol_errors_total", {}),
        *(("greyd_internal_errors_total", {"part": part}) for part in PARTS),
        ("greyd_request_duration_seconds_count", {}),
        ("greyd_greylist_delay_seconds_count", {}),
        ("greyd_connections", {}),
    ],
)
def test_a_series_that_can_be_known_begins_at_nought(name: str, labels: dict[str, str]) -> None:
    assert Metrics().registry.get_sample_value(name, labels) == 0


def test_a_scrape_is_noted_for_the_next_reader_and_no_other_reader_is() -> None:
    async def do(port: Port) -> None:
        async def last_scrape() -> float:
            body = (await port.get("/metrics")).body.decode()
            return float(body.partition("\ngreyd_last_scrape_timestamp_seconds ")[2].split()[0])

        await last_scrape()
        assert await last_scrape() == 0
        before = time.time()
        async with port.connected() as prometheus:
            head = "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n"
            prometheus.send(head.encode() + b"\r\n")
            assert (await prometheus.answer()).status == 200
        assert before <= await last_scrape() <= time.time()

    with_port(do)


def test_the_version_is_a_label() -> None:
    value = Metrics().registry.get_sample_value("greyd_build_info", {"version": __version__})
    assert value == 1


def test_what_is_counted_is_shown() -> None:
    async def do(port: Port) -> None:
        port.metrics.requests["pass", "triplet found"].inc(3)
        body = (await port.get("/metrics")).body.decode()
        assert 'greyd_requests_total{action="pass",reason="triplet found"} 3.0' in body

    with_port(do)


@pytest.mark.parametrize(
    ("ready", "unwritable", "statuses"),
    [
        (True, "", {"/livez": 200, "/healthz": 200, "/readyz": 200}),
        # A Redis that is away returns by itself, and mail passes meanwhile.
        (False, "", {"/livez": 200, "/healthz": 200, "/readyz": 503}),
        (False, "/state belongs to 0:0", {"/livez": 200, "/healthz": 503, "/readyz": 503}),
    ],
    ids=["all is well", "the store is away", "somebody must mend the store"],
)
def test_life_health_and_readiness_are_three_questions(
    ready: bool, unwritable: str, statuses: dict[str, int]
) -> None:
    async def do(port: Port) -> None:
        port.ready, port.unwritable = ready, unwritable
        answers = {path: await port.get(path) for path in statuses}
        assert {path: answer.status for path, answer in answers.items()} == statuses
        assert ready or b"store" in answers["/readyz"].body
        assert unwritable.encode() in answers["/healthz"].body
        port.unwritable = ""

    with_port(do)


@pytest.mark.parametrize("path", ["/metrics?name[]=x", "/healthz?", "/readyz?verbose=1&x=y"])
def test_a_query_does_not_matter(path: str) -> None:
    async def do(port: Port) -> None:
        assert (await port.get(path)).status == 200

    with_port(do)


@pytest.mark.parametrize("path", ["/x", "/metrics/", "/nosuch", "//metrics", "/%6detrics", "*"])
def test_another_page_is_not_there(path: str) -> None:
    async def do(port: Port) -> None:
        answer = await port.get(path)
        assert answer.status == 404
        assert answer.body == b"see /, /metrics, /stats.json, /livez, /healthz, /readyz\n"

    with_port(do)


def test_people_get_a_page_that_loads_nothing_and_is_not_kept() -> None:
    async def do(port: Port) -> None:
        answer = await port.get("/")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.body == b"<p>all is well</p>"

    with_port(do)


def test_programs_get_json_that_is_not_kept() -> None:
    async def do(port: Port) -> None:
        answer = await port.get("/stats.json")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.body == port.figures()

    with_port(do)


def test_a_fault_of_a_page_is_told_and_logged_and_the_others_are_served() -> None:
    async def do(port: Port) -> None:
        logged: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, fault: logged.append(str(fault["exception"])))
        port.fault = ValueError("of the test")
        assert (await port.get("/")).status == 500
        assert logged == ["of the test"]

    with_port(do)


@pytest.mark.parametrize("path", ["/", "/metrics", "/stats.json", "/healthz", "/nosuch"])
def test_head_is_get_without_the_body(path: str) -> None:
    async def do(port: Port) -> None:
        full = await port.get(path)
        async with port.connected() as client:
            head = await client.get(path, "HEAD")
            assert head.status == full.status
            if path == "/metrics":
                # The clock goes on in between, and some moments have more digits.
                del head.headers["content-length"], full.headers["content-length"]
            assert head.headers == full.headers
            assert await client.reader.read() == b""

    with_port(do)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "PRI"])
def test_other_methods_are_refused(method: str) -> None:
    async def do(port: Port) -> None:
        assert (await port.get("/metrics", method)).status == 405

    with_port(do)


# How it speaks ------------------------------------------------------------------------------------


def test_a_connection_carries_one_request_and_says_so() -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            answer = await client.get("/metrics")
            assert answer.headers["connection"] == "close"
            assert await client.reader.read() == b""

    with_port(do)


def test_of_requests_sent_ahead_the_first_is_answered() -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(b"".join(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % page
                                 for page in (b"healthz", b"nosuch", b"readyz")))  # fmt: skip
            assert (await client.answer()).status == 200
            assert await client.reader.read() == b""

    with_port(do)


def test_a_request_may_come_in_pieces() -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            for octet in b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n":
                client.send(bytes([octet]))
                await asyncio.sleep(0)
            assert (await client.answer()).status == 200

    with_port(do)


def test_a_body_that_nobody_wants_is_read_over() -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n")
            client.send(b"x" * 50_000)
            assert (await client.answer()).status == 405
            assert await client.reader.read() == b""

    with_port(do)


@pytest.mark.parametrize(
    "head", [b"GET /healthz HTTP/1.0\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
             b"Connection: close\r\n\r\n"]
)  # fmt: skip
def test_the_connection_is_closed_where_the_client_wants_it(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that nothing else closes it.
    monkeypatch.setattr(web, "REQUEST_SECONDS", 3600)

    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(head)
            assert (await client.answer()).body == b"ok\n"
            assert await client.rest() == b""

    with_port(do)


@pytest.mark.parametrize(
    "head",
    [
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Expect: 100-continue\r\nContent-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ],
)
def test_what_is_offered_beyond_the_request_is_declined(head: bytes) -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n")
            assert (await client.answer()).status == 200

    with_port(do)


@pytest.mark.parametrize(
    "raw",
    [
        b"request=smtpd_access_policy\n\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
        b"GET /healthz HTTP/9.9.9\r\nHost: x\r\n\r\n",
        bytes.fromhex("16030100") + b"\x05hello" * 40 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nraw\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_who_speaks_no_http_is_sent_away_and_others_are_served(raw: bytes) -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(raw)
            client.writer.write_eof()
            await client.rest()

    with_port(do)


@pytest.mark.parametrize(
    "raw", [b"GET /" + b"x" * 100_000, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 50_000]
)
def test_a_request_that_is_too_long_closes_the_connection(raw: bytes) -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(raw)
            await client.rest()

    with_port(do)


def test_who_asks_nothing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "REQUEST_SECONDS", 0.05)

    async def do(port: Port) -> None:
        async with port.connected() as client:
            assert await client.rest() == b""
        async with port.connected() as client:
            client.send(b"GET /healthz HTTP/1.1\r\n")
            assert await client.rest() == b""

    with_port(do)


def test_no_more_connections_are_kept_than_the_port_can_bear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(web, "REQUEST_SECONDS", 3600)

    async def do(port: Port) -> None:
        async with contextlib.AsyncExitStack() as stack:
            kept = [
                await stack.enter_async_context(port.connected()) for _ in range(MOST_CONNECTIONS)
            ]
            async with port.connected() as late:
                assert await late.rest() == b""
            for client in kept:
                assert (await client.get("/healthz")).status == 200
        # Those that have left make room.
        assert (await port.get("/healthz")).status == 200

    with_port(do)
