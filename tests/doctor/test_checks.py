"""All checks run, whatever happens to one of them."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from greyd.doctor.checks import run_checks
from greyd.doctor.findings import Finding, FindingState, ok
from greyd.errors import GreydError
from greyd.runtime.daemon_thread import run_in_daemon_thread
from greyd.store.errors import UnusableStoreError


def broken() -> list[Finding]:
    """Raise what no check expects."""
    raise ZeroDivisionError("no divisor")


async def broken_later() -> list[Finding]:
    """Raise it after a while."""
    await asyncio.sleep(0.01)
    return broken()


def good() -> list[Finding]:
    """Find nothing wrong."""
    return [ok("good: one", "all is well")]


async def good_later() -> list[Finding]:
    """Find nothing wrong after the others."""
    await asyncio.sleep(0.05)
    return [ok("good: two", "all is well")]


@pytest.mark.parametrize("check", [broken, broken_later])
def test_an_unexpected_error_in_a_check_is_a_finding_beside_those_of_the_others(
    check: object,
) -> None:
    checks = [("good", good), ("bad", check), ("good", good_later)]
    first, failed, last = asyncio.run(run_checks(checks))  # type: ignore[arg-type]
    assert (first.check, last.check) == ("good: one", "good: two")
    assert (failed.group, failed.state) == ("bad", FindingState.NOT_CHECKED)
    assert failed.seen.startswith("internal error: ZeroDivisionError: no divisor")
    assert failed.remedy


def test_a_check_that_cannot_go_on_ends_the_others_at_once() -> None:
    cancelled, release = [], threading.Event()

    async def unusable() -> list[Finding]:
        await asyncio.sleep(0.05)
        raise UnusableStoreError("not greyd's")

    async def endless() -> list[Finding]:
        try:
            await asyncio.sleep(600)
        finally:
            cancelled.append(True)
        return []

    async def in_a_thread() -> list[Finding]:
        await run_in_daemon_thread("test", release.wait)
        return []

    began = time.monotonic()
    try:
        with pytest.raises(GreydError, match="not greyd's"):
            asyncio.run(
                run_checks([("a", endless), ("b", unusable), ("c", in_a_thread), ("d", unusable)])
            )
        assert cancelled == [True]
        assert time.monotonic() - began < 30
    finally:
        release.set()


def test_findings_keep_the_order_of_the_checks() -> None:
    found = asyncio.run(run_checks([("good", good_later), ("good", good)]))
    assert [each.check for each in found] == ["good: two", "good: one"]
