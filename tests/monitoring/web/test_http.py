"""The metrics port: what it shows, and what it does with clients that speak HTTP badly."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from greyd import __version__
from greyd.config.errors import SettingsError
from greyd.config.settings import merge_settings
from greyd.config.sources import from_arguments
from greyd.config.vocabulary import METRICS_ENDPOINT, Endpoint
from greyd.monitoring.metrics import PARTS, Metrics
from greyd.monitoring.web import http
from greyd.monitoring.web.host_check import HostCheck
from greyd.monitoring.web.http import MAX_CONNECTIONS, MetricsSite, max_connections, serve_site
from greyd.rules.reasons import OUTCOMES, Reason
from greyd.runtime import time_slices
from greyd.runtime.time_slices import TimeSlices

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

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
    "greyd_doctor_probes": "counter",
    "greyd_outbound_not_learnt": "counter",
    "greyd_protocol_errors": "counter",
    "greyd_internal_errors": "counter",
    "greyd_build_info": "gauge",
    "greyd_last_scrape_timestamp_seconds": "gauge",
    "greyd_clock_timestamp_seconds": "gauge",
    "greyd_start_timestamp_seconds": "gauge",
    "greyd_settings_info": "gauge",
    "greyd_triplets_counted_timestamp_seconds": "gauge",
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
    "greyd_dns_source_up": "gauge",
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
        self.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return await self.answer(body=method != "HEAD")

    async def rest(self) -> bytes:
        """Read until the server closes, however it does that."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := await self.reader.read(65536):
                data += piece
        return data


class Port:
    """A running port."""

    def __init__(self, number: int, metrics: Metrics) -> None:
        self.number = number
        self.metrics = metrics
        self.ready = True
        self.unwritable = ""
        self.fault: Exception | None = None
        self.warnings: list[str] = []
        self.the_site = self.site()

    async def page(self) -> bytes:
        """Return the page for people, or fail as the test wants."""
        if self.fault is not None:
            raise self.fault
        return b"<p>all is well</p>"

    async def still_page(self) -> bytes:
        """Return the page without a refresh."""
        return b"<p>all is still</p>"

    async def figures(self) -> bytes:
        """Return the figures for programs."""
        return b'{"requests": 0}'

    def site(self) -> MetricsSite:
        """Return what the port shows."""
        return MetricsSite(
            self.metrics,
            ready=lambda: self.ready,
            unwritable=lambda: self.unwritable,
            page=self.page,
            still_page=self.still_page,
            stats=self.figures,
            hosts=HostCheck(Endpoint("127.0.0.1", self.number), ["mx.example.org"]),
            warn=self.warnings.append,
            slices=TimeSlices(),
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
        server = await serve_site(port.the_site, listening)
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
        for name in ("greyd_clock_timestamp_seconds", "greyd_start_timestamp_seconds"):
            assert abs(samples.pop((name, ())) - time.time()) < 60
        requests = {
            (labels["action"], labels["reason"])
            for name, pairs in samples
            if name == "greyd_requests_total" and (labels := dict(pairs))
        }
        assert requests == set(OUTCOMES)
        assert samples.pop(("greyd_store_up", ())) == 1
        resolver = samples.pop(("greyd_dns_source_up", (("zone", "resolver"),)), 1)
        assert resolver == 1
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
            head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
            prometheus.send(head + b"X-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n")
            assert (await prometheus.answer()).status == 200
        assert before <= await last_scrape() <= time.time()

    with_port(do)


def test_the_version_is_a_label() -> None:
    value = Metrics().registry.get_sample_value("greyd_build_info", {"version": __version__})
    assert value == 1


def test_what_is_counted_is_shown() -> None:
    async def do(port: Port) -> None:
        port.metrics.requests[Reason.TRIPLET_FOUND].inc(3)
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


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"<p>all is well</p>"),
        ("/?refresh=0", b"<p>all is still</p>"),
        ("/?refresh=1", b"<p>all is well</p>"),
        ("/?x", b"<p>all is well</p>"),
    ],
)
def test_people_may_ask_for_a_page_that_does_not_reload(path: str, body: bytes) -> None:
    async def do(port: Port) -> None:
        answer = await port.get(path)
        assert answer.body == body
        assert b"default-src 'none'" in answer.headers["content-security-policy"].encode()

    with_port(do)


