"""The sections of the status page: waiting mail, decisions, shadow, DNS, store.

A row whose numbers are all 0 is left out; a section without rows has a sentence instead of its
table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd.config.durations import format_duration, format_percentage
from greyd.monitoring.activity.counter_history import (
    AUTO_WHITELISTED,
    REQUESTS,
    STORE_ASKED,
    STORE_ERRORS,
    STORE_SECONDS,
)
from greyd.monitoring.shadow.counts import shadow_counts
from greyd.monitoring.store.summary import DUE_BORDERS, EARLY_BORDERS, GONE_BORDERS
from greyd.monitoring.web.html import Column, format_number, paragraph, section
from greyd.monitoring.web.page.elements import bar, last, named_rows, stacked_rows
from greyd.plurals import counted
from greyd.redaction import without_list_keys
from greyd.rules.entries import EntryKind, EntryState
from greyd.rules.reasons import GREYLIST, Category, Reason
from greyd.terminal import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.monitoring.activity.dns_activity import DnsSourceStatus
    from greyd.monitoring.store.summary import StoreSummary
    from greyd.monitoring.web.page.view import StatusView

_SERIES = {reason: (REQUESTS, *reason.outcome) for reason in Reason}
_WITH_BAR = (Column.NAME, Column.NUMBER, Column.BAR)


# Waiting mail -------------------------------------------------------------------------------------


def waiting(view: StatusView) -> Iterator[Markup]:
    """Yield the triplets that wait, by age, and those that never returned."""
    summary = view.summary
    if summary is None:
        yield from section("Waiting mail", paragraph("The store has not been counted yet."))
        return
    rows = list(_waiting_rows(summary, varies=view.settings.delay_varies))
    highest = max((count for _, count, _ in rows), default=0)
    shown = ([name, format_number(count), bar(kind, count, highest)] for name, count, kind in rows)
    caption = (
        f"{counted(summary.waiting, 'triplet')} waiting,"
        f" {format_number(summary.never_returned)} never returned: by age"
    )
    yield from section(
        "Waiting mail",
        named_rows(caption, ["a retry passes", "triplets", ""], shown, _WITH_BAR)
        if rows
        else paragraph("No mail is waiting, and no sender has given up."),
        paragraph(
            f"{counted(summary.passed, 'triplet')} passed. Counted"
            f" {format_duration(view.summary_age_seconds)} ago, from {_counted_part(summary)}."
        ),
    )


def _waiting_rows(summary: StoreSummary, *, varies: bool) -> Iterator[tuple[str, int, str]]:
    """Yield name, number and colour of each class that is not empty, from the newest."""
    least = "at the earliest " if varies else ""
    classes = (
        (summary.early, EARLY_BORDERS, f"{least}within {{}}", f"{least}later", "early"),
        (summary.due, DUE_BORDERS, "now, for {} or less", "now, for longer", "new"),
        (
            summary.gone,
            GONE_BORDERS,
            "never returned, due for up to {}",
            "never returned, due for longer",
            "other",
        ),
    )
    for counts, borders, text, beyond, kind in classes:
        names = [*(text.format(format_duration(border)) for border in borders), beyond]
        yield from ((name, count, kind) for name, count in zip(names, counts, strict=True) if count)


def _counted_part(summary: StoreSummary) -> str:
    number = format_number(summary.looked_at)
    if summary.complete:
        return f"all entries of the store ({number})"
    return f"only {number} entries of the store; greyd stats counts all of them"


# Decisions ----------------------------------------------------------------------------------------


def decisions(view: StatusView) -> Iterator[Markup]:
    """Yield the decisions of the last hour and day by reason, the most frequent first."""
    hour, day = view.hour, view.day
    total = day.sum(_SERIES.values())
    if not total:
        yield from section("Decisions", paragraph("No requests since the start."))
        return
    found = sorted(
        (reason for reason, series in _SERIES.items() if day.counts[series]),
        key=lambda reason: -day.counts[_SERIES[reason]],
    )
    rows: list[Sequence[str]] = [
        [
            _reason(reason),
            format_number(hour.counts[_SERIES[reason]]),
            format_number(day.counts[_SERIES[reason]]),
            format_percentage(day.counts[_SERIES[reason]], total),
            bar(_bar_class(reason), day.counts[_SERIES[reason]], day.counts[_SERIES[found[0]]]),
        ]
        for reason in found
    ]
    rows.append(["all", format_number(hour.sum(_SERIES.values())), format_number(total), "", ""])
    is_young = hour.seconds == day.seconds
    head = ["", last(hour.seconds), last(day.seconds),
            "share", ""]  # fmt: skip
    columns = [Column.NAME, *[Column.NUMBER] * 3, Column.BAR]
    if is_young:
        # Both columns would have the same numbers.
        head, columns = [*head[:1], *head[2:]], [*columns[:1], *columns[2:]]
        rows = [[*row[:1], *row[2:]] for row in rows]
    clients = round(day.counts[AUTO_WHITELISTED,])
    newly = f"{counted(clients, 'client')} became auto-whitelisted."
    yield from section(
        "Decisions",
        named_rows("Requests by decision and reason", head, rows, columns),
        paragraph(newly) if clients else (),
    )


def _reason(reason: Reason) -> Markup:
    """Return a reason in words, followed by its text in the log; a fault is red."""
    kind = "fault" if reason.category is Category.FAULT else "words"
    return Markup('<span class="{}">{}</span> <small>{}</small>').format(
        kind, reason.in_words, reason.text
    )


def _bar_class(reason: Reason) -> str:
    if reason.category is Category.FAULT:
        return "fault"
    return "new" if reason.action == GREYLIST else "known"


# Shadow -------------------------------------------------------------------------------------------


def shadow(view: StatusView) -> Iterator[Markup]:
    """Compare the shadow's decisions of the last day with the server's."""
    changes = (f"{name}={value}" for name, value in view.settings.shadow)
    names = without_list_keys(", ".join(changes))
    every = shadow_counts(view.day.counts).sentences()
    sentences = [each for each in every if not each.startswith("0 of 0 ")]
    span = f"in the {last(view.day.seconds)}"
    yield from section(
        "Shadow: what other settings would have changed",
        paragraph(
            f"With {names}, {span}:" if sentences else f"With {names}: no request compared yet."
        ),
        [Markup("<ul>\n")] if sentences else (),
        (Markup("<li>{}.</li>\n").format(each) for each in sentences),
        [Markup("</ul>\n")] if sentences else (),
    )


# DNS ----------------------------------------------------------------------------------------------


def dns(view: StatusView) -> Iterator[Markup]:
    """Yield the state of the resolver and of each DNS list."""
    rows = (
        [
            each.name,
            _dns_state(each, is_resolver_up=view.dns_sources[0].is_up),
            format_number(each.lookup_count),
            format_number(each.unanswered_count),
        ]
        for each in view.dns_sources
    )
    head = ["source", "state", "lookups", "unanswered"]
    columns = (Column.NAME, Column.NAME, Column.NUMBER, Column.NUMBER)
    caption = "Sources, and their lookups in the last hour; answers from the cache do not count"
    yield from section("DNS", stacked_rows(caption, head, rows, columns))


def _dns_state(source: DnsSourceStatus, *, is_resolver_up: bool) -> Markup:
    if source.is_up and not (is_resolver_up and source.lookup_count):
        return Markup("not asked")
    if source.is_up:
        return Markup("late") if source.is_late else Markup("in order")
    since = f" since {format_time('%H:%M', source.off_since)}" if source.off_since else ""
    words = f"{source.fault}; {source.remedy}" if source.fault else ""
    return Markup('<span class="fault">out of order{}</span> <small>{}</small>').format(
        since, words
    )


# Store --------------------------------------------------------------------------------------------


def store(view: StatusView) -> Iterator[Markup]:
    """Yield the state of the store and the number of its entries."""
    hour = view.hour
    asked = hour.counts[STORE_ASKED, "transact"]
    used, limit = view.store_bytes
    errors = view.day.counts[STORE_ERRORS, "transact"]
    rows: list[tuple[str, str]] = []
    if asked:
        mean = 1000 * hour.counts[STORE_SECONDS, "transact"] / asked
        rows.append(("mean response time, last hour", f"{mean:.1f}\u00a0ms"))
    if limit:
        share = format_percentage(used, limit)
        rows.append(("size", f"{used / 2**20:,.1f}\u00a0MiB, {share} of its limit"))
    if errors:
        rows.append(("errors, last day", format_number(errors)))
    rows += [(name, format_number(count)) for name, count in _entry_counts(view) if count]
    yield from section(
        "Store and whitelists",
        named_rows("State and entries", ["", ""], rows, (Column.NAME, Column.NUMBER))
        if rows
        else paragraph("The store is empty, and the whitelists have no entries."),
    )


def _entry_counts(view: StatusView) -> Iterator[tuple[str, float]]:
    if summary := view.summary:
        good = EntryState.AUTO_WHITELISTED
        yield "clients that have come back", summary.number(EntryKind.CLIENT)
        yield "of them auto-whitelisted", summary.number(EntryKind.CLIENT, good)
        yield "identities that have come back", summary.number(EntryKind.IDENTITY)
        yield "of these auto-whitelisted", summary.number(EntryKind.IDENTITY, good)
        yield "unreadable entries", summary.unreadable
    yield "whitelist entries for clients", view.whitelist_entries["clients"]
    yield "whitelist entries for recipients", view.whitelist_entries["recipients"]
