"""The load generator counts what it should, and the benchmark runs. Nothing here is timed."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from greyd.policy.protocol import RequestParser
from tests import processes
from tests.benchmarks import load
from tests.benchmarks.servers import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from greyd.rules.request import Request

WHITELIST = f"--whitelist-clients={PROJECT / 'whitelists' / 'whitelist_clients'}"


def test_no_two_requests_share_a_new_triplet() -> None:
    asks = load.make_requests("new", 5000, first=1) + load.make_requests("new", 5000, first=5001)
    assert len({triplet_of(ask) for ask in asks}) == 10_000


def test_mixed_holds_each_kind_in_its_share() -> None:
    kinds = Counter(ask.kind for ask in load.make_requests("mixed", 2000, first=1))
    assert kinds == {"new": 1000, "whitelisted": 500, "known": 400, "early": 100}


def test_an_early_retry_repeats_a_triplet_that_went_out_before() -> None:
    seen = set()
    for ask in load.make_requests("mixed", 5000, first=1):
        if ask.kind == "early":
            assert triplet_of(ask) in seen
        seen.add(triplet_of(ask))


def test_a_known_triplet_is_one_of_the_warm_up() -> None:
    known = {triplet_of(ask) for ask in load.make_warm_up(at=1_000_000)}
    asked = {triplet_of(ask) for ask in load.make_requests("mixed", 5000, 1) if ask.kind == "known"}
    assert asked <= known


def test_known_mail_is_nothing_but_triplets_of_the_warm_up() -> None:
    warm_up = {triplet_of(ask) for ask in load.make_warm_up(at=None)}
    asks = load.make_requests("known", 5000, first=1)
    assert {ask.kind for ask in asks} == {"known"}
    assert {triplet_of(ask) for ask in asks} == warm_up


@pytest.mark.parametrize(
    ("reply", "verb"),
    [
        (b"action=DUNNO\n\n", "DUNNO"),
        (b"action=dunno\n\n", "DUNNO"),
        (b"action=defer_if_permit Greylisted for 5 minutes\n\n", "DEFER_IF_PERMIT"),
        (b"action=PREPEND X-Greylist: delayed\n\n", "PREPEND"),
    ],
)
def test_a_verb_counts_in_upper_and_in_lower_case(reply: bytes, verb: str) -> None:
    assert load.verb(reply) == verb


def test_a_request_is_what_postfix_sends() -> None:
    data = load.make_requests("new", 1, first=1)[0].data
    assert len(data.split(b"\n")) == 31 + 2
    assert len(list(RequestParser().feed(data))) == 1


def test_due_times_rise_and_keep_the_rate() -> None:
    due = load.poisson(10_000, rate=1000, seed=1)
    assert due == sorted(due)
    assert due[-1] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_a_percentile_is_a_value_that_was_measured(share: float, value: int) -> None:
    assert load.percentile(range(100, 0, -1), share) == value


def test_a_server_that_hangs_up_is_an_error_and_not_a_result() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        clients = load.connect("127.0.0.1", listening.getsockname()[1], 1)
        listening.accept()[0].close()
        with clients[0].socket, pytest.raises(load.LoadError, match=r"closed|broke"):
            load.Load(clients, load.make_requests("new", 1, first=1)).run()


@pytest.mark.integration
@pytest.mark.parametrize("loop", [(), ("--rate=2000",)], ids=["closed", "open"])
def test_all_that_is_asked_is_answered_and_counted(tmp_path: Path, loop: tuple[str, ...]) -> None:
    with processes.greyd(tmp_path) as server:
        status, result = measure(server.port, "--mode=new", "--requests=1001", *loop)
    assert status == 0
    assert result["requests"] == result["answered"] == 1001
    assert result["answers"] == {"new": {"DEFER_IF_PERMIT": 1001}}
    assert len(server.log().split("action=greylist, reason=new")) == 1001 + 1


@pytest.mark.integration
def test_mixed_mail_gets_the_verbs_that_it_is_owed_again_and_again(tmp_path: Path) -> None:
    with processes.greyd(tmp_path, "--test-time", WHITELIST) as server:
        first = measure(server.port, "--mode=mixed", "--requests=1000")
        again = measure(server.port, "--mode=mixed", "--requests=1000", "--no-warm-up")
    for status, result in (first, again):
        assert status == 0
        assert result["answers"] == {
            "early": {"DEFER_IF_PERMIT": 50},
            "known": {"DUNNO": 200},
            "new": {"DEFER_IF_PERMIT": 500},
            "whitelisted": {"DUNNO": 250},
        }


@pytest.mark.integration
def test_a_server_that_answers_fast_but_wrongly_fails(tmp_path: Path) -> None:
    with processes.greyd(tmp_path, "--mode=off") as server:
        status, result = measure(server.port, "--mode=new", "--requests=100")
    assert status == 1
    assert result["wrong"] == 100


@pytest.mark.integration
def test_a_run_ends_after_its_seconds_with_what_was_answered_till_then(tmp_path: Path) -> None:
    with processes.greyd(tmp_path) as server:
        status, result = measure(server.port, "--requests=50000", "--seconds=0.1")
    assert status == 0
    assert 0 < result["answered"] < result["requests"]


@pytest.mark.integration
def test_a_quick_benchmark_prints_a_table_and_writes_all_fields(tmp_path: Path) -> None:
    done = run("tests.benchmarks", "--quick", f"--output={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "greyd-sqlite" in done.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["faults"] == []
    assert results["machine"].keys() >= {"cores", "processor", "kernel", "python", "file_system"}
    assert results["servers"]["greyd-sqlite"].keys() >= {
        "version", "durability", "start_seconds_median", "memory_idle_mb", "memory_after_mb",
    }  # fmt: skip
    assert [(each["mode"], each["connections"], each["rate"]) for each in results["medians"]] == [
        ("new", 1, None), ("new", 10, None), ("mixed", 1, None), ("mixed", 10, None),
        ("known", 50, None), ("mixed", 50, 1000),
    ]  # fmt: skip
    for each in results["medians"]:
        assert each.keys() >= {
            "requests_per_second", "lowest", "highest", "ratio", "p50_ms", "p99_ms",
            "server_cpu_us", "generator_busy",
        }  # fmt: skip
    drawn = (tmp_path / "results.svg").exists()
    assert drawn != ("matplotlib is missing" in done.stderr)
    assert [each.name for each in tmp_path.iterdir() if each.is_dir()] == []


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def measure(port: int, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the load generator as a process of its own; returns its status and what it printed."""
    done = run("tests.benchmarks.load", f"127.0.0.1:{port}", *options)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def triplet_of(ask: load.Ask) -> tuple[bytes | None, bytes | None, bytes | None]:
    request: Request = next(iter(RequestParser().feed(ask.data)))
    return request.client_address, request.sender, request.recipient
