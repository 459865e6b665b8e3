"""A wall clock that tests can set for the servers that they start, with libfaketime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.processes import program, unavailable

RIGHT = "+0"
"""The machine's real time."""


@dataclass
class FakeClock:
    """The wall clock of servers that are started with ``environment``."""

    file: Path
    environment: dict[str, str]

    def set(self, text: str) -> None:
        """Set the clock: ``+40d``, ``-30d``, ``@1970-01-01 00:01:00``, or ``RIGHT``."""
        aside = self.file.with_suffix(".new")
        aside.write_text(text)
        aside.rename(self.file)


def fake_clock(folder: Path) -> FakeClock:
    """Return a clock with the real time; skips the test without libfaketime."""
    program("faketime")
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        unavailable("faketime is not installed")
    file = folder / "clock"
    environment = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    clock = FakeClock(file, environment)
    clock.set(RIGHT)
    return clock
