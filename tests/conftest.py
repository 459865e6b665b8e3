"""What every test may use; real programs are in tests/processes.py."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import pytest

from tests import commands
from tests.skipping import summary

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED = time.monotonic()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, what to install for it, and how long all took."""
    reasons = [report.longrepr[2] for report in terminalreporter.getreports("skipped")]
    terminalreporter.section("this machine")
    for line in summary(reasons, time.monotonic() - STARTED):
        terminalreporter.line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of each file that runs greyd's commands."""
    for item in items:
        module = item.getparent(pytest.Module)
        used = vars(module.obj).values() if module else ()
        if any(each is commands.run or each is commands.answer_of for each in used):
            item.add_marker("commands")


@pytest.fixture(scope="module", autouse=True)
def _what_is_there_already() -> None:
    """Leave what has been imported so far out of the collections, which are quick so."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _what_a_test_leaves_open_fails_it() -> Iterator[None]:
    """Collect what is left in a cycle: its ResourceWarning is an error, and the test's own."""
    yield
    gc.collect()
