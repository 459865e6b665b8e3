"""What was counted in the last minute, hour and day."""

from __future__ import annotations

import pytest

from greyd.monitoring.activity.counter_history import (
    DAY_SECONDS,
    HOUR_SECONDS,
    MINUTE_SECONDS,
    NOTE_SECONDS,
    REQUESTS,
    SERIES,
    STORE_ASKED,
    STORE_SECONDS,
    CountedPeriod,
    CounterHistory,
)
from greyd.monitoring.metrics import Metrics
from greyd.rules.reasons import Reason

START = 5000.0
NEW = (REQUESTS, "greylist", "new")


class Server:
    """Counters and their history, with a clock of their own."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.now = START
        self.history = CounterHistory(self.metrics.families, START)

    def ask(self, number: int = 1) -> None:
        self.metrics.requests[Reason.NEW].inc(number)

    def run(self, seconds: float) -> None:
        """Let time pass, with a note every few seconds; nothing is counted meanwhile."""
        totals = self.history.read()
        for _ in range(round(seconds / NOTE_SECONDS)):
            self.now += NOTE_SECONDS
            self.history.note(self.now, totals)

    def asked(self, seconds: float) -> float:
        return self.last(seconds).counts[NEW]

    def last(self, seconds: float) -> CountedPeriod:
        return self.history.last(seconds, self.now, self.history.read())

    def steps(self, seconds: float, number: int) -> list[CountedPeriod]:
        return list(self.history.steps(seconds, number, self.now, self.history.read()))


def test_what_was_asked_a_moment_ago_counts_without_a_note() -> None:
    server = Server()
    server.ask(3)
    assert server.asked(HOUR_SECONDS) == 3


def test_the_last_hour_forgets_what_the_last_day_still_counts() -> None:
    server = Server()
    server.ask(3)
    server.run(2 * HOUR_SECONDS)
    server.ask(4)
    assert server.asked(HOUR_SECONDS) == 4
    assert server.asked(DAY_SECONDS) == 7


def test_the_last_minute_forgets_what_the_last_hour_still_counts() -> None:
    server = Server()
    server.run(600)
    server.ask(3)
    server.run(MINUTE_SECONDS - NOTE_SECONDS)
    assert server.asked(MINUTE_SECONDS) == 3
    server.run(2 * NOTE_SECONDS)
    server.ask(4)
    assert server.asked(MINUTE_SECONDS) == 4
    assert server.asked(HOUR_SECONDS) == 7


@pytest.mark.parametrize("since_note", [0, 3, NOTE_SECONDS - 1])
def test_the_last_minute_is_a_minute_to_within_a_note(since_note: float) -> None:
    server = Server()
    server.run(1000)
    server.now += since_note
    assert MINUTE_SECONDS - NOTE_SECONDS <= server.last(MINUTE_SECONDS).seconds <= MINUTE_SECONDS


def test_a_day_is_the_most_that_is_kept() -> None:
    server = Server()
    server.ask(3)
    server.run(DAY_SECONDS + HOUR_SECONDS)
    server.ask()
    assert server.asked(10 * DAY_SECONDS) == 1
    # Which takes little memory.
    assert (len(server.history._notes), len(server.history._recent)) == (24 * 60 + 1, 7)


def test_a_period_says_how_long_it_really_is() -> None:
    server = Server()
    server.run(600)
    assert server.last(HOUR_SECONDS).seconds == 600
    server.run(2 * HOUR_SECONDS)
    assert server.last(HOUR_SECONDS).seconds == HOUR_SECONDS


def test_steps_tell_when_something_was_counted() -> None:
    server = Server()
    server.run(3600)
    server.ask(5)
    server.run(900 + MINUTE_SECONDS)
    server.ask(2)
    steps = server.steps(900, 6)
    # The oldest is from before the start.
    assert [step.counts[NEW] for step in steps] == [0, 0, 0, 0, 5, 2]


def test_steps_and_the_whole_add_up() -> None:
    server = Server()
    for number in range(1, 49):
        server.ask(number)
        server.run(1800)
    steps = server.steps(900, 96)
    assert sum(step.counts[NEW] for step in steps) == server.asked(DAY_SECONDS)


def test_all_series_that_are_noted_exist() -> None:
    metrics = Metrics()
    metrics.watch_shadow()
    names = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    assert {series[0] for series in SERIES} <= names


@pytest.mark.parametrize("seconds", [0.001, 0.25])
def test_sums_are_noted_as_well_as_counts(seconds: float) -> None:
    server = Server()
    server.metrics.store_seconds.observe(seconds)
    counts = server.last(HOUR_SECONDS).counts
    assert counts[STORE_ASKED, "transact"] == 1
    assert counts[STORE_SECONDS, "transact"] == pytest.approx(seconds)
