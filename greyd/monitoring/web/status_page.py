"""Renders the page at ``/`` of the metrics port, for sites without Grafana.

The page is HTML and SVG, and loads no other files. Anyone who can reach the port can read the page,
so it shows mail and IP addresses only with ``--status-details``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd import __version__
from greyd.config.durations import format_duration, format_percentage
from greyd.config.vocabulary import RESOLVER
from greyd.escaping import percent_encode
from greyd.monitoring.activity.counter_history import (
    AUTO_WHITELISTED,
    PASSES,
    REQUESTS,
    STORE_ASKED,
    STORE_ERRORS,
    STORE_SECONDS,
    WAITED,
    CountedPeriod,
)
from greyd.monitoring.shadow.counts import shadow_counts
from greyd.monitoring.store.summary import (
    DUE_BORDERS,
    EARLY_BORDERS,
    GONE_BORDERS,
    MAX_WAITING,
    StoreSummary,
)
from greyd.monitoring.web.html import Column, format_number, paragraph, rectangle, section, table
from greyd.monitoring.web.status_page_frame import END, HEAD, STYLE
from greyd.redaction import without_list_keys
from greyd.rules.entries import GIVEN_UP_SECONDS, EntryKind, EntryState
from greyd.rules.networks import with_prefix_length
from greyd.rules.reasons import GREYLIST, Category, Reason
from greyd.terminal import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greyd.config.settings import Settings

BAR_SECONDS = 15 * 60
BARS = 96
"""Number of bars in the chart, which cover one day."""

MAX_NETWORKS = 20
"""Maximum number of networks without a retry that the page names."""

_SERIES = {reason: (REQUESTS, *reason.outcome) for reason in Reason}
_ALL = list(_SERIES.values())
_GREYLISTED = [series for reason, series in _SERIES.items() if reason.action == GREYLIST]

_Parts = Iterable[Markup]

_NAME_AND_NUMBER = (Column.NAME, Column.NUMBER)


@dataclass(frozen=True, kw_only=True)
class StatusView:
    """The data that the page shows."""

    settings: Settings
    """The settings, with the mode in force."""
    store_name: str
    store_away: bool
    up_seconds: float
    hour: CountedPeriod
    day: CountedPeriod
    bars: Sequence[CountedPeriod]
    """The counts of the last day, one period for each ``BAR_SECONDS``."""
    whitelist_entries: Mapping[str, float]
    dns_sources: Mapping[str, bool]
    """Whether each DNS list and the resolver is in order; empty if no option needs DNS."""
    summary: StoreSummary | None
    """The summary of the store; None before the first scan."""
    summary_age_seconds: float
    clock: float
    """The current time, in seconds since 1970."""


def render(view: StatusView) -> bytes:
    """Return the page as HTML in UTF-8."""
    return b"".join(render_parts(view))


def render_parts(view: StatusView) -> Iterator[bytes]:
    """Yield the parts of the page. The parts are rendered one by one, as the caller iterates."""
    for part in _parts(view):
        yield part.encode()


def _parts(view: StatusView) -> Iterator[Markup]:
    level, state = _state(view)
    yield HEAD.format(
        style=STYLE,
        refresh=60 if view.summary else 5,
        host=view.settings.hostname or "",
        version=__version__,
        up=format_duration(view.up_seconds),
        delay=format_duration(view.settings.delay_seconds),
        mode=view.settings.mode,
        level=level,
        state=state,
    )
    yield from _decisions(view)
    yield from _returned(view)
    yield from _waiting(view)
    if view.settings.status_details:
        yield from _details(view)
    if view.settings.shadow:
        yield from _shadow(view)
    yield from _store(view)
    yield from _dns(view)
    yield END.format(date=time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(view.clock)))


def _state(view: StatusView) -> tuple[str, str]:
    """Return the state of the server, as a CSS class and in words."""
    settings = view.settings
    if view.store_away:
        outcome = "passes without greylisting" if settings.passes_without_store else "is deferred"
        return "bad", f"The store is unavailable: mail {outcome} until it answers."
    own_modes = any(each.mode for each in settings.recipient_domains)
    but = " Recipient domains may have their own mode (greyd mode)." if own_modes else ""
    if settings.mode == "learn":
        return "warn", f"Mode learn: all mail passes, and triplets are remembered.{but}"
    if settings.mode == "off":
        return "warn", f"Mode off: all mail passes, and nothing is remembered.{but}"
    return "good", f"Greylisting; the store answers.{but}"


# Decisions --------------------------------------------------------------------------------------


def _decisions(view: StatusView) -> Iterator[Markup]:
    hour, day = view.hour, view.day
    total = day.sum(_ALL)
    rows: list[list[str]] = [
        [
            _reason(reason, day.counts[series]),
            format_number(hour.counts[series]),
            format_number(day.counts[series]),
            format_percentage(day.counts[series], total),
        ]
        for reason, series in _SERIES.items()
        if reason.is_usual or day.counts[series]
    ]
    rows.append(
        [
            "all",
            format_number(hour.sum(_ALL)),
            format_number(total),
            format_percentage(total, total),
        ]
    )
    head = [
        "decision",
        f"last {format_duration(hour.seconds)}",
        f"last {format_duration(day.seconds)}",
        "share",
    ]
    columns = (Column.NAME, *[Column.NUMBER] * 3)
    return section("Decisions", _chart(view.bars), table(head, rows, columns))


def _reason(reason: Reason, count: float) -> Markup:
    """Return a reason in words, followed by its text in the log; in red for a fault with counts."""
    kind = "fault" if reason.category is Category.FAULT and count else "words"
    return Markup('<span class="{}">{}</span> <span class="soft">{}</span>').format(
        kind, reason.in_words, reason.text
    )


def _chart(bars: Sequence[CountedPeriod]) -> Iterator[Markup]:
    """Draw the chart of the day; each bar has passed requests, and greylisted ones above them."""
    highest = max(1, *(bar.sum(_ALL) for bar in bars))
    width, height, step = 960, 120, 960 / len(bars)
    yield Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="Decisions in'
        ' the last day, one bar for 15 minutes">'
    ).format(width, height)
    for place, bar in enumerate(bars):
        greylisted = bar.sum(_GREYLISTED)
        passed = bar.sum(_ALL) - greylisted
        top: float = height
        for kind, count in (("pass", passed), ("grey", greylisted)):
            bar_height = count / highest * height
            top -= bar_height
            if count:
                yield rectangle(kind, place * step, top, step - 1, bar_height)
    yield Markup(
        "</svg>\n"
        '<p class="axis soft"><span>a day ago</span><span>now</span></p>\n'
        '<p><span class="key pass">passed</span> <span class="key grey">greylisted</span>;'
        " the highest bar is {} in 15 minutes</p>\n"
    ).format(format_number(highest))


# Retries ----------------------------------------------------------------------------------------


def _returned(view: StatusView) -> Iterator[Markup]:
    day = view.day
    span = f"last {format_duration(day.seconds)}"
    first, passed = day.counts[_SERIES[Reason.NEW]], day.counts[PASSES,]
    rows = [
        ["first contacts", format_number(first)],
        ["passed after the delay", format_number(passed)],
        ["mean wait", format_duration(day.counts[WAITED,] / passed) if passed else "–"],
        ["clients newly auto-whitelisted", format_number(day.counts[AUTO_WHITELISTED,])],
    ]
    text = (
        f"In the {span}, {format_percentage(passed, first)} of the first contacts have come back."
        " Mail that never comes back is nearly always spam."
        if first
        else "No first contacts yet."
    )
    return section("Came back", paragraph(text), table(["", span], rows, _NAME_AND_NUMBER))


def _waiting(view: StatusView) -> Iterator[Markup]:
    summary = view.summary
    if summary is None:
        return section("Waiting", paragraph("The store has not been counted yet."))
    least = "at the earliest " if view.settings.delay_varies else ""
    early = _classes(summary.early, EARLY_BORDERS, f"{least}within {{}}", f"{least}later")
    due = _classes(summary.due, DUE_BORDERS, "now, for {} or less", "now, for longer")
    gone = _classes(summary.gone, GONE_BORDERS, "for {} or less", "for longer")
    return section(
        "Waiting",
        table(
            [f"{format_number(summary.waiting)} waiting: a retry passes", "triplets"],
            [*early, *due],
            _NAME_AND_NUMBER,
        ),
        table(
            [f"{format_number(summary.never_returned)} never returned: the delay is over", ""],
            gone,
            _NAME_AND_NUMBER,
        ),
        paragraph(
            f"{format_number(summary.passed)} triplets have passed. Counted"
            f" {format_duration(view.summary_age_seconds)} ago, from {_counted_part(summary)}."
        ),
    )


def _counted_part(summary: StoreSummary) -> str:
    number = format_number(summary.looked_at)
    if summary.complete:
        return f"all entries of the store ({number})"
    return f"only {number} entries of the store; greyd stats counts all of them"


def _classes(
    counts: Sequence[int], borders: Sequence[int], text: str, beyond: str
) -> list[list[str]]:
    names = [*(text.format(format_duration(border)) for border in borders), beyond]
    return [[name, format_number(count)] for name, count in zip(names, counts, strict=True)]


def _details(view: StatusView) -> Iterator[Markup]:
    summary = view.summary
    if summary is None:
        return
    if view.settings.privacy:
        yield from section("Details", paragraph("With --privacy, the store has no addresses."))
        return
    waiting = (
        [
            _text(with_prefix_length(each.names.network, view.settings)),
            _text(each.names.sender),
            _text(each.names.recipient),
            _minute(each.first_seen),
            _minute(each.last_seen),
            _minute(each.passes_at),
        ]
        for each in sorted(summary.named, reverse=True)
    )
    lost = (
        [_text(with_prefix_length(network, view.settings)), format_number(count)]
        for network, count in summary.given_up.most_common(MAX_NETWORKS)
    )
    head = ["client network", "sender", "recipient", "first seen", "last seen", "passes from"]
    columns = (*[Column.NAME] * 3, *[Column.NUMBER] * 3)
    yield from section(
        f"Waiting triplets (the newest {MAX_WAITING})", table(head, waiting, columns)
    )
    yield from section(
        f"Never returned (in {format_duration(GIVEN_UP_SECONDS)} after the delay)",
        table(["client network", "triplets"], lost, _NAME_AND_NUMBER),
    )


# Shadow -----------------------------------------------------------------------------------------


def _shadow(view: StatusView) -> Iterator[Markup]:
    """Compare the shadow's decisions of the last day with the server's."""
    changes = (f"{name}={value}" for name, value in view.settings.shadow)
    names = without_list_keys(", ".join(changes))
    counts = shadow_counts(view.day.counts)
    sentences = "; ".join(counts.sentences()) or "no request compared yet"
    span = f"last {format_duration(view.day.seconds)}"
    rows = [
        ["good mail that waited", format_number(counts.shadow_delayed_mails)],
        ["of it, would not have waited", format_number(counts.shadow_not_delayed_mails)],
        ["first contacts", format_number(counts.shadow_first_contacts)],
        ["of them, would have passed", format_number(counts.shadow_first_contacts_passed)],
        ["of these, have not come back", format_number(counts.let_in)],
        ["pass now, would be greylisted", format_number(counts.shadow_only_greylists)],
        ["requests skipped", format_number(counts.shadow_skipped)],
    ]
    yield from section(
        "Shadow",
        paragraph(f"With {names}, in the {span}: {sentences}."),
        table(["requests", span], rows, _NAME_AND_NUMBER),
    )


# Store ------------------------------------------------------------------------------------------


def _store(view: StatusView) -> Iterator[Markup]:
    hour, day = view.hour, view.day
    asked = hour.counts[STORE_ASKED, "transact"]
    mean = f"{1000 * hour.counts[STORE_SECONDS, 'transact'] / asked:.1f} ms" if asked else "–"
    errors = (STORE_ERRORS, "transact")
    rows = [
        ["store", view.store_name],
        ["mean response time, last hour", mean],
        ["errors, last hour", format_number(hour.counts[errors])],
        ["errors, last day", format_number(day.counts[errors])],
        ["whitelist entries for clients", format_number(view.whitelist_entries["clients"])],
        ["whitelist entries for recipients", format_number(view.whitelist_entries["recipients"])],
    ]
    if summary := view.summary:
        rows += [
            ["triplets that have passed", format_number(summary.passed)],
            ["clients that have come back", format_number(summary.number(EntryKind.CLIENT))],
            [
                "auto-whitelisted clients",
                format_number(summary.number(EntryKind.CLIENT, EntryState.AUTO_WHITELISTED)),
            ],
        ]
        if identities := summary.number(EntryKind.IDENTITY):
            good = summary.number(EntryKind.IDENTITY, EntryState.AUTO_WHITELISTED)
            rows.append(["identities that have come back", format_number(identities)])
            rows.append(["auto-whitelisted identities", format_number(good)])
        if summary.unreadable:
            rows.append(["unreadable entries", format_number(summary.unreadable)])
    return section("Store and whitelists", table(["", ""], rows, _NAME_AND_NUMBER))


def _dns(view: StatusView) -> Iterator[Markup]:
    """Show whether the resolver and the DNS lists are in order, if any option needs DNS."""
    rows = [
        ["resolver" if name == RESOLVER else name, "in order" if is_up else "out of order"]
        for name, is_up in sorted(view.dns_sources.items(), key=lambda each: each[0] != RESOLVER)
    ]
    if not rows:
        return iter(())
    return section("DNS", table(["", ""], rows, (Column.NAME, Column.NAME)))


# Cells ------------------------------------------------------------------------------------------


def _text(data: bytes) -> str:
    return percent_encode(data).decode() or "<>"


def _minute(when: int) -> str:
    return format_time("%m-%d %H:%M", when)
