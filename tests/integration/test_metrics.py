"""The figures: a real Prometheus reads them, and they add up to the answers that were given."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from greyd.rules.reasons import OUTCOMES
from tests.integration.lives import (
    SOON_SECONDS,
    get,
    has_said,
    nothing_left_of,
    ready,
    workers_of,
)
from tests.integration.pressure import resident_bytes
from tests.integration.prometheus import prometheus_of, query
from tests.processes import (
    PolicyClient,
    encode,
    free_port,
    program,
    redis_server,
    request,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

START = 1_000_000
"""A time to begin at, on the tests' own clock (``--test-time``)."""

PROCESS = {
    "process_virtual_memory_bytes", "process_resident_memory_bytes", "process_start_time_seconds",
    "process_cpu_seconds_total", "process_open_fds", "process_max_fds",
}  # fmt: skip

STATE = {"greyd_start_timestamp_seconds", "greyd_open_fds", "greyd_max_fds"}


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    with nothing_left_of(tmp_path):
        yield


Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(port: int) -> Series:
    """Return every series and its value."""
    status, page = get(port, "/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def outcomes(port: int) -> Counter[tuple[str, str]]:
    """Return how many requests have ended in which action and reason; zeros are left out."""
    counted: Counter[tuple[str, str]] = Counter()
    for (name, labels), value in series(port).items():
        if name == "greyd_requests_total" and value:
            each = dict(labels)
            counted[each["action"], each["reason"]] = int(value)
    return counted


def total(port: int, name: str, **labels: str) -> float:
    """Return the value of one series."""
    return series(port)[name, frozenset(labels.items())]


# Prometheus -------------------------------------------------------------------------------------


def test_a_real_prometheus_sees_what_was_answered(tmp_path: Path) -> None:
    metrics = free_port()
    with ready(tmp_path, f"--metrics=127.0.0.1:{metrics}") as server:
        with PolicyClient(server.port) as client:
            for number in range(7):
                client.ask(request(recipient=f"user{number}@example.org"))
            client.ask(request(sasl_username="somebody"))
        with prometheus_of(tmp_path / "prometheus", metrics) as prometheus:
            wait_until(
                lambda: [value for _, value in query(prometheus, 'up{job="greyd"}')] == [1.0],
                "up in Prometheus",
            )
            seen = query(prometheus, "greyd_requests_total")
            counted = {
                (labels["action"], labels["reason"]): value for labels, value in seen if value
            }
            assert counted == {("greylist", "new"): 7, ("pass", "authenticated"): 1}
            assert {(labels["action"], labels["reason"]) for labels, _ in seen} == set(OUTCOMES)
            assert [value for _, value in query(prometheus, "greyd_store_up")] == [1.0]
            with PolicyClient(server.port) as client:
                client.ask(request(recipient="one-more@example.org"))
            wait_until(
                lambda: query(prometheus, "sum(greyd_requests_total)")[0][1] == 9,
                "one more in Prometheus",
            )
            server.stop()
            wait_until(
                lambda: [value for _, value in query(prometheus, 'up{job="greyd"}')] == [0.0],
                "down in Prometheus",
            )


@pytest.mark.parametrize("workers", ["1", "2"])
def test_promtool_finds_nothing_to_say(tmp_path: Path, workers: str) -> None:
    metrics = free_port()
    options = [f"--metrics=127.0.0.1:{metrics}", f"--workers={workers}"]
    with ready(tmp_path, *options) as server, PolicyClient(server.port) as client:
        client.ask(request())
        page = get(metrics, "/metrics")[1]
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=page, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


# What is there ----------------------------------------------------------------------------------


def test_every_series_is_there_at_0_before_the_first_request(tmp_path: Path) -> None:
    metrics = free_port()
    with ready(tmp_path, f"--metrics=127.0.0.1:{metrics}"):
        at_start = series(metrics)
    requests = {
        (labels["action"], labels["reason"])
        for labels in (dict(key[1]) for key in at_start if key[0] == "greyd_requests_total")
    }
    assert requests == set(OUTCOMES)
    assert {name for name, _ in at_start} == {
        "greyd_requests_total", "greyd_connections", "greyd_whitelist_hits_total",
        "greyd_whitelist_entries", "greyd_whitelist_reloads_total",
        "greyd_whitelist_last_read_successful",
        "greyd_auto_whitelisted_clients_total", "greyd_auto_whitelisted_identities_total",
        "greyd_outbound_not_learnt_total",
        "greyd_doctor_probes_total",
        "greyd_signals_total", "greyd_unsure_total", "greyd_identities_total",
        "greyd_store_errors_total", "greyd_store_up",
        "greyd_store_size_bytes", "greyd_store_max_size_bytes",
        "greyd_protocol_errors_total", "greyd_internal_errors_total",
        "greyd_build_info", "greyd_mode",
        "greyd_last_scrape_timestamp_seconds", "greyd_clock_timestamp_seconds",
        "greyd_settings_info", "greyd_triplets_counted_timestamp_seconds", *STATE,
        *(
            f"{histogram}_{part}"
            for histogram in (
                "greyd_request_duration_seconds", "greyd_greylist_delay_seconds",
                "greyd_store_duration_seconds",
            )
            for part in ("bucket", "count", "sum")
        ),
        *PROCESS,
    }  # fmt: skip
    not_0 = {name for (name, _), value in at_start.items() if value} - PROCESS - STATE
    assert not_0 == {
        "greyd_store_up", "greyd_build_info", "greyd_whitelist_last_read_successful", "greyd_mode",
        "greyd_clock_timestamp_seconds", "greyd_store_max_size_bytes", "greyd_settings_info",
    }  # fmt: skip


def test_serving_adds_no_series(tmp_path: Path) -> None:
    metrics = free_port()
    with ready(tmp_path, f"--metrics=127.0.0.1:{metrics}") as server:
        before = set(series(metrics))
        with PolicyClient(server.port) as client:
            for question in (request(), request(sasl_username="x"), request(sender=None)):
                client.ask(question)
        server.signal(signal.SIGHUP)
        reloads = "greyd_whitelist_reloads_total"
        wait_until(lambda: total(metrics, reloads, result="success") == 1, "the reload")
        assert set(series(metrics)) == before


def test_what_the_process_uses_is_told_where_there_is_but_one(tmp_path: Path) -> None:
    metrics = free_port()
    with ready(tmp_path / "one", f"--metrics=127.0.0.1:{metrics}") as server:
        assert {name for name, _ in series(metrics)} >= PROCESS
        resident = total(metrics, "process_resident_memory_bytes")
        assert resident == pytest.approx(resident_bytes(server.process.pid), rel=0.1)
    with ready(tmp_path / "two", f"--metrics=127.0.0.1:{metrics}", "--workers=2"):
        assert not PROCESS & {name for name, _ in series(metrics)}, "one worker's are misleading"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_whether_the_whitelists_could_be_read_is_told_until_they_can(
    tmp_path: Path, workers: str
) -> None:
    clients = tmp_path / "clients"
    metrics = free_port()
    options = [f"--metrics=127.0.0.1:{metrics}", f"--whitelist-clients={clients}"]
    with ready(tmp_path, *options, f"--workers={workers}") as server:

        def tells(value: int, when: str) -> None:
            name = "greyd_whitelist_last_read_successful"
            wait_until(lambda: total(metrics, name) == value, when)

        tells(0, "missing at the start")
        clients.touch()
        server.signal(signal.SIGHUP)
        tells(1, "there at the reload")
        clients.unlink()
        server.signal(signal.SIGHUP)
        tells(0, "missing at the next reload")


def test_no_label_tells_who_writes_to_whom(tmp_path: Path) -> None:
    metrics = free_port()
    with ready(tmp_path, f"--metrics=127.0.0.1:{metrics}") as server:
        with PolicyClient(server.port) as client:
            client.ask(
                request(
                    client_address="198.51.100.77",
                    client_name="secret-client.example.net",
                    sender="secret-sender@example.com",
                    recipient="secret-recipient@example.org",
                    helo_name="secret-helo",
                )
            )
            client.ask(request(client_address="secret-nonsense"))
        page = get(metrics, "/metrics")[1]
    assert "secret" not in page
    assert "198.51" not in page
    assert "@" not in page
    labels = set(re.findall(r'[{,](\w+)="', page))
    assert labels == {
        "action", "reason", "list", "result", "operation", "le", "version", "signal", "way",
        "mode", "part", "preset", "greylist", "identity",
    }  # fmt: skip


# Adding up --------------------------------------------------------------------------------------


def test_the_counters_tell_each_reason_of_a_mixed_stream_exactly(tmp_path: Path) -> None:
    (clients := tmp_path / "clients").write_text("friend.example.net\n")
    (recipients := tmp_path / "recipients").write_text("postmaster@\n")
    metrics = free_port()
    with redis_server(tmp_path) as redis:
        options = [
            f"--store=redis://127.0.0.1:{redis.port}/0", f"--metrics=127.0.0.1:{metrics}",
            "--test-time", "--delay=60", "--auto-whitelist-clients=1",
            f"--whitelist-clients={clients}", f"--whitelist-recipients={recipients}",
        ]  # fmt: skip
        with ready(tmp_path, *options) as server, PolicyClient(server.port) as client:

            def ask(times: int, at: int = START, **attributes: str | None) -> list[str | None]:
                question = request(**attributes, policy_test_time=str(at))
                return [client.ask(question) for _ in range(times)]

            ask(1, START)
            ask(3, START + 10)
            assert (ask(1, START + 61)[0] or "").startswith("action=PREPEND")
            ask(4, START + 70)
            ask(5, client_address="203.0.113.4", client_name="mx1.friend.example.net")
            ask(6, client_address="203.0.113.4", recipient="postmaster@example.org")
            ask(7, client_address="203.0.113.4", sasl_username="somebody")
            ask(8, sender=None)
            ask(9, client_address="203.0.113.256")
            # No reply, no count: what is no question of this protocol.
            client.send(b"request=something_else\n\n")
            # An answer that the client does not wait for counts as any other.
            client.send(encode(request(sasl_username="in a hurry")) * 10)
            for _ in range(10):
                assert client.reply() == b"action=DUNNO"

            redis.signal(signal.SIGSTOP)
            assert set(ask(2, client_address="203.0.113.4")) == {"action=DUNNO"}
            redis.signal(signal.SIGCONT)
            wait_until(lambda: get(metrics, "/readyz")[0] == 200, "Redis again", 2 * SOON_SECONDS)
            ask(1, client_address="203.0.113.4", sender="again@example.com")

            assert outcomes(metrics) == {
                ("greylist", "new"): 2,
                ("greylist", "early-retry"): 3,
                ("pass", "triplet found"): 1,
                ("pass", "client AWL"): 4,
                ("pass", "client whitelist"): 5,
                ("pass", "recipient whitelist"): 6,
                ("pass", "authenticated"): 17,
                ("pass", "missing attribute"): 8,
                ("pass", "client address"): 9,
                ("pass", "store unavailable"): 2,
            }
            answered = outcomes(metrics).total()
            assert total(metrics, "greyd_request_duration_seconds_count") == answered
            assert total(metrics, "greyd_greylist_delay_seconds_count") == 1
            assert total(metrics, "greyd_greylist_delay_seconds_sum") == 61
            assert total(metrics, "greyd_auto_whitelisted_clients_total") == 1
            assert total(metrics, "greyd_whitelist_hits_total", list="clients") == 5
            assert total(metrics, "greyd_whitelist_hits_total", list="recipients") == 6
            assert total(metrics, "greyd_whitelist_entries", list="clients") == 1
            assert total(metrics, "greyd_whitelist_entries", list="recipients") == 1
            assert total(metrics, "greyd_store_errors_total", operation="transact") == 2
            asked_the_store = 2 + 3 + 1 + 4 + 2
            seconds = "greyd_store_duration_seconds_count"
            assert total(metrics, seconds, operation="transact") == asked_the_store
            # Eight without a sender, nine without an address, one of an unknown type.
            assert total(metrics, "greyd_protocol_errors_total") == 18
            assert total(metrics, "greyd_connections") == 1
        assert server.log().count("action=") == answered


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--mode=learn"], {("pass", "learning"): 2, ("pass", "authenticated"): 1}),
        (["--mode=off"], {("pass", "mode off"): 2, ("pass", "authenticated"): 1}),
        (
            ["--store=redis://127.0.0.1:1/0", "--on-store-failure=defer"],
            {("greylist", "store unavailable"): 2, ("pass", "authenticated"): 1},
        ),
        (
            ["--store=redis://127.0.0.1:1/0"],
            {("pass", "store unavailable"): 2, ("pass", "authenticated"): 1},
        ),
    ],
)
def test_the_counters_tell_of_the_modes_too(
    tmp_path: Path, options: list[str], expected: dict[tuple[str, str], int]
) -> None:
    metrics = free_port()
    with ready(tmp_path, f"--metrics=127.0.0.1:{metrics}", *options) as server:
        with PolicyClient(server.port) as client:
            for question in (request(), request(), request(sasl_username="somebody")):
                assert client.ask(question)
        assert outcomes(metrics) == expected