def test_programs_get_json_that_is_not_kept() -> None:
    async def do(port: Port) -> None:
        answer = await port.get("/stats.json")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.body == await port.figures()

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
            client.send(b"".join(b"GET /%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % page
                                 for page in (b"healthz", b"nosuch", b"readyz")))  # fmt: skip
            assert (await client.answer()).status == 200
            assert await client.reader.read() == b""

    with_port(do)


def test_a_request_may_come_in_pieces() -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n":
                client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.answer()).status == 200

    with_port(do)


def test_a_body_that_nobody_wants_is_read_over() -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(
                b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"
            )
            client.send(b"x" * 50_000)
            assert (await client.answer()).status == 405
            assert await client.reader.read() == b""

    with_port(do)


@pytest.mark.parametrize(
    "head", [b"GET /healthz HTTP/1.0\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
             b"Connection: close\r\n\r\n"]
)  # fmt: skip
def test_the_connection_is_closed_where_the_client_wants_it(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that nothing else closes it.
    monkeypatch.setattr(http, "REQUEST_SECONDS", 3600)

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
            client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n")
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
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nBad Header: y\r\n\r\n",
        b"GET /healthz HTTP/9.9.9\r\nHost: localhost\r\n\r\n",
        bytes.fromhex("16030100") + b"\x05hello" * 40 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: localhost\r\n\r\nraw\r\n",
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
    "raw",
    [b"GET /" + b"x" * 100_000, b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 50_000],
)
def test_a_request_that_is_too_long_closes_the_connection(raw: bytes) -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(raw)
            await client.rest()

    with_port(do)


def test_who_asks_nothing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)

    async def do(port: Port) -> None:
        async with port.connected() as client:
            assert await client.rest() == b""
        async with port.connected() as client:
            client.send(b"GET /healthz HTTP/1.1\r\n")
            assert await client.rest() == b""

    with_port(do)


