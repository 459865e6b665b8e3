"""A real Prometheus: what it looks at, what it already remembers, and asking it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tests.integration.lives import get
from tests.processes import accepts, free_port, program, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from tests.processes import Running

Labelled = list[tuple[dict[str, str], float]]


@contextlib.contextmanager
def prometheus_of(folder: Path, *targets: int, rules: Sequence[Path] = ()) -> Iterator[Running]:
    """Run a Prometheus that looks at its targets, and at its rules, every second."""
    folder.mkdir(exist_ok=True)
    # JSON is YAML, too.
    (config := folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {
                    "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s",
                },
                "rule_files": [str(path) for path in rules],
                "scrape_configs": [
                    {
                        "job_name": "greyd",
                        "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in targets]}],
                    }
                ],
            }
        )
    )  # fmt: skip
    port = free_port()
    command = [
        program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip

    def is_ready() -> bool:
        return accepts(port) and get(port, "/-/ready")[0] == 200

    with running(command, folder, port, is_ready) as prometheus:
        yield prometheus


def remember(folder: Path, series: Iterable[str], times: Sequence[int], value: float) -> None:
    """Give a Prometheus that is not running yet a past: these series had a value at these times."""
    samples = [f"{each} {value} {at}" for each in series for at in times]
    (page := folder / "past.om").write_text("\n".join([*samples, "# EOF\n"]))
    promtool("tsdb", "create-blocks-from", "openmetrics", str(page), str(folder / "data"))


def promtool(*arguments: str) -> str:
    """Run promtool, which is to find nothing wrong; returns what it says."""
    ended = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def asked(prometheus: Running, path: str, **parameters: str) -> Any:
    """Return what Prometheus's API answers; an error fails the test with its words."""
    status, body = get(prometheus.port, f"/api/v1/{path}?{urlencode(parameters)}")
    assert status == 200, f"{parameters}: {body}"
    return json.loads(body)["data"]


def query(prometheus: Running, expression: str) -> Labelled:
    """Ask what is now; returns labels and value of each series."""
    result = asked(prometheus, "query", query=expression)["result"]
    return [(each["metric"], float(each["value"][1])) for each in result]


def query_range(
    prometheus: Running, expression: str, start: float, end: float, step: float
) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    """Ask what was from one time to another; returns labels, and time and value of each point."""
    result = asked(
        prometheus, "query_range",
        query=expression, start=str(start), end=str(end), step=str(step),
    )["result"]  # fmt: skip
    return [
        (each["metric"], [(float(at), float(value)) for at, value in each["values"]])
        for each in result
    ]