def test_a_request_whose_client_has_gone_is_counted_where_it_was_decided(tmp_path: Path) -> None:
    metrics = free_port()
    with ready(tmp_path, f"--metrics=127.0.0.1:{metrics}") as server:
        for number in range(20):
            with PolicyClient(server.port) as client:
                client.send(encode(request(recipient=f"user{number}@example.org")))
        wait_until(lambda: outcomes(metrics).total() == 20, "all counted")
        wait_until(lambda: total(metrics, "greyd_connections") == 0, "nobody connected")
        assert outcomes(metrics) == {("greylist", "new"): 20}


# The port ---------------------------------------------------------------------------------------


def test_the_port_answers_get_and_head_and_nothing_else(tmp_path: Path) -> None:
    metrics = free_port()
    with ready(tmp_path, f"--metrics=127.0.0.1:{metrics}"):
        assert get(metrics, "/healthz") == (200, "ok\n")
        assert get(metrics, "/readyz") == (200, "ready\n")
        assert get(metrics, "/nosuch")[0] == 404
        connection = http.client.HTTPConnection("127.0.0.1", metrics, timeout=10)
        for method, status in (("HEAD", 200), ("GET", 200), ("POST", 405), ("GET", 200)):
            connection.request(method, "/metrics")
            response = connection.getresponse()
            assert response.status == status
            assert bool(response.read()) == (method != "HEAD")
        connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_metrics_port_that_is_taken_costs_one_warning_and_no_mail(
    tmp_path: Path, workers: str
) -> None:
    metrics = free_port()
    options = [f"--metrics=127.0.0.1:{metrics}", f"--workers={workers}"]
    with (
        ready(tmp_path / "first", *options) as first,
        ready(tmp_path / "second", *options) as second,
        PolicyClient(second.port) as client,
    ):
        assert (client.ask(request()) or "").startswith("action=DEFER_IF_PERMIT")
        has_said(second, "listens on", times=int(workers))
        warnings = [line for line in second.log().splitlines() if "--metrics=" in line]
        assert len(warnings) == 1
        assert warnings[0].startswith(f"warning: no metrics: --metrics=127.0.0.1:{metrics}: in use")
        assert outcomes(metrics).total() == 0, "that is the first one's port"
        assert len(workers_of(second.process.pid)) == (2 if workers == "2" else 0)
        assert first.stop() == 0