@pytest.fixture
def no_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no connection be closed because it is old."""
    monkeypatch.setattr(http, "REQUEST_SECONDS", 3600)


SILENT = b""
SLOW = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
PATHS = ["/livez", "/healthz", "/readyz", "/metrics", "/stats.json", "/"]


@pytest.mark.usefixtures("no_timeout")
@pytest.mark.parametrize("begun", [SILENT, SLOW], ids=["silent", "slow"])
@pytest.mark.parametrize("path", PATHS)
def test_beside_200_clients_that_ask_nothing_others_are_answered(path: str, begun: bytes) -> None:
    async def do(port: Port) -> None:
        async with contextlib.AsyncExitStack() as stack:
            hanging = [await stack.enter_async_context(port.connected()) for _ in range(200)]
            for each in hanging:
                each.send(begun)
            assert (await port.get(path)).status == 200
            # The newest of them still hang.
            hanging[-1].send(SLOW.removeprefix(begun) + b"not any more\r\n\r\n")
            assert (await hanging[-1].answer()).status == 200

    with_port(do)


@pytest.mark.usefixtures("no_timeout")
def test_of_clients_that_come_all_at_once_those_that_ask_are_answered() -> None:
    async def do(port: Port) -> None:
        async with contextlib.AsyncExitStack() as stack:
            ours = stack.enter_context(socket.create_connection(("127.0.0.1", port.number)))
            ours.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            # All of these wait in the kernel, behind it, until the loop goes on.
            for _ in range(MAX_CONNECTIONS):
                stack.enter_context(socket.create_connection(("127.0.0.1", port.number)))
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            assert (await loop.sock_recv(ours, 1000)).startswith(b"HTTP/1.1 200 ")

    with_port(do)


@pytest.mark.usefixtures("no_timeout")
def test_the_oldest_that_asks_nothing_makes_room_for_a_new_one() -> None:
    async def do(port: Port) -> None:
        async with contextlib.AsyncExitStack() as stack:
            kept = [
                await stack.enter_async_context(port.connected()) for _ in range(MAX_CONNECTIONS)
            ]
            kept[1].send(SLOW)
            await port.get("/healthz")
            assert await kept[0].rest() == b""
            for client in kept[2:]:
                assert (await client.get("/healthz")).status == 200

    with_port(do)


@pytest.mark.usefixtures("no_timeout")
def test_an_answer_that_is_being_made_is_given_though_the_port_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 3)

    async def do(port: Port) -> None:
        made = asyncio.Event()

        async def page() -> bytes:
            await made.wait()
            return b"made"

        monkeypatch.setattr(port.the_site, "page", page)
        async with contextlib.AsyncExitStack() as stack:
            asking = [await stack.enter_async_context(port.connected()) for _ in range(3)]
            for each in asking:
                each.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.sleep(0.1)
            async with port.connected() as late:
                assert await late.rest() == b""
            made.set()
            assert [(await each.answer()).body for each in asking] == [b"made"] * 3

    with_port(do)


@pytest.mark.usefixtures("no_timeout")
def test_who_does_not_read_the_answer_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 3)

    async def do(port: Port) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                deaf = await stack.enter_async_context(port.connected())
                assert (await deaf.get("/healthz")).status == 200
            assert (await port.get("/healthz")).status == 200

    with_port(do)


def test_few_file_descriptors_leave_the_port_few() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for descriptors, expected in ((1024, 64), (320, 20), (8, 1)):
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, before[1]))
            assert max_connections() == expected
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


# By which name it is asked ------------------------------------------------------------------------


ALLOWED = [
    "localhost", "localhost:9923", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1:19923",
    "127.1.2.3", "[::1]", "[::1]:9923", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]:9923",
    "mx.example.org", "MX.Example.ORG:9923", "mx.example.org.", "localhost:",
]  # fmt: skip
REFUSED = [
    "attacker.example", "attacker.example:9923", "localhost.attacker.example", "xlocalhost",
    "127.0.0.1.attacker.example", "127.0.0.1.nip.io", "192.0.2.1", "[2001:db8::1]", "0x7f.1",
    "2130706433", "127.1", "0177.0.0.1", "mx", "mx.example.org.attacker.example", "example.org",
    "localhost@attacker.example", "localhost, attacker.example", "[localhost]:1x", "[::1", "::1",
    "127.0.0.1:9923:9923", "localhost:port", "",
]  # fmt: skip


@pytest.mark.parametrize("host", [*ALLOWED, *REFUSED])
@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/nosuch"])
def test_only_who_asks_by_a_name_of_the_server_is_answered(host: str, path: str) -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = await client.answer()
            if host in ALLOWED:
                assert answer.status == (404 if path == "/nosuch" else 200)
            else:
                assert answer.status == 421
                assert answer.body.count(b"\n") == 1
                assert b"--metrics-host=" in answer.body

    with_port(do)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.0\r\nHost: attacker.example\r\n\r\n", 421),
        (b"GET http://localhost/metrics HTTP/1.1\r\nHost: attacker.example\r\n\r\n", 200),
        (b"GET http://attacker.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
        (b"GET HTTP://localhost@attacker.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421),
        (b"GET http://127.0.0.1:9923?x HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"HEAD / HTTP/1.1\r\nHost: attacker.example\r\n\r\n", 421),
        (b"POST / HTTP/1.1\r\nHost: attacker.example\r\n\r\n", 421),
        (b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", 421),
    ],
)
def test_a_request_names_its_host_in_more_than_one_way(raw: bytes, status: int) -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(raw)
            assert (await client.answer(body=not raw.startswith(b"HEAD"))).status == status

    with_port(do)


def test_two_hosts_in_one_request_are_no_request() -> None:
    async def do(port: Port) -> None:
        async with port.connected() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n")
            assert b"200" not in (await client.rest())[:20]

    with_port(do)


def test_a_refused_name_is_logged_once_and_steers_no_terminal() -> None:
    async def do(port: Port) -> None:
        for _ in range(3):
            async with port.connected() as client:
                client.send(b"GET / HTTP/1.1\r\nHost: greyd\x1b[2J\xe9:9923\r\n\r\n")
                await client.rest()
        for _ in range(3):
            async with port.connected() as client:
                client.send(b"GET / HTTP/1.1\r\nHost: greyd:9923\r\n\r\n")
                assert (await client.answer()).status == 421
        assert len(port.warnings) == 1
        assert port.warnings[0].isascii()
        assert port.warnings[0].isprintable()
        assert "--metrics-host" in port.warnings[0]

    with_port(do)


@pytest.mark.parametrize(
    ("listens", "host", "reached", "allowed"),
    [
        # On all interfaces: by any address, and by its own name.
        ("", "10.1.2.3:9923", "172.17.0.2", True),
        ("0.0.0.0", "10.1.2.3", "172.17.0.2", True),
        ("::", "[2001:db8::7]:9923", "2001:db8::7", True),
        ("", "mx1.example.org", "172.17.0.2", True),
        ("", "localhost", "127.0.0.1", True),
        ("", "greyd", "172.17.0.2", False),
        ("", "attacker.example", "172.17.0.2", False),
        # On one address: by that, and by its own name.
        ("10.1.2.3", "10.1.2.3:9923", "10.1.2.3", True),
        ("10.1.2.3", "mx1.example.org", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", "10.1.2.3", False),
        ("10.1.2.3", "attacker.example", "10.1.2.3", False),
        ("2001:db8::7", "[2001:DB8:0::7]:9923", "2001:db8::7", True),
        ("fe80::7", "[fe80::7%25eth0]:9923", "fe80::7%eth0", True),
        # By a name that stands for an address.
        ("mx1-mail.example.org", "mx1-mail.example.org:9923", "10.1.2.3", True),
        ("mx1-mail.example.org", "10.1.2.3", "10.1.2.3", True),
        # On loopback, no name but localhost.
        ("127.0.0.1", "mx1.example.org", "127.0.0.1", False),
        ("::1", "[::1]", "::1", True),
        ("127.0.0.1", "10.1.2.3", "127.0.0.1", False),
    ],
)
def test_where_the_port_listens_decides_by_which_names(
    listens: str, host: str, reached: str, allowed: bool
) -> None:
    check = HostCheck(Endpoint(listens, 9923), own_name="mx1.example.org")
    assert check.allows(host, reached) == allowed


@pytest.mark.parametrize(
    ("given", "host"),
    [("greyd", "GREYD:9923"), ("10.9.8.7", "10.9.8.7"), ("[2001:db8::1]", "[2001:DB8::1]:1"),
     ("2001:db8::1", "[2001:db8:0::1]"), ("Mx.Example.Org.", "mx.example.org")],
)  # fmt: skip
def test_a_name_that_is_given_is_allowed_however_it_is_written(given: str, host: str) -> None:
    settings = merge_settings(from_arguments([f"--metrics-host={given}"])[0])
    assert HostCheck(METRICS_ENDPOINT, settings.metrics_host).allows(host, "127.0.0.1")


@pytest.mark.parametrize("given", ["mx:9923", "http://mx", "", "*", "a b", "[::1]:9923", "a/b"])
def test_what_is_no_name_of_a_host_is_refused(given: str) -> None:
    with pytest.raises(SettingsError, match="without a port"):
        merge_settings(from_arguments([f"--metrics-host={given}"])[0])


# In slices ----------------------------------------------------------------------------------------


def test_long_work_lets_others_come_in_between_however_many_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time_slices, "SLICE_SECONDS", 0)
    seen: list[str] = []

    def steps(name: str) -> Iterator[str]:
        for number in range(5):
            seen.append(name)
            yield f"{name}{number}"

    async def run() -> None:
        slices = TimeSlices()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while len(seen) < 10:
                turns += 1
                seen.append("-") if seen and seen[-1] != "-" else None
                await asyncio.sleep(0)

        first, second, _ = await asyncio.gather(
            slices.run(steps("a")), slices.run(steps("b")), others()
        )
        assert first == [f"a{number}" for number in range(5)]
        assert second == [f"b{number}" for number in range(5)]

    asyncio.run(run())
    # Nobody takes two steps without the others in between.
    assert "".join(seen).replace("-", "")[:4] == "abab"
    assert all(one != other for one, other in pairwise(seen))
