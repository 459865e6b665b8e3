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
    REQUESTS,
    SERIES,
    CountedPeriod,
    Series,
)
from greyd.monitoring.activity.dns_activity import DnsSourceStatus
from greyd.monitoring.activity.usual import HourCounts, UsualHour
from greyd.monitoring.activity.week import ActivitySlot
from greyd.monitoring.health.problems import HealthProblem, ProblemLevel
from greyd.monitoring.mode_in_force import ModeInForce
from greyd.monitoring.store.summary import StoreSummary, WaitingTriplet
from greyd.monitoring.web.page.status_page import DAY_STEPS, WEEK_STEPS, render, render_parts
from greyd.monitoring.web.page.view import StatusView
from greyd.policy.events import DecisionEvent
from greyd.rules.control import ModeOverride
from greyd.rules.entries import EntryKind, EntryState
from greyd.rules.keys import TripletNames
from greyd.rules.reasons import OUTCOMES, Reason
from greyd.rules.request import Request

NEW = (REQUESTS, "greylist", "new")
NOW = 1_700_000_000
ALICE = WaitingTriplet(
    NOW + 60, NOW - 240, NOW, TripletNames(b"192.0.2.0", b"alice@example.com", b"bob@x.org")
)


def period(counts: dict[Series, float] | None = None, seconds: float = 3600) -> CountedPeriod:
    return CountedPeriod(seconds, {**dict.fromkeys(SERIES, 0.0), **(counts or {})})


def steps(number: int, step_seconds: int, **counts: int) -> list[ActivitySlot]:
    """Return steps that the server ran through; the last one has the counts."""
    starts = range(NOW - number * step_seconds, NOW, step_seconds)
    without = [ActivitySlot(start, 900) for start in starts]
    return [*without[:-1], replace(without[-1], **counts)]


def view(**changes: Any) -> StatusView:
    usual = StatusView(
        settings=Settings(hostname="mx.example.org"),
        mode=ModeInForce.of("on", None),
        store_name="redis",
        up_seconds=90_061,
        hour=period(),
        day=period(seconds=86400),
        hour_before=None,
        usual=UsualHour(0),
        day_steps=steps(DAY_STEPS, 900, passed=1),
        week_steps=steps(WEEK_STEPS, 7200, passed=1),
        problems=[],
        whitelist_entries={"clients": 164, "recipients": 2},
        store_bytes=(0, 0),
        dns_sources=[],
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
        if tag in {"td", "th", "span", "li"}:
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
    assert "greyd on mx.example.org" in text
    assert f"Version {__version__}, up 1 d 1 h; a first contact waits 5 min; store redis." in text


# At a glance --------------------------------------------------------------------------------------

ERROR = HealthProblem(ProblemLevel.ERROR, "the store does not answer", "greyd doctor")
WARNING = HealthProblem(ProblemLevel.WARNING, "zen.example is out of order", "greyd doctor")
OFF = ModeInForce.of("on", ModeOverride("off", NOW + 3600, "alice@mx1", NOW))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "All is well The store answers, and mail is greylisted"),
        ({"problems": [ERROR]}, "Something is broken The store does not answer. greyd doctor"),
        ({"problems": [WARNING]}, "works but needs attention zen.example is out of order. greyd"),
        ({"problems": [ERROR, WARNING]}, "Something is broken"),
        ({"mode": OFF, "problems": [WARNING]}, "Greylisting is switched off"),
        ({"mode": ModeInForce.of("learn", None), "problems": [WARNING]}, "only learning"),
        ({"mode": OFF, "problems": [ERROR]}, "Something is broken"),
    ],
)
def test_the_first_words_say_whether_it_is_well(changes: dict[str, Any], verdict: str) -> None:
    assert verdict in read(**changes).text


def test_the_title_has_the_verdict_for_a_tab_in_the_background() -> None:
    assert b"Something is broken \xe2\x80\x93 greyd on mx.example.org</title>" in render(
        view(problems=[ERROR])
    )


