"""The page for people: what it shows, and what it keeps to itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from greyd import __version__
from greyd.config.settings import Settings
from greyd.monitoring.activity.counter_history import (
    PASSES,
    REQUESTS,
    SERIES,
    WAITED,
    CountedPeriod,
    Series,
)
from greyd.monitoring.store.summary import StoreSummary, WaitingTriplet
from greyd.monitoring.web.status_page import BARS, StatusView, render
from greyd.rules.entries import EntryKind, EntryState
from greyd.rules.keys import TripletNames
from greyd.rules.reasons import OUTCOMES

NEW = (REQUESTS, "greylist", "new")
NOW = 1_700_000_000
ALICE = WaitingTriplet(
    NOW + 60, NOW - 240, NOW, TripletNames(b"192.0.2.0", b"alice@example.com", b"bob@x.org")
)


def period(counts: dict[Series, float] | None = None, seconds: float = 3600) -> CountedPeriod:
    return CountedPeriod(seconds, {**dict.fromkeys(SERIES, 0.0), **(counts or {})})


def view(**changes: Any) -> StatusView:
    usual = StatusView(
        settings=Settings(hostname="mx.example.org"),
        store_name="redis",
        store_away=False,
        up_seconds=90_061,
        hour=period(),
        day=period(seconds=86400),
        bars=[period()] * BARS,
        whitelist_entries={"clients": 164, "recipients": 2},
        dns_sources={},
        summary=StoreSummary(complete=True),
        summary_age_seconds=5,
        clock=NOW,
    )
    return replace(usual, **changes)


class Reader(HTMLParser):
    """Reads a page as a browser would: its text, and the tags in it."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)
        if tag in {"td", "th"}:
            self.text += " "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data if self.open[-1:] != ["style"] else ""


def read(**changes: Any) -> Reader:
    reader = Reader()
    reader.feed(render(view(**changes)).decode())
    reader.close()
    assert reader.open == []
    # One space, or a line's end, for what a browser shows as one.
    reader.text = " ".join(reader.text.replace("\u00a0", " ").split())
    return reader


def test_the_head_says_what_runs_where_and_since_when() -> None:
    text = read().text
    assert f"version {__version__} on mx.example.org, up 1 d 1 h" in text
    assert "a first contact waits 5 min; mode on" in text


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "Greylisting; the store answers."),
        (
            {"store_away": True},
            "The store is unavailable: mail passes without greylisting until it answers.",
        ),
        (
            {"store_away": True, "settings": Settings(on_store_failure="defer")},
            "The store is unavailable: mail is deferred until it answers.",
        ),
        (
            {"settings": Settings(mode="learn")},
            "Mode learn: all mail passes, and triplets are remembered.",
        ),
        ({"settings": Settings(mode="off")}, "Mode off: all mail passes"),
    ],
)
def test_it_says_how_things_are(changes: dict[str, Any], state: str) -> None:
    assert state in read(**changes).text


def test_decisions_of_the_hour_and_the_day_stand_side_by_side() -> None:
    text = read(hour=period({NEW: 3}), day=period({NEW: 1200}, 86400)).text
    assert "last 1 h last 1 d share" in text
    assert "greylisted: first contact new 3 1,200 100.0 %" in text


def test_what_is_rare_is_shown_only_where_it_happened() -> None:
    failed = (REQUESTS, "pass", "internal error")
    assert "internal error of greyd" not in read().text
    assert "internal error of greyd internal error 0 1" in read(day=period({failed: 1})).text


def test_a_fault_that_occurred_is_marked() -> None:
    failed = (REQUESTS, "pass", "internal error")
    marked = '<span class="fault">passed: internal error of greyd</span>'
    assert marked in render(view(day=period({failed: 1}))).decode()
    assert 'class="fault"' not in render(view()).decode()


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_has_words(outcome: tuple[str, str]) -> None:
    assert outcome[1] in read(day=period({(REQUESTS, *outcome): 1})).text


def test_it_says_how_many_came_back() -> None:
    text = read(day=period({NEW: 200, (PASSES,): 50, (WAITED,): 50 * 420}, 86400)).text
    assert "25.0 % of the first contacts have come back" in text
    assert "mean wait 7 min" in text


