"""Inputs that were once too much for greyd, or nearly: plain files, a folder for each part.

A property test of that part replays them before it looks for new ones. What it finds is put here
as it is, named for what it does.

The profile: no deadlines (a busy machine is no bug), and in ``.ci/run`` always the same examples.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

settings.register_profile(
    "greyd",
    deadline=None,
    max_examples=200,
    derandomize=os.environ.get("TESTS_REQUIRE_PROGRAMS") == "1" or "CI" in os.environ,
    # A busy machine generates slowly.
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("greyd")


def cases(part: str) -> list[ParameterSet]:
    """Return the inputs kept for a part of greyd, for ``pytest.mark.parametrize``."""
    files = sorted((Path(__file__).parent / part).iterdir())
    return [pytest.param(file.read_bytes(), id=file.name) for file in files]