def test_the_mode_is_shown_with_who_has_set_it_and_until_when() -> None:
    assert "on mode as configured" in read().text
    assert "off mode until 2023-11-" in read(mode=OFF).text
    assert "by alice@mx1 at 2023-11-" in read(mode=OFF).text


def test_a_server_without_any_request_has_a_sentence_instead_of_zeros() -> None:
    none = {"day_steps": steps(DAY_STEPS, 900), "week_steps": steps(WEEK_STEPS, 7200)}
    page = read(**none)
    assert "Ready, and waiting for the first request" in page.text
    assert "No requests yet, and the store is empty. greyd ask" in page.text
    assert "No requests yet. greyd ask" in read(**none, summary=None).text
    assert "svg" not in {tag for tag, _ in page.tags}
    assert " 0 " not in page.text


@pytest.mark.parametrize(
    ("now", "usual", "is_odd"),
    [(100, 90, False), (100, 49, True), (40, 90, True), (3, 19, False), (0, 100, True)],
)
def test_the_last_hour_is_compared_with_the_usual_one(now: int, usual: int, is_odd: bool) -> None:
    page = render(
        view(hour=period({NEW: now}), usual=UsualHour(6, requests=usual, greylisted=usual))
    ).decode()
    kind = "note odd" if is_odd else "note"
    assert page.count(f'<span class="{kind}">usual at this hour: {usual}</span>') == 2
    assert "the median of the same hour on the last 6 days" in page


def test_the_waiting_are_compared_with_the_usual_number_if_it_is_known() -> None:
    summary = StoreSummary(due=[3, 1])
    summary.states[EntryKind.TRIPLET, EntryState.WAITING] = 7
    text = read(summary=summary, usual=UsualHour(2, waiting=5)).text
    assert "7 waiting 4 of them may pass now; usual at this hour: 5" in text
    assert "usual at this hour:" not in read(summary=summary, usual=UsualHour(0)).text


def test_a_server_of_the_first_day_says_when_it_can_compare() -> None:
    assert "The usual numbers at this hour are shown from tomorrow on." in read().text


# Charts -------------------------------------------------------------------------------------------


def test_a_chart_has_axes_a_unit_a_legend_and_a_description() -> None:
    day = steps(DAY_STEPS, 900, passed=60, new=25, early=5)
    page = read(day_steps=day)
    assert "Requests in 15 minutes 120 90 60 30 0" in page.text
    assert "passed at once first contact, greylisted retried too early, greylisted" in page.text
    (label, *_) = [
        attributes["aria-label"] for tag, attributes in page.tags if "aria-label" in attributes
    ]
    assert label is not None
    assert label.startswith("90 requests in the last 24 hours, 33.3\u00a0% of them greylisted; the")
    assert "now" in page.text


def test_the_parts_of_a_bar_are_stacked() -> None:
    paths = {
        attributes["class"]: attributes["d"]
        for tag, attributes in read(day_steps=steps(DAY_STEPS, 900, waited=20, new=60)).tags
        if tag == "path"
    }
    assert paths["waited"] == "M950 180.0h9v60.0h-9z"
    assert paths["new"] == "M950 0.0h9v180.0h-9z"


def test_a_time_in_which_the_server_did_not_run_is_not_a_time_without_mail() -> None:
    day = steps(DAY_STEPS, 900, passed=3)
    assert "did not run" not in read(day_steps=day).text
    day[5] = replace(day[5], seconds=0)
    page = read(day_steps=day)
    assert "greyd did not run, or its counts are lost" in page.text


# Decisions and waiting mail -----------------------------------------------------------------------


def test_decisions_of_the_hour_and_the_day_stand_side_by_side() -> None:
    text = read(hour=period({NEW: 3}), day=period({NEW: 1200}, 86400)).text
    assert "last hour last day share" in text
    assert "greylisted: first contact new 3 1,200 100.0 %" in text


