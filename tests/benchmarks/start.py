"""``python -m tests.benchmarks.start``: how long commands take, beside Python's own start.

All commands run in turn, in many rounds, so that whatever else the machine does falls on all of
them. The figures are medians, as times and as multiples of ``python -c pass``. With ``--entries``,
the commands that read a store run on one of that size, while a server uses it; their CPU time is
shown, too, because a busy machine lengthens the time but not the work.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.large_store import fill_store
from tests.processes import free_port, greyd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GREYD = Path(sys.executable).with_name("greyd")
BASE = "python -c pass"

STARTS: Mapping[str, Sequence[str]] = {
    BASE: [sys.executable, "-c", "pass"],
    "greyd --version": [str(GREYD), "--version"],
    "greyd -h": [str(GREYD), "-h"],
    "greyd serve -h": [str(GREYD), "serve", "-h"],
    "greyd list --s<TAB>": [str(GREYD)],
}
ON_STORE = {
    "greyd": [],
    "greyd list": ["list"],
    "greyd list --waiting": ["list", "--waiting"],
    "greyd list --recipient": ["list", "--recipient", "user7@example.org"],
    "greyd show CLIENT SENDER RECIPIENT": [
        "show", "11.0.0.7", "sender0@domain0.example", "user0@example.org",
    ],
    "greyd show CLIENT": ["show", "11.0.0.7"],
    "greyd show ADDRESS": ["show", "user7@example.org"],
    "greyd explain": [
        "explain", "--client-address", "11.0.0.7", "--sender", "sender0@domain0.example",
        "--recipient", "user0@example.org",
    ],
}  # fmt: skip

TAB = {"_GREYD_COMPLETE": "complete_bash", "COMP_WORDS": "greyd list --s", "COMP_CWORD": "2"}


@dataclass
class Samples:
    """The times of one command."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Run the command once."""
        before, started = _cpu_seconds(), time.perf_counter()
        subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.seconds.append(time.perf_counter() - started)
        self.cpu_seconds.append(_cpu_seconds() - before)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_starts(rounds: int) -> None:
    """Print the time of each command that needs no server, as a multiple of Python's start."""
    samples = {name: Samples() for name in STARTS}
    for _ in range(rounds):
        for name, command in STARTS.items():
            variables = TAB if "TAB" in name else {}
            samples[name].run(command, {**os.environ, **variables})
    base = statistics.median(samples[BASE].seconds)
    for name, each in samples.items():
        median = statistics.median(each.seconds)
        _print(f"{name:36}{1000 * median:7.0f} ms {median / base:6.2f} x")


def measure_commands(entries: int, rounds: int) -> None:
    """Print the time of each command that reads a store of this size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill_store(folder / "greyd.db", entries)
        metrics = f"--metrics=127.0.0.1:{free_port()}"
        quick = {"PYTHONASYNCIODEBUG": ""}
        with greyd(folder, metrics, f"--run-dir={folder}", environment=quick):
            environment = {**os.environ, "GREYD_RUN_DIR": name}
            for title, words in ON_STORE.items():
                samples = Samples()
                for _ in range(rounds):
                    samples.run([str(GREYD), *words], environment)
                _print(
                    f"{title:36}{statistics.median(samples.seconds):7.2f} s,"
                    f" {statistics.median(samples.cpu_seconds):5.2f} s of CPU"
                )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, as the options say."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=40)
    options.add_argument("--entries", type=int, default=0, help="1000000: takes two minutes")
    given = options.parse_args()
    measure_starts(given.rounds)
    if given.entries:
        measure_commands(given.entries, max(given.rounds // 8, 3))


if __name__ == "__main__":
    main()
