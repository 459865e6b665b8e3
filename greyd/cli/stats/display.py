"""Renders the statistics and the state of the store as text and tables."""

from __future__ import annotations

import statistics
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

from greyd.cli.entries.table import client_order
from greyd.cli.tables.column import Kind, Meaning, TableColumn
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable_text
from greyd.monitoring.stats import PERIODS, START
from greyd.plurals import counted
from greyd.rules.entries import TRIPLET_STATES, EntryKind, EntryState
from greyd.rules.networks import with_prefix_length
from greyd.rules.reasons import GREYLIST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from greyd.cli.context import CommandContext
    from greyd.cli.stats.entry_counts import NamedEntryCounts
    from greyd.cli.stats.overview import Overview
    from greyd.cli.tables.sorting import SharedOrder
    from greyd.config.settings import Settings
    from greyd.monitoring.combined_stats import CombinedCounts
    from greyd.monitoring.stats import Counts
    from greyd.monitoring.stats_client import FetchedStats


Outcome = tuple[str, str]
"""An action and a reason."""

SORT_COLUMNS = ("requests", "1-min", "1-h", "1-d", "waiting", "client", "recipient")
"""The columns for ``--sort``: of the decisions, and of the names of waiting mail."""

_PERIOD_HEADS = {"now": "now", "minute": "1 min", "hour": "1 h", "day": "1 d"}


def print_servers(
    context: CommandContext, view: Overview, order: SharedOrder | None = None
) -> None:
    """Print the servers, their decisions and a summary of each period."""
    context.print(*map(_server_line, view.heard))
    if view.figures:
        context.print("")
        _print_decisions(context, view.periods(), order)
        context.print("", *_period_lines(view.periods()))
    if view.heard:
        context.print("")


def print_store(
    context: CommandContext, view: Overview, names: int, order: SharedOrder | None = None
) -> None:
    """Print the store, with at most ``names`` clients and recipients."""
    context.print(*_store_lines(view))
    if view.store.tally and names:
        _print_names(context, view, names, order)


def _server_line(heard: FetchedStats) -> str:
    figures = heard.stats
    if figures is None:
        return f"{heard.address.url}: {heard.fault}"
    state = "ready" if figures.ready else "NOT READY: its store does not answer"
    workers = f", {figures.workers} workers" if figures.workers > 1 else ""
    within = figures.answered_within_seconds["p99"]
    speed = f"; 99 % of answers within {_milliseconds(within)}" if within is not None else ""
    off = [printable_text(zone) for zone, is_up in figures.dns_sources.items() if not is_up]
    if off:
        state += f", DNS out of order: {', '.join(off)}"
    errors = _error_counts(figures.periods[START])
    host, version, mode = (printable_text(each) for each in (
        figures.host, figures.version, figures.mode
    ))  # fmt: skip
    return (
        f"{host or heard.address.url}: {state}{errors}; mode {mode}, up"
        f" {format_breakable_duration(figures.up_seconds)}{speed}; greyd {version}{workers}"
    )


def _error_counts(counts: Counts) -> str:
    failed = counts.outcomes.get(("pass", "internal error"), 0)
    errors = {
        "store errors": counts.store_errors,
        "protocol errors": counts.protocol_errors,
        "internal errors": failed,
    }
    told = [f"{name}: {number:,}" for name, number in errors.items() if number]
    return ", " + ", ".join(told) if told else ""


def _sorted_outcomes(periods: Mapping[str, CombinedCounts]) -> list[tuple[str, str]]:
    """Return the outcomes of the longest period, most frequent first."""
    longest = periods["day"].counts.outcomes if periods else {}
    happened = [outcome for outcome, number in longest.items() if number]
    return sorted(happened, key=lambda outcome: (-longest[outcome], outcome))


def _print_decisions(
    context: CommandContext, periods: Mapping[str, CombinedCounts], order: SharedOrder | None
) -> None:
    """Print a table of outcomes with their counts and rates; the last row is their sum."""
    shown = {name: periods[name] for name in _PERIOD_HEADS if name in periods}
    columns = [TableColumn("requests", Kind.NAME, _outcome_name, meaning=_outcome_meaning)]
    for name, period in shown.items():
        head = _PERIOD_HEADS[name]
        if name != "now":
            columns.append(TableColumn(head, Kind.NUMBER, partial(_count_of, period)))
        rate = partial(_rate_of, period)
        rate_head = "now/s" if name == "now" else "/s"
        columns.append(TableColumn(rate_head, Kind.NUMBER, rate, label=f"{head}/s", priority=3))
    outcomes: list[Outcome | None] = [*_sorted_outcomes(periods)]
    rows = [*(order.sorted(columns, outcomes) if order else outcomes), None]
    context.print_rows(columns, rows, is_total=lambda row: row is None)


def _outcome_name(outcome: Outcome | None) -> str:
    if outcome is None:
        return "all"
    action, reason = outcome
    return f"{printable_text(action)} {printable_text(reason)}"


def _outcome_meaning(outcome: Outcome | None) -> Meaning:
    if outcome is None:
        return Meaning.PLAIN
    return Meaning.WAITING if outcome[0] == GREYLIST else Meaning.GOOD