def test_a_server_of_less_than_an_hour_has_no_column_twice() -> None:
    text = read(hour=period({NEW: 3}, 600), day=period({NEW: 3}, 600)).text
    assert "last 10 min share greylisted: first contact new 3 100.0 %" in text


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_decision_is_shown_where_it_happened_and_nowhere_else(outcome: tuple[str, str]) -> None:
    words = OUTCOMES[outcome].in_words
    assert words in read(day=period({(REQUESTS, *outcome): 1})).text
    assert words not in read(day=period({(REQUESTS, "pass", "magic"): 1})).text


def test_a_fault_that_occurred_is_marked() -> None:
    failed = (REQUESTS, "pass", "internal error")
    marked = '<span class="fault">passed: internal error of greyd</span>'
    assert marked in render(view(day=period({failed: 1}))).decode()
    assert '<span class="fault"' not in render(view()).decode()


def test_it_says_how_many_came_back() -> None:
    day = steps(DAY_STEPS, 900, new=200, waited=50, waited_seconds=50 * 420)
    text = read(day_steps=day).text
    assert "25.0 % came back in the last 24 hours of 200 first contacts" in text
    assert "7 min mean wait in the last 24 hours 50 mails passed after the delay" in text


def test_after_a_restart_the_last_hour_comes_from_the_history() -> None:
    young = {"hour": period({NEW: 3}, 600), "day": period({NEW: 3}, 600)}
    assert "3 greylisted in the last 10 min" in read(**young).text
    page = read(**young, hour_before=HourCounts(240, 60, 50), usual=UsualHour(3, 250, 200))
    assert "60 greylisted in the last hour usual at this hour: 200" in page.text
    assert "240 requests in the last hour usual at this hour: 250" in page.text
    assert {"class": "note odd"} in [attributes for _, attributes in page.tags]


def test_those_that_wait_and_those_that_never_returned_are_shown_by_age() -> None:
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
    assert "7 triplets waiting, 5 never returned: by age" in text
    assert "within 5 min 2 now, for 1 h or less 3" in text
    assert "never returned, due for longer 1" in text
    assert "within 15 min" not in text
    assert "80 triplets passed" in text
    assert "from only 99 entries of the store" in text


def test_without_a_look_through_the_store_it_says_so() -> None:
    assert "has not been counted yet" in read(summary=None).text
    assert "No mail is waiting, and no sender has given up." in read().text


# Names --------------------------------------------------------------------------------------------

DECISION = DecisionEvent(
    Request(
        client_name=b"mail.example.com",
        client_address=b"192.0.2.7",
        sender=b"alice@example.com",
        recipient=b"bob@x.org",
    ),
    Reason.NEW,
    0.001,
)


def test_it_names_nobody_unless_told_to() -> None:
    summary = StoreSummary(named=[ALICE])
    summary.given_up[b"198.51.100.0"] = 3
    page = render(view(summary=summary, decisions=[(NOW, DECISION)])).decode()
    for name in ("alice", "bob@x.org", "192.0.2", "198.51.100", "mail.example.com"):
        assert name not in page


def test_with_details_it_names_who_waits_and_who_never_returned() -> None:
    summary = StoreSummary(named=[ALICE])
    summary.given_up[b"198.51.100.0"] = 3
    text = read(summary=summary, settings=Settings(status_details=True)).text
    assert "192.0.2.0/24 alice@example.com bob@x.org" in text
    assert "198.51.100.0/24 3" in text


def test_with_details_it_shows_the_last_decisions() -> None:
    settings = Settings(status_details=True)
    text = read(decisions=[(NOW, DECISION)], settings=settings).text
    shown = "greylisted: first contact mail.example.com[192.0.2.7] alice@example.com bob@x.org"
    assert shown in text
    assert "of one of the workers" not in text
    settings = Settings(status_details=True, workers=2)
    assert "of one of the workers" in read(decisions=[(NOW, DECISION)], settings=settings).text


