"""Runs configurations and postgrey on simulated worlds, several at a time."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.outcome.configurations import BASELINE, CONFIGURATIONS
from tests.outcome.figures import Comparison, compare, figures_of
from tests.outcome.servers import COMMON_OPTIONS, Postgrey, SimulatedGreyd
from tests.outcome.simulation import simulate
from tests.processes import SYSTEM_PATH, PolicyClient, postgrey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.outcome.configurations import Configuration
    from tests.outcome.parameters import Parameters
    from tests.outcome.simulation import Outcome

POSTGREY = "postgrey"

_RAM_DISK = Path("/dev/shm")
"""Where postgrey's database is fastest: its speed does not matter here."""


@dataclass
class Results:
    """The outcomes of all runs, by the names of configurations; one for each world, in order."""

    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        """The name of the runs that the others are compared with."""
        return POSTGREY if POSTGREY in self.outcomes else BASELINE.name

    @property
    def equals_postgrey(self) -> bool | None:
        """Whether greyd with everything off gave postgrey's replies; None without postgrey."""
        if POSTGREY not in self.outcomes or BASELINE.name not in self.outcomes:
            return None
        digests = [
            [each.replies_digest for each in self.outcomes[name]]
            for name in (POSTGREY, BASELINE.name)
        ]
        return digests[0] == digests[1]

    def comparison(self, name: str) -> Comparison:
        """Return the means of a configuration's figures, and of their ratios to postgrey's."""
        runs, baselines = (
            [figures_of(each) for each in self.outcomes[key]] for key in (name, self.baseline)
        )
        return compare(runs, baselines)


def run_all(
    worlds: Sequence[Parameters],
    configurations: Iterable[Configuration] = CONFIGURATIONS,
    *,
    with_postgrey: bool = True,
    processes: int | None = None,
) -> Results:
    """Run configurations, and postgrey if it is installed, on each world."""
    by_name = {each.name: each for each in (BASELINE, *configurations)}
    names = list(by_name)
    if with_postgrey and shutil.which("postgrey", path=SYSTEM_PATH):
        names.insert(0, POSTGREY)
    results = Results()
    with ProcessPoolExecutor(processes) as executor:
        for name in names:
            results.outcomes[name] = []
        jobs = {
            (name, number): executor.submit(run_one, world, by_name.get(name))
            for name in names
            for number, world in enumerate(worlds)
        }
        for (name, _), job in jobs.items():
            results.outcomes[name].append(job.result())
    return results


def run_one(world: Parameters, configuration: Configuration | None) -> Outcome:
    """Run a configuration on a world; None for postgrey."""
    if configuration is None:
        return _run_postgrey(world)
    return simulate(
        world,
        lambda dns, clock: SimulatedGreyd(configuration.options, dns, clock),
        with_faults=configuration.has_faults,
    )


def _run_postgrey(world: Parameters) -> Outcome:
    parent = _RAM_DISK if _RAM_DISK.is_dir() else None
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=parent))
        with _starting_alone():
            running = stack.enter_context(postgrey(Path(folder), *COMMON_OPTIONS))
        client = stack.enter_context(PolicyClient(running.port, timeout=60))
        return simulate(world, lambda _, clock: Postgrey(client, clock))


@contextlib.contextmanager
def _starting_alone() -> Iterator[None]:
    """Wait until no other process starts a server: all would choose the same free port."""
    with (Path(tempfile.gettempdir()) / "greyd-outcome.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
