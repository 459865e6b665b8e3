"""``python -m tests.benchmarks``: greyd and others side by side, alternately, in one run.

Every server keeps running and keeps its state from round to round. In each round every server
gets the same load in turn, each round beginning with another server, so that whatever else the
machine does falls on all of them. Figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import redis

from tests.benchmarks import load, report
from tests.benchmarks.servers import (
    NAMES,
    PROJECT,
    Server,
    all_servers,
    cpu_seconds,
    reasons_to_skip,
    resident_mb,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.processes import Running

KNOWN_CONNECTIONS = 50
OPEN_RATE = 1000
OPEN_CONNECTIONS = 50
SETTLE_SECONDS = 0.3
"""Between two runs: what the last one left to write or to collect is not the next one's."""


class Setting(NamedTuple):
    """One load, for all servers whose ``modes`` have it."""

    mode: str
    connections: int
    rate: int | None = None


@dataclass
class Benchmark:
    """Runs all servers, and gathers what is measured."""

    options: argparse.Namespace
    servers: list[Server]
    runs: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(self) -> None:
        """Measure everything."""
        for server in self.servers:
            self.about[server.name] = {
                "version": server.version,
                "durability": server.durability,
                "start_seconds": [],
            }
        for number, server in self._alternate():
            self._start_and_stop(server, idle=number == 0)
        with contextlib.ExitStack() as stack:
            running = {
                server.name: stack.enter_context(server.running())[0] for server in self.servers
            }
            for setting in self._settings():
                for number, server in self._alternate():
                    if setting.mode not in server.modes:
                        continue
                    self._measure(number, setting, server, running[server.name])
            for name, process in running.items():
                self.about[name]["memory_after_mb"] = round(resident_mb(process.process.pid), 1)
                self.about[name]["answered"] = sum(
                    run.get("answered", 0) for run in self.runs if run["server"] == name
                )

    def _alternate(self) -> Iterator[tuple[int, Server]]:
        for number in range(self.options.rounds):
            first = number % len(self.servers)
            for server in self.servers[first:] + self.servers[:first]:
                yield number, server

    def _settings(self) -> list[Setting]:
        closed = [
            Setting(mode, connections)
            for mode in ("new", "mixed")
            for connections in self.options.connections
        ]
        every = [
            *closed,
            Setting("known", KNOWN_CONNECTIONS),
            Setting("mixed", OPEN_CONNECTIONS, OPEN_RATE),
        ]
        return [setting for setting in every if setting.mode in self.options.modes]

    def _start_and_stop(self, server: Server, *, idle: bool) -> None:
        about = self.about[server.name]
        with server.running() as (process, start_seconds):
            about["start_seconds"].append(round(start_seconds, 3))
            if idle:
                time.sleep(SETTLE_SECONDS)
                about["memory_idle_mb"] = round(resident_mb(process.process.pid), 1)

    def _measure(self, number: int, setting: Setting, server: Server, process: Running) -> None:
        time.sleep(SETTLE_SECONDS)
        before = _cpu(process.process.pid, server.redis_process)
        result = self._load(setting, server, process.port)
        after = _cpu(process.process.pid, server.redis_process)
        answered = result.get("answered", 0) + result.get("warmed_up", 0)
        for name, used in after.items():
            if answered:
                result[name] = round(1e6 * (used - before[name]) / answered, 1)
        self.runs.append({"server": server.name, "round": number + 1, **result})
        _show_progress(self.runs[-1], self.options.rounds)

    def _load(self, setting: Setting, server: Server, port: int) -> dict[str, Any]:
        command = [
            sys.executable, "-m", "tests.benchmarks.load", f"127.0.0.1:{port}",
            f"--mode={setting.mode}", f"--connections={setting.connections}",
        ]  # fmt: skip
        if setting.rate is None:
            requests, seconds = self.options.requests, self.options.seconds
        else:
            # A server that is too slow for the rate gets time to answer all the same.
            requests = int(setting.rate * self.options.seconds)
            seconds = 10 * self.options.seconds
            command.append(f"--rate={setting.rate}")
        if server.passes_clean:
            command.append("--passes-clean")
        if server.retry_after_seconds is not None:
            command.append(f"--retry-after={server.retry_after_seconds}")
        command += [f"--requests={requests}", f"--seconds={seconds}"]
        if any(run["server"] == server.name and run.get("warmed_up") for run in self.runs):
            command.append("--no-warm-up")
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        if not done.stdout:
            return {**setting._asdict(), "error": done.stderr.strip() or f"exit {done.returncode}"}
        return dict(json.loads(done.stdout))


def _cpu(server: int, store: int | None) -> dict[str, float]:
    used = {"server_cpu_us": cpu_seconds(server)}
    return used if store is None else {**used, "redis_cpu_us": cpu_seconds(store)}


def _show_progress(run: dict[str, Any], rounds: int) -> None:
    result = run.get("error") or f"{run['requests_per_second']:,.0f}/s"
    rate = f" at {run['rate']:g}/s" if run["rate"] else ""
    sys.stderr.write(
        f"{run['mode']:5} {run['connections']:4} connections{rate}, round {run['round']} of "
        f"{rounds}: {run['server']:15} {result}\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status: 1 where a server answered wrongly."""
    options = _read_options(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    machine = report.machine(options.output)
    for name, reason in reasons_to_skip(options.servers, options.url).items():
        sys.stderr.write(f"{name} is not measured: {reason}\n")
    try:
        # State belongs on the disk that is measured: /tmp may be memory.
        with (
            tempfile.TemporaryDirectory(prefix="state-", dir=options.output) as folder,
            all_servers(Path(folder).resolve(), options.url, options.servers) as servers,
        ):
            if not servers:
                sys.stderr.write("no server to measure\n")
                return 1
            benchmark = Benchmark(options, servers)
            benchmark.run()
            if not benchmark.runs:
                sys.stderr.write("none of these servers can get any of these loads\n")
                return 1
    except redis.RedisError as error:
        sys.stderr.write(f"--url: {error}\n")
        return 1
    except pytest.fail.Exception as error:
        # A program did not start; tests.processes says so in pytest's way.
        sys.stderr.write(f"{error}\n")
        return 1
    machine["load_average_after"] = os.getloadavg()[0]
    results = report.summarise(machine, benchmark.about, benchmark.runs)
    (options.output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(report.table(results))
    report.plot(results, options.output / "results.svg")
    return 1 if results["faults"] else 0


def _read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=4)
    add("--connections", type=_numbers, default=[1, 10, 50, 200], metavar="N,N,…")
    add("--requests", type=int, default=20_000, help="a run, at most")
    add("--seconds", type=float, default=4.0, help="a run, at most")
    add("--servers", type=_names, default=list(NAMES), metavar="NAME,…", help=", ".join(NAMES))
    add("--modes", type=_modes, default=load.MODES, metavar="MODE,…", help=", ".join(load.MODES))
    add("--url", help="Redis to use instead of a private redis-server; keys are taken away again")
    add("--output", type=Path, default=Path("var/benchmarks"), metavar="DIR")
    add("--quick", action="store_true", help="a moment, greyd on SQLite only: does it work?")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.connections, options.servers = 1, [1, 10], ["greyd-sqlite"]
        options.requests, options.seconds = 500, 0.5
    return options


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _names(text: str) -> list[str]:
    return _some_of(NAMES, text)


def _modes(text: str) -> list[str]:
    return _some_of(load.MODES, text)


def _some_of(choices: Sequence[str], text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in choices:
            raise argparse.ArgumentTypeError(f"{name}: write some of {', '.join(choices)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
