"""What ``/stats.json`` tells, and how it is read where it comes from somewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greyd.config.settings import Settings
from greyd.monitoring.activity.counter_history import NOTE_SECONDS, CounterHistory
from greyd.monitoring.health.problems import HealthProblem, ProblemLevel
from greyd.monitoring.metrics import Metrics
from greyd.monitoring.mode_in_force import ModeInForce
from greyd.monitoring.stats import InvalidStats, ServerStats, TripletCounts, server_stats
from greyd.monitoring.store.summary import StoreSummary
from greyd.rules.control import ModeOverride
from greyd.rules.reasons import OUTCOMES

NEW = ("greylist", "new")
FOUND = ("pass", "triplet found")


class Server:
    """Counters, their history, and what is told of them."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.now = 0.0
        self.history = CounterHistory(self.metrics.families, self.now)

    def run(self, seconds: int) -> None:
        for _ in range(seconds // NOTE_SECONDS):
            self.now += NOTE_SECONDS
            self.history.note(self.now)

    def figures(self, **more: Any) -> ServerStats:
        settings = Settings(hostname="mx.example.org", workers=2, mode="learn", delay_seconds=60)
        totals = self.history.read()
        return server_stats(settings, "redis", self.history, self.now, self.now, totals, **more)

    def told(self, **more: Any) -> Any:
        return json.loads(json.dumps(self.figures(**more).dump()))


TOLD = Server().told()


def test_each_period_has_what_was_counted_in_it() -> None:
    server = Server()
    for number in (100, 10, 1):
        server.metrics.requests[OUTCOMES[NEW]].inc(number)
        server.metrics.requests[OUTCOMES[FOUND]].inc(2 * number)
        server.run({100: 4000, 10: 600, 1: 0}[number])
    periods = server.told()["periods"]
    assert {name: period["greylisted"] for name, period in periods.items()} == {
        "minute": 1, "hour": 11, "day": 111, "start": 111
    }  # fmt: skip
    assert periods["hour"]["passed"] == 22
    assert periods["hour"]["requests"] == 33
    assert {"action": "greylist", "reason": "new", "count": 11} in periods["hour"]["outcomes"]
    assert 3600 - 60 < periods["hour"]["seconds"] <= 3600
    assert periods["day"]["seconds"] == 4600


def test_each_of_the_last_sixty_minutes_has_its_own_counts() -> None:
    server = Server()
    server.run(600)
    server.metrics.requests[OUTCOMES[NEW]].inc(5)
    server.run(120)
    server.metrics.requests[OUTCOMES[FOUND]].inc(2)
    minutes = server.told()["minutes"]
    assert (len(minutes["greylisted"]), sum(minutes["greylisted"])) == (60, 5)
    assert minutes["greylisted"].index(5) in {57, 58}
    assert minutes["passed"] == [0] * 59 + [2]
    # An older server has no such field; one with another number of minutes is no greyd's.
    told = server.told()
    del told["minutes"]
    assert ServerStats.load(json.dumps(told).encode()).minutes is None
    with pytest.raises(InvalidStats):
        ServerStats.load(json.dumps({**told, "minutes": {**minutes, "passed": [1]}}).encode())


def test_outcomes_add_up_to_the_requests() -> None:
    server = Server()
    for number, outcome in enumerate(OUTCOMES):
        server.metrics.requests[OUTCOMES[outcome]].inc(number)
    minute = server.told()["periods"]["minute"]
    everything = len(OUTCOMES) * (len(OUTCOMES) - 1) / 2
    assert minute["requests"] == everything
    assert sum(each["count"] for each in minute["outcomes"]) == everything
    assert minute["passed"] + minute["greylisted"] == everything


def test_waits_errors_and_the_store_are_counted_too() -> None:
    server = Server()
    server.metrics.delay.observe(400)
    server.metrics.delay.observe(200)
    server.metrics.auto_whitelisted.inc()
    server.metrics.store_seconds.observe(0.25)
    server.metrics.store_errors.inc(3)
    server.metrics.protocol_errors.inc(4)
    hour = server.told()["periods"]["hour"]
    assert (hour["first_passes"], hour["waited_seconds"]) == (2, 600)
    assert hour["auto_whitelisted_clients"] == 1
    assert (hour["store_requests"], hour["store_seconds"]) == (1, 0.25)
    assert (hour["store_errors"], hour["protocol_errors"]) == (3, 4)


def test_it_tells_what_runs_and_how_it_is() -> None:
    server = Server()
    server.run(100)
    server.metrics.connections.set(7)
    server.metrics.whitelist_entries["clients"].set(164)
    told = server.told()
    assert (told["host"], told["mode"], told["workers"]) == ("mx.example.org", "learn", 2)
    assert (told["store"], told["delay_seconds"], told["up_seconds"]) == ("redis", 60, 100)
    assert (told["connections"], told["ready"]) == (7, True)
    assert told["whitelist_entries"] == {"clients": 164, "recipients": 0}
    server.metrics.store_up.set(0)
    assert server.told()["ready"] is False


def test_it_tells_which_dns_sources_are_in_order() -> None:
    server = Server()
    assert server.told()["dns_sources"] == {}
    server.metrics.watch_dns(["zen.example", "{key}.dbl.example"])
    server.metrics.show_dns_source("zen.example", is_up=False)
    sources = {"resolver": True, "zen.example": False, "{key}.dbl.example": True}
    assert server.told()["dns_sources"] == sources
    assert ServerStats.load(json.dumps(server.told()).encode()).dns_sources == sources
    # An older server has no such field.
    told = server.told()
    del told["dns_sources"]
    assert ServerStats.load(json.dumps(told).encode()).dns_sources == {}


def test_it_tells_who_has_set_the_mode_and_until_when() -> None:
    told = Server().told()
    assert (told["mode"], told["configured_mode"], told["mode_set"]) == ("learn", "learn", None)
    override = ModeOverride("off", 1_700_007_200, "alice@mx1", 1_700_000_000)
    told = Server().told(mode=ModeInForce.of("on", override))
    assert (told["mode"], told["configured_mode"]) == ("off", "on")
    setting = {"by": "alice@mx1", "at": 1_700_000_000, "until": 1_700_007_200}
    assert told["mode_set"] == setting


def test_it_tells_how_many_of_the_waiting_may_pass_now() -> None:
    summary = StoreSummary(complete=True, early=[1, 2, 0, 0, 0], due=[3, 1])
    told = Server().told(triplets=TripletCounts.of(summary, 5.0))["triplets"]
    assert (told["waiting_in_delay"], told["waiting_due"]) == (3, 4)


def test_a_document_of_version_0_1_is_read_without_the_newer_fields() -> None:
    told = Server().told()
    for name in ("configured_mode", "mode_set", "problems"):
        del told[name]
    stats = ServerStats.load(json.dumps(told).encode())
    assert (stats.problems, stats.mode_set) == ((), None)


def test_how_soon_answers_come_is_told_by_the_buckets() -> None:
    server = Server()
    assert server.told()["answered_within_seconds"] == {"median": None, "p99": None}
    for _ in range(99):
        server.metrics.duration.observe(0.0015)
    server.metrics.duration.observe(0.2)
    assert server.told()["answered_within_seconds"] == {"median": 0.002, "p99": 0.002}
    server.metrics.duration.observe(0.2)
    assert server.told()["answered_within_seconds"] == {"median": 0.002, "p99": 0.25}
    for _ in range(1000):
        server.metrics.duration.observe(60)
    assert server.told()["answered_within_seconds"] == {"median": None, "p99": None}


def test_what_is_told_is_read_as_it_was() -> None:
    server = Server()
    server.metrics.requests[OUTCOMES[NEW]].inc(3)
    server.metrics.duration.observe(0.001)
    server.run(100)
    override = ModeOverride("off", 0, "alice@mx1", 1_700_000_000)
    figures = server.figures(
        mode=ModeInForce.of("on", override),
        problems=[HealthProblem(ProblemLevel.ERROR, "the store does not answer", "greyd doctor")],
        triplets=TripletCounts.of(StoreSummary(early=[1], due=[2]), 5.0),
    )
    assert ServerStats.load(json.dumps(figures.dump()).encode()) == figures


def test_outcomes_of_a_newer_version_are_read_too() -> None:
    told = Server().told()
    told["periods"]["hour"]["outcomes"].append({"action": "pass", "reason": "magic", "count": 5})
    told["something new"] = []
    hour = ServerStats.load(json.dumps(told).encode()).periods["hour"]
    assert hour.outcomes["pass", "magic"] == 5
    assert hour.requests == 5


def test_names_and_outcomes_of_a_stranger_are_cut() -> None:
    told = Server().told()
    told["host"] = "x" * 5000
    outcome = {"action": "pass", "count": 1}
    told["periods"]["hour"]["outcomes"] = [{**outcome, "reason": str(n)} for n in range(5000)]
    figures = ServerStats.load(json.dumps(told).encode())
    assert figures.host == "x" * 100
    assert len(figures.periods["hour"].outcomes) == 200


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null", b"3", b"\xff", b'"text"', b"[" * 100_000,
        b'{"host": {}}', b"<html></html>", json.dumps({**TOLD, "up_seconds": 1e400}).encode(),
        json.dumps({**TOLD, "connections": float("nan")}).encode(),
        json.dumps({**TOLD, "mode_set": {"by": 3}}).encode(),
        json.dumps({**TOLD, "problems": 3}).encode(),
    ],
)  # fmt: skip
def test_anything_else_is_no_figures(data: bytes) -> None:
    with pytest.raises(InvalidStats):
        ServerStats.load(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(place=st.sampled_from(sorted(TOLD)), value=JSON)
def test_whatever_stands_in_a_field_it_is_read_or_refused(place: str, value: Any) -> None:
    try:
        figures = ServerStats.load(json.dumps({**TOLD, place: value}).encode())
    except InvalidStats:
        return
    assert replace(figures).dump()
