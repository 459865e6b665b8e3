"""The statistics of several servers are added up, and those of one subtracted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from greyd.monitoring.combined_stats import combined_periods, counts_between
from greyd.rules.reasons import Reason
from tests.monitoring.test_stats import Server

if TYPE_CHECKING:
    from collections.abc import Callable

    from greyd.monitoring.stats import Counts, ServerStats


def stats(requests: int = 0, *, seconds: float = 60, **changes: Any) -> ServerStats:
    server = Server()
    server.metrics.requests[Reason.NEW].inc(requests)
    known = server.figures()
    periods = {name: replace(each, seconds=seconds) for name, each in known.periods.items()}
    return replace(known, periods=periods, **changes)


def test_servers_are_added_up_with_the_rate_of_each_over_its_own_time() -> None:
    both = combined_periods([stats(60, seconds=60), stats(30, seconds=10)])["hour"]
    assert both.counts.requests == 90
    assert both.rate == 1 + 3
    assert both.dump()["per_second"] == 4
    outcomes = {each["reason"]: each for each in both.dump()["outcomes"]}
    assert outcomes["new"]["per_second"] == 4
    assert combined_periods([]) == {}


def test_the_rate_of_a_server_that_has_just_started_is_over_a_second() -> None:
    assert combined_periods([stats(60, seconds=0.01)])["minute"].rate == 60


def counted(of: Callable[[], Counts | None]) -> Counts:
    counts = of()
    assert counts is not None
    return counts


def test_the_difference_of_two_answers_is_what_was_counted_between_them() -> None:
    before, after = stats(10, time=100.0), stats(25, time=105.0)
    counts = counted(lambda: counts_between(before, after))
    assert (counts.requests, counts.seconds) == (15, 5)


def test_after_a_restart_there_is_no_difference() -> None:
    assert counts_between(stats(10, time=100.0), stats(3, time=105.0)) is None
    assert counts_between(stats(10, time=100.0), stats(10, time=100.0)) is None