def test_hashes_can_name_nobody_and_it_says_so() -> None:
    settings = Settings(status_details=True, privacy=True)
    assert "With --privacy, the page shows no names." in read(settings=settings).text


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
    assert links == ["/?refresh=0", "/stats.json", "/metrics", "/healthz", "/readyz"]
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
    assert "212 of 260 delayed good mails would not have waited. 3 of 215 first contacts" in text


# DNS ----------------------------------------------------------------------------------------------


def test_dns_sources_are_shown_with_their_state_and_without_dns_there_is_no_section() -> None:
    sources = [
        DnsSourceStatus("resolver", True, 500, 3),
        DnsSourceStatus("zen.example", False, 20, 20, "it answers an error code", "remove it", NOW),
        DnsSourceStatus("{key}.dbl.example", True, 100, 12),
    ]
    text = read(dns_sources=sources).text
    assert "resolver in order 500 3" in text
    assert "zen.example out of order since" in text
    assert "it answers an error code; remove it 20 20" in text
    assert "{key}.dbl.example late 100 12" in text
    assert "unanswered" not in read().text


@pytest.mark.parametrize("is_up", [False, True])
def test_a_list_that_was_not_asked_is_not_called_in_order(is_up: bool) -> None:
    count = 0 if is_up else 9
    sources = [
        DnsSourceStatus("resolver", is_up, 50, 0),
        DnsSourceStatus("zen.example", True, count, 0),
    ]
    assert f"zen.example not asked {count} 0" in read(dns_sources=sources).text


# The page as a whole ------------------------------------------------------------------------------


def test_the_browser_reloads_it_unless_asked_not_to() -> None:
    assert b'http-equiv="refresh" content="60"' in render(view())
    assert b'http-equiv="refresh" content="5"' in render(view(summary=None))
    still = render(view(), refreshes=False)
    assert b"http-equiv" not in still
    assert b'<a href="/">Reload it every minute</a>' in still


def test_each_table_has_a_caption_and_each_cell_of_a_stacked_one_its_heading() -> None:
    settings = Settings(status_details=True)
    summary = StoreSummary(named=[ALICE], early=[3, 0, 0, 0, 0])
    page = read(
        summary=summary, settings=settings, decisions=[(NOW, DECISION)], hour=period({NEW: 3}),
        day=period({NEW: 9}, 86400), dns_sources=[DnsSourceStatus("resolver", True, 500, 3)],
    )  # fmt: skip
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") == 6
    labelled = [attributes for tag, attributes in page.tags if "data-label" in attributes]
    assert len(labelled) == 4 + 5 + 6
    assert all(attributes["data-label"] for attributes in labelled)


def full_view() -> StatusView:
    """Return a page with as much in it as there can be."""
    name = TripletNames(b"2001:db8:1234::", b"s" * 300 + b"@example.com", b"r" * 300)
    summary = StoreSummary(named=[replace(ALICE, names=name)] * 100, early=[10**9] * 5)
    busy = [ActivitySlot(NOW, 900, *[10**9] * 5, 0)]
    return view(
        settings=Settings(status_details=True, hostname="mx.example.org"),
        summary=summary,
        day=period({(REQUESTS, *each): 10**9 for each in OUTCOMES}, 86400),
        day_steps=busy * DAY_STEPS,
        week_steps=busy * WEEK_STEPS,
        decisions=[(NOW, DECISION)] * 20,
        problems=[ERROR] * 100,
    )


def test_a_page_with_everything_in_it_is_of_bounded_size() -> None:
    assert len(render(full_view())) < 300_000
    assert len(render(view())) < 60_000


def test_no_part_of_the_page_is_long_so_that_requests_come_in_between() -> None:
    parts = list(render_parts(full_view()))
    style = max(len(part) for part in parts)
    assert style < 12_000
    assert len(parts) > 250