@pytest.mark.parametrize(
    ("options", "allowed", "refused"),
    [
        (["--metrics=127.0.0.1:{}"], ["localhost", "127.0.0.1:1"], ["greyd:9923", "192.0.2.1"]),
        (["--metrics=127.0.0.1:{}", "--metrics-host=greyd"], ["greyd:9923"], ["attacker.example"]),
        (["--metrics=*:{}", "--hostname=mx1.example.org"], ["192.0.2.1", "mx1.example.org"],
         ["greyd:9923", "attacker.example"]),
    ],
)  # fmt: skip
def test_the_port_is_asked_by_its_own_names(
    tmp_path: Path, options: list[str], allowed: list[str], refused: list[str]
) -> None:
    port = free_port()
    with ready(tmp_path, *(each.format(port) for each in options)) as server:

        def status(host: str) -> int:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", "/metrics", headers={"Host": host})
                return connection.getresponse().status

        assert [status(each) for each in allowed] == [200] * len(allowed)
        assert [status(each) for each in refused] == [421] * len(refused)
        has_said(server, f'refused a request for the host "{refused[0]}"')
        assert server.log().count("refused a request") == 1


def test_0_means_no_metrics_port(tmp_path: Path) -> None:
    with ready(tmp_path, "--metrics=0") as server:
        assert "no metrics" not in server.log()
        with PolicyClient(server.port) as client:
            assert client.ask(request())
