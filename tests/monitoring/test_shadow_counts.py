"""The shadow's counts on the status page and in the statistics."""

from __future__ import annotations

from typing import Any

from greyd.monitoring.activity.counter_history import (
    SHADOW_COMPARED,
    SHADOW_DELAYED_MAIL,
    SHADOW_FIRST_CONTACTS,
    SHADOW_SKIPPED,
)
from greyd.monitoring.shadow.counts import ShadowCounts, shadow_counts
from greyd.monitoring.stats import Counts

TOTALS = {
    (SHADOW_COMPARED, "pass", "pass"): 700.0,
    (SHADOW_COMPARED, "pass", "greylist"): 4.0,
    (SHADOW_COMPARED, "greylist", "pass"): 230.0,
    (SHADOW_COMPARED, "greylist", "greylist"): 1200.0,
    (SHADOW_FIRST_CONTACTS, "pass"): 215.0,
    (SHADOW_FIRST_CONTACTS, "greylist"): 900.0,
    (SHADOW_DELAYED_MAIL, "not delayed"): 212.0,
    (SHADOW_DELAYED_MAIL, "delayed"): 40.0,
    (SHADOW_DELAYED_MAIL, "still waiting"): 8.0,
    (SHADOW_SKIPPED,): 9.0,
}


def test_the_counts_are_told_in_words() -> None:
    counts = shadow_counts(TOTALS)
    assert list(counts.sentences()) == [
        "212 of 260 delayed good mails would not have waited",
        "3 of 1,115 first contacts would have passed at once, and have not come back: bots, or mail"
        " still waiting",
        "4 of 2,134 requests pass now and would have been greylisted",
        "9 requests were skipped",
    ]


def test_without_a_shadow_nothing_is_told() -> None:
    assert list(ShadowCounts().sentences()) == []


def test_mail_from_before_the_period_does_not_make_a_count_negative() -> None:
    later = {**TOTALS, (SHADOW_FIRST_CONTACTS, "pass"): 100.0}
    assert shadow_counts(later).let_in == 0


def test_statistics_are_read_back_and_those_of_an_older_server_too() -> None:
    counts = Counts.of(60, TOTALS)
    dumped: dict[str, Any] = counts.dump()
    assert Counts.load(dumped) == counts
    assert dumped["shadow_not_delayed_mails"] == 212
    older = {name: value for name, value in dumped.items() if not name.startswith("shadow_")}
    assert Counts.load(older) == Counts.of(60, {})
