"""Fixtures for all tests; tests/processes.py starts real programs."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import pytest

import tests.corpus  # noqa: F401 - hypothesis's settings, which apply to any selection of tests
from tests import commands
from tests.skipping import summary

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED = time.monotonic()

SLOWEST = (
    "docs_commands", "differential", "image", "process", "doctor", "worker_failures", "redis_roles",
    "looking", "installed", "clock_jumps", "supervision", "intervening", "pauses", "control",
)  # fmt: skip
"""The test files that take longer than a minute, the slowest first."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the skipped tests, the packages to install, and the running time."""
    reasons = [report.longrepr[2] for report in terminalreporter.getreports("skipped")]
    terminalreporter.section("this machine")
    for line in summary(reasons, time.monotonic() - STARTED):
        terminalreporter.line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in each file that runs greyd's commands; put the integration tests first."""
    for item in items:
        module = item.getparent(pytest.Module)
        used = vars(module.obj).values() if module else ()
        if any(each is commands.run for each in used):
            item.add_marker("commands")
    # The slowest files begin first: otherwise one process ends with them while the others are idle.
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[int, bool]:
    name = item.path.stem.removeprefix("test_")
    place = SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)
    return place, item.get_closest_marker("integration") is None


@pytest.fixture(scope="module", autouse=True)
def _what_is_there_already() -> None:
    """Exclude imported modules from garbage collection, which makes collections fast."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _commands_find_only_the_servers_of_their_test(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Keep a module's servers, and those of this machine, out of other modules' commands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREYD_RUN_DIR", str(tmp_path_factory.mktemp("run")))
        yield


@pytest.fixture(autouse=True)
def _what_a_test_leaves_open_fails_it() -> Iterator[None]:
    """Collect garbage in cycles, so that its ResourceWarning fails the test that caused it."""
    yield
    gc.collect()