def _count_of(period: CombinedCounts, outcome: Outcome | None) -> int:
    if outcome is None:
        return period.counts.requests
    return period.counts.outcomes.get(outcome, 0)


def _rate_of(period: CombinedCounts, outcome: Outcome | None) -> str:
    return _rate(period.rate if outcome is None else period.rates.get(outcome, 0))


def _period_lines(periods: Mapping[str, CombinedCounts]) -> Iterator[str]:
    told = 0.0
    for name in PERIODS:
        counts = periods[name].counts
        # Soon after a server's start, all periods have the same counts: show them once.
        if not counts.requests or counts.seconds == told:
            continue
        told = counts.seconds
        waited = (
            format_breakable_duration(counts.waited_seconds / counts.first_passes)
            if counts.first_passes
            else ""
        )
        store = counts.store_seconds / counts.store_requests if counts.store_requests else None
        facts = [
            f"{100 * counts.greylisted / counts.requests:.1f} % greylisted",
            f"{counts.first_passes:,} passed for the first time"
            + (f" after {waited} on average" if waited else ""),
            f"{counted(counts.auto_whitelisted_clients, 'client')} auto-whitelisted",
        ]
        if store is not None:
            facts.append(f"the store took {_milliseconds(store)} on average")
        # The period may be longer than the server has run.
        yield f"last {format_breakable_duration(counts.seconds)}: {', '.join(facts)}"
        if shadow := "; ".join(counts.sentences()):
            yield f"  with the shadow's settings: {shadow}"


def _store_lines(view: Overview) -> Iterator[str]:
    store = view.store
    size = store.size.size_bytes if store.size else None
    head = f"store {printable_text(store.name)}"
    head += f", {_bytes(size)}" if size else ""
    if store.seconds:
        median, slowest = statistics.median(store.seconds), max(store.seconds)
        head += f"; answers from here in {_milliseconds(median)}, at most {_milliseconds(slowest)}"
    yield head
    if store.fault:
        yield f"  {printable_text(store.fault)}"
    if store.tally:
        yield from (f"  {line}" for line in _entry_count_lines(store.tally, view.settings))


def _entry_count_lines(tally: NamedEntryCounts, settings: Settings) -> Iterator[str]:
    # With --privacy and --identity, the store does not show which of a mail's triplets is which.
    both = " (of networks and identities)" if settings.privacy and settings.identity else ""
    yield f"triplets: {_state_counts(tally, EntryKind.TRIPLET)}{both}"
    if tally.number(EntryKind.IDENTITY_TRIPLET):
        counts = _state_counts(tally, EntryKind.IDENTITY_TRIPLET)
        yield f"triplets of identities, for the same mail: {counts}"
    good = tally.number(EntryKind.CLIENT, EntryState.AUTO_WHITELISTED)
    line = f"clients: {tally.number(EntryKind.CLIENT):,}, of them {good:,} auto-whitelisted"
    if identities := tally.number(EntryKind.IDENTITY):
        good = tally.number(EntryKind.IDENTITY, EntryState.AUTO_WHITELISTED)
        line += f"; identities: {identities:,}, of them {good:,}"
    if known := tally.number(EntryKind.CORRESPONDENCE):
        line += f"; correspondences: {known:,}"
    yield line
    more = [
        f"{number:,} {what}"
        for number, what in (
            (tally.passed_over, "expired or internal"),
            (tally.unreadable, "unreadable"),
            (tally.without_end, "without a time to live"),
        )
        if number
    ]
    others = f" ({', '.join(more)})" if more else ""
    part = "" if tally.complete else " so far; there are more"
    yield f"entries in all: {tally.looked_at:,}{others}{part}"


def _state_counts(tally: NamedEntryCounts, kind: EntryKind) -> str:
    return ", ".join(f"{tally.number(kind, state):,} {state.value}" for state in TRIPLET_STATES)


def _print_names(
    context: CommandContext, view: Overview, most: int, order: SharedOrder | None
) -> None:
    """Print tables of the clients and recipients with the most waiting mail."""
    tally = view.store.tally
    if tally is None:
        return
    if tally.hidden or view.settings.privacy:
        context.print("", "no names of waiting mail: with --privacy the store contains only hashes")
        return
    waiting = TableColumn[tuple[bytes, int]]("waiting", Kind.NUMBER, itemgetter(1))
    client = TableColumn[tuple[bytes, int]](
        "client", Kind.NETWORK, lambda row: with_prefix_length(row[0], view.settings), label="",
        order=lambda row: client_order(row[0]),
    )  # fmt: skip
    recipient = TableColumn[tuple[bytes, int]]("recipient", Kind.ADDRESS, itemgetter(0), label="")
    for column, counted_names in ((client, tally.clients), (recipient, tally.recipients)):
        if rows := counted_names.largest(most):
            context.print("")
            columns = [waiting, column]
            context.print_rows(columns, order.sorted(columns, rows) if order else rows)
    if error := max(tally.clients.max_error, tally.recipients.max_error):
        context.print(f"(approximate: each count may be too small by {error:,})")


def _rate(per_second: float) -> str:
    if per_second >= 100:
        return f"{per_second:,.0f}"
    return f"{per_second:.1f}" if per_second >= 1 else f"{per_second:.3f}" if per_second else "0"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _bytes(number: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} bytes"
