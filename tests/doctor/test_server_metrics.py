"""What a server's metrics port shows, and how it is judged."""

from __future__ import annotations

import asyncio

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.policy_request import PolicyAnswer
from greyd.doctor.server_metrics import (
    MetricsError,
    fetch_metrics,
    finding_of_counters,
    finding_of_mode,
    finding_of_outbound,
    finding_of_scrapes,
    finding_of_store,
    finding_without_counters,
    findings_of_metrics,
)
from tests.doctor.metrics import healthy_metrics


def test_another_version_and_a_store_that_does_not_answer_are_found() -> None:
    old, away = findings_of_metrics("http://x", healthy_metrics(version="0.0.1", is_ready=False))
    assert (old.state, "0.0.1" in old.seen) == (State.WARNING, True)
    assert (away.state, "/readyz" in away.seen) == (State.ERROR, True)
    assert {each.state for each in findings_of_metrics("http://x", healthy_metrics())} == {State.OK}


@pytest.mark.parametrize(("not_learnt", "state"), [(0, State.OK), (3, State.HINT)])
def test_outbound_mail_that_is_not_learnt_is_a_hint(not_learnt: int, state: State) -> None:
    values = {
        ("greyd_outbound_not_learnt_total", ""): not_learnt,
        ("greyd_requests_total", "pass/outbound"): 12,
    }
    found = finding_of_outbound(healthy_metrics(values))
    assert found.state is state
    assert "12 mails" in found.seen
    assert finding_of_outbound(healthy_metrics()).state is State.OK


PROBES = ("greyd_doctor_probes_total", "")
AUTHENTICATED = ("greyd_requests_total", "pass/authenticated")


@pytest.mark.parametrize("counter", [PROBES, AUTHENTICATED])
@pytest.mark.parametrize(("counted", "state"), [(3, State.OK), (2, State.OK), (1, State.ERROR)])
def test_the_server_that_answers_is_the_one_whose_counters_rise(
    counted: int, state: State, counter: tuple[str, str]
) -> None:
    # Versions before 0.2.0 count the doctor's requests as authenticated mail.
    before, after = healthy_metrics({counter: 5}), healthy_metrics({counter: 5 + counted})
    assert finding_of_counters(before, after, 2).state is state


def test_authenticated_mail_is_not_mistaken_for_the_doctors_requests() -> None:
    before = healthy_metrics({PROBES: 0, AUTHENTICATED: 5})
    after = healthy_metrics({PROBES: 0, AUTHENTICATED: 9})
    assert finding_of_counters(before, after, 2).state is State.ERROR


@pytest.mark.parametrize(
    ("actions", "state"),
    [
        (["DUNNO greyd 0.2.0"], State.OK),
        (["DUNNO greyd 0.2.0", "DUNNO greyd 0.2.0"], State.OK),
        (["DUNNO greyd 0.2.0", "DUNNO"], State.NOT_CHECKED),
        (["DUNNO"], State.NOT_CHECKED),
        ([], State.NOT_CHECKED),
    ],
)
def test_without_metrics_only_a_marked_answer_shows_that_greyd_answered(
    actions: list[str], state: State
) -> None:
    answers = [PolicyAnswer(each, 0.01) for each in actions]
    found = finding_without_counters([*answers, PolicyAnswer(fault="refused")], "no metrics")
    assert (found.state, "no metrics" in found.seen) == (state, True)


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (None, State.NOT_CHECKED),
        (0, State.HINT),
        (990, State.OK),
        (10, State.WARNING),
    ],
)
def test_a_prometheus_that_stops_scraping_is_found(last: float | None, state: State) -> None:
    values = {} if last is None else {("greyd_last_scrape_timestamp_seconds", ""): last}
    assert finding_of_scrapes(healthy_metrics(values), 1000).state is state


@pytest.mark.parametrize("mode", ["on", "learn", "off"])
def test_a_mode_in_which_no_mail_is_greylisted_is_a_hint(mode: str) -> None:
    values = {("greyd_mode", name): float(name == mode) for name in ("on", "learn", "off")}
    found = finding_of_mode(healthy_metrics(values))
    assert found.state is (State.OK if mode == "on" else State.HINT)
    assert mode in found.seen


@pytest.mark.parametrize("url", ["file:///etc/passwd", "127.0.0.1:9923", "ftp://x/"])
def test_only_urls_of_http_are_fetched(url: str) -> None:
    with pytest.raises(MetricsError, match="http://HOST:PORT"):
        asyncio.run(fetch_metrics(url))


def test_a_store_that_the_server_cannot_reach_is_found() -> None:
    known = [healthy_metrics({("greyd_store_up", ""): up}) for up in (1, 0)]
    states = [finding_of_store(each, "mail passes").state for each in (*known, None)]
    assert states == [State.OK, State.ERROR, State.NOT_CHECKED]
