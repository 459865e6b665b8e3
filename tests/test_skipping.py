"""The summary of ``make test``; CI installs every program that a test requires."""

from __future__ import annotations

import re

import pytest

from tests.commands import CHECKOUT
from tests.pages.machine import PROGRAMS
from tests.skipping import package_of, summary

ALWAYS_THERE = {"apt-get", "dpkg", "nsenter", "setpriv", "start-stop-daemon", "unshare"}
"""Programs of essential Debian packages."""


@pytest.mark.parametrize(
    ("reasons", "seconds", "lines"),
    [
        (
            [], 4.4,
            ["skipped: none", "to run them: install nothing", "took: 0 min 4 s"],
        ),
        (
            ["redis-server is not installed"] * 2 + ["Skipped: db5.3_dump is not installed"], 90,
            [
                "skipped: 3 tests: 2 without redis-server, 1 without db5.3-util",
                "to run them: apt install db5.3-util redis-server",
                "took: 1 min 30 s",
            ],
        ),
        (
            ["exim4 is not installed", "postconf is not installed", "postfix is not installed"], 0,
            [
                "skipped: 3 tests: 2 without postfix, 1 without exim4",
                "to run them: apt install postfix; .ci/run, which unpacks Exim",
                "took: 0 min 0 s",
            ],
        ),
        (
            ["Skipped: only root can start Postfix", "root may read everything"], 119.6,
            [
                "skipped: 2 tests: 1 that need root, 1 for other reasons (pytest -rs)",
                "to run them: make test as root",
                "took: 2 min 0 s",
            ],
        ),
    ],
    ids=["none", "programs", "Exim", "root"],
)  # fmt: skip
def test_the_summary_has_skipped_tests_packages_to_install_and_running_time(
    reasons: list[str], seconds: float, lines: list[str]
) -> None:
    assert summary(reasons, seconds) == lines


def test_ci_installs_each_program_that_a_test_requires() -> None:
    written = (CHECKOUT / ".ci" / "run").read_text()
    installed = {"exim4"} | set(re.search(r"packages=\((.*?)\)", written, re.DOTALL)[1].split())  # type: ignore[index]
    sources = [path.read_text() for path in (CHECKOUT / "tests").rglob("*.py")]
    asked = {name for text in sources for name in re.findall(r'\bprogram\("([^"]+)"\)', text)}
    assert "redis-server" in asked
    needed = {package_of(name) for name in asked | set(PROGRAMS)} - ALWAYS_THERE
    assert needed - installed == set()
