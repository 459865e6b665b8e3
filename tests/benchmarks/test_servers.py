"""Which servers the benchmark can run here, and what two of them answer. Nothing here is timed."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests import processes
from tests.benchmarks import report, servers
from tests.benchmarks.__main__ import main
from tests.benchmarks.test_load import measure

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("greyd-redis", "redis-server"),
        ("greyd-redis-2", "redis-server"),
        ("postgrey-disk", "postgrey"),
        ("postgrey-memory", "postgrey"),
        ("sqlgrey", "sqlgrey and libdbd-sqlite3-perl"),
        ("gross", "gross"),
    ],
)
def test_a_server_that_is_not_installed_names_its_packages(
    name: str, packages: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "SYSTEM_PATH", str(tmp_path))
    assert servers.reasons_to_skip([name], None) == {name: f"install {packages}"}


def test_greyd_on_sqlite_and_on_somebody_s_redis_needs_no_program(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "SYSTEM_PATH", str(tmp_path))
    names = ["greyd-sqlite", "greyd-preset", "greyd-redis", "greyd-redis-2"]
    assert servers.reasons_to_skip(names, "redis://192.0.2.1/0") == {}


def test_gross_is_left_out_while_another_grossd_has_its_status_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "grossd").touch(0o755)
    monkeypatch.setattr(processes, "SYSTEM_PATH", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(servers, "GROSS_STATUS_PORT", other.getsockname()[1])
        assert "stop what listens on port" in servers.reasons_to_skip(["gross"], None)["gross"]
    assert servers.reasons_to_skip(["gross"], None) == {}


def test_a_benchmark_without_any_server_ends_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "SYSTEM_PATH", str(tmp_path))
    assert main(["--servers=sqlgrey,gross", f"--output={tmp_path}"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "sqlgrey is not measured: install sqlgrey and libdbd-sqlite3-perl",
        "gross is not measured: install gross",
        "no server to measure",
    ]


@pytest.mark.integration
@pytest.mark.parametrize("name", ["sqlgrey", "gross"])
def test_a_server_without_a_test_clock_defers_new_mail_and_passes_a_retry(
    name: str, tmp_path: Path
) -> None:
    for reason in servers.reasons_to_skip([name], None).values():
        # It is only measured where it is installed.
        pytest.skip(reason)
    with servers.all_servers(tmp_path, None, [name]) as (server,), server.running() as (it, _):
        retry_after = f"--retry-after={server.retry_after_seconds}"
        new = measure(it.port, "--mode=new", "--requests=20", "--connections=2")
        known = measure(it.port, "--mode=known", "--requests=20", "--connections=5", retry_after)
    assert server.modes == ("new", "known")
    assert (new[0], new[1]["answers"]) == (0, {"new": {"DEFER_IF_PERMIT": 20}})
    assert (known[0], known[1]["answers"]) == (0, {"known": {"DUNNO": 20}})
    assert all(file.is_relative_to(tmp_path) for file in server.folder.iterdir())


def test_a_ratio_compares_servers_under_the_same_load() -> None:
    runs = [
        made_up_run("postgrey-disk", "new", 2000),
        made_up_run("greyd-sqlite", "new", 16_000),
        made_up_run("greyd-sqlite", "known", 20_000),
        made_up_run("greyd-preset", "known", 19_000),
    ]
    results = report.summarise({}, {}, runs)
    ratios = {
        (each["server"], each["mode"]): (each["ratio"], each["ratio_to_plain"])
        for each in results["medians"]
    }
    assert ratios == {
        ("postgrey-disk", "new"): (1.0, 0.12),
        ("greyd-sqlite", "new"): (8.0, 1.0),
        ("greyd-sqlite", "known"): (None, 1.0),
        ("greyd-preset", "known"): (None, 0.95),
    }


def made_up_run(server: str, mode: str, speed: float) -> dict[str, object]:
    load = {"mode": mode, "connections": 50, "rate": None}
    return {"server": server, **load, "requests_per_second": speed, "wrong": 0}