def test_the_chart_stacks_what_was_greylisted_on_what_passed() -> None:
    passed = (REQUESTS, "pass", "triplet found")
    bars = [period()] * (BARS - 1) + [period({NEW: 30, passed: 10})]
    grey, green = {}, {}
    for tag, attributes in read(bars=bars).tags:
        if tag == "rect":
            (grey if attributes["class"] == "grey" else green).update(attributes)
    assert float(grey["height"]) == pytest.approx(3 * float(green["height"]))
    assert float(grey["y"]) + float(grey["height"]) == pytest.approx(float(green["y"]))


def test_those_that_wait_and_those_that_never_returned_are_counted() -> None:
    states: Counter[tuple[EntryKind, EntryState]] = Counter(
        {
            (EntryKind.TRIPLET, EntryState.WAITING): 7,
            (EntryKind.TRIPLET, EntryState.PASSED): 80,
            (EntryKind.TRIPLET, EntryState.NEVER_RETURNED): 5,
            (EntryKind.IDENTITY_TRIPLET, EntryState.WAITING): 7,
        }
    )
    summary = StoreSummary(
        looked_at=99, states=states, early=[1, 2, 0, 0, 0], due=[3, 1], gone=[4, 1]
    )
    text = read(summary=summary).text
    assert "7 waiting: a retry passes" in text
    assert "within 5 min 2" in text
    assert "now, for 1 h or less 3" in text
    assert "5 never returned" in text
    assert "for longer 1" in text
    assert "80 triplets have passed" in text
    assert "from only 99 entries of the store" in text


def test_without_a_look_through_the_store_it_says_so() -> None:
    assert "has not been counted yet" in read(summary=None).text


def test_it_names_nobody_unless_told_to() -> None:
    summary = StoreSummary(named=[ALICE])
    summary.given_up[b"198.51.100.0"] = 3
    for name in ("alice", "bob@x.org", "192.0.2", "198.51.100"):
        assert name not in render(view(summary=summary)).decode()


def test_with_details_it_names_who_waits_and_who_never_returned() -> None:
    summary = StoreSummary(named=[ALICE])
    summary.given_up[b"198.51.100.0"] = 3
    text = read(summary=summary, settings=Settings(status_details=True)).text
    assert "192.0.2.0/24 alice@example.com bob@x.org" in text
    assert "198.51.100.0/24 3" in text


def test_hashes_can_name_nobody_and_it_says_so() -> None:
    settings = Settings(status_details=True, privacy=True)
    assert "the store has no addresses" in read(settings=settings).text


def test_names_from_the_network_are_text_and_nothing_else() -> None:
    evil = TripletNames(
        b"192.0.2.0", b"<script>alert(1)</script>@x", b"\xff\x1b[31m\" onload='x'&amp;"
    )
    summary = StoreSummary(named=[replace(ALICE, names=evil)])
    page = read(summary=summary, settings=Settings(status_details=True))
    assert "<script>alert(1)</script>@x" in page.text
    assert "%FF%1B[31m\" onload='x'&amp;" in page.text
    assert not [tag for tag, _ in page.tags if tag == "script"]


def test_nothing_is_loaded_from_elsewhere() -> None:
    links = [
        value
        for _, attributes in read().tags
        for name, value in attributes.items()
        if name in {"href", "src", "srcset", "action", "style", "data"}
    ]
    assert links == ["/metrics", "/stats.json", "/healthz", "/readyz"]
    assert b"url(" not in render(view())
    assert b"@import" not in render(view())


def test_a_shadow_has_a_section_with_what_it_would_have_changed() -> None:
    assert "Shadow" not in read().text
    shadow = (("preset", "recommended"), ("delay", "60"))
    settings = Settings(shadow=shadow)
    assert "With preset=recommended, delay=60" in read(settings=settings).text
    day = period(
        {
            ("greyd_shadow_compared_total", "greylist", "pass"): 250,
            ("greyd_shadow_first_contacts_total", "pass"): 215,
            ("greyd_shadow_delayed_mail_total", "not delayed"): 212,
            ("greyd_shadow_delayed_mail_total", "delayed"): 48,
        },
        86400,
    )
    text = read(settings=settings, day=day).text
    assert "212 of 260 delayed good mails would not have waited; 3 of 215 first contacts" in text


# DNS ----------------------------------------------------------------------------------------------


def test_dns_lists_out_of_order_are_shown_and_without_dns_there_is_no_section() -> None:
    sources = {"zen.example": False, "{key}.dbl.example": True, "resolver": True}
    text = read(dns_sources=sources).text
    assert "zen.example out of order" in " ".join(text.split())
    assert "{key}.dbl.example in order" in " ".join(text.split())
    assert "out of order" not in read().text
