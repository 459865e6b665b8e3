"""Renders the statistics and the state of the store as text and tables."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable
from greyd.monitoring.stats import PERIODS, START
from greyd.rules.entries import TRIPLET_STATES, EntryKind, EntryState
from greyd.rules.networks import with_prefix_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rich.console import RenderableType

    from greyd.cli.sketches import FrequentNames
    from greyd.cli.stats.entry_counts import NamedEntryCounts
    from greyd.cli.stats.overview import Overview
    from greyd.config.settings import Settings
    from greyd.monitoring.combined_stats import CombinedCounts
    from greyd.monitoring.stats import Counts
    from greyd.monitoring.stats_client import FetchedStats


_PERIOD_HEADS = {"now": "now", "minute": "1 min", "hour": "1 h", "day": "1 d"}


def render_servers(view: Overview) -> Iterator[RenderableType]:
    """Render the servers, their decisions and a summary of each period."""
    yield from map(_server_line, view.heard)
    if view.figures:
        yield ""
        yield _decision_table(view.periods())
        yield ""
        yield from _period_lines(view.periods())
    if view.heard:
        yield ""


def render_store(view: Overview, names: int) -> Iterator[RenderableType]:
    """Render the store, with at most ``names`` clients and recipients."""
    yield from _store_lines(view)
    if view.store.tally and names:
        yield ""
        yield from _name_tables(view, names)


def _server_line(heard: FetchedStats) -> str:
    figures = heard.stats
    if figures is None:
        return f"{heard.address.url}: {heard.fault}"
    state = "ready" if figures.ready else "NOT READY: its store does not answer"
    workers = f", {figures.workers} workers" if figures.workers > 1 else ""
    within = figures.answered_within_seconds["p99"]
    speed = f"; 99 % of answers within {_milliseconds(within)}" if within is not None else ""
    off = [printable(zone.encode()) for zone, is_up in figures.dns_sources.items() if not is_up]
    if off:
        state += f", DNS out of order: {', '.join(off)}"
    errors = _error_counts(figures.periods[START])
    host, version, mode = (printable(each.encode()) for each in (
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


def _decision_table(periods: Mapping[str, CombinedCounts]) -> RenderableType:
    """Return a table of outcomes with their counts and rates."""
    from rich.table import Table

    shown = {name: periods[name] for name in _PERIOD_HEADS if name in periods}
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("requests", overflow="fold")
    for name in shown:
        if name != "now":
            table.add_column(_PERIOD_HEADS[name], justify="right")
        table.add_column("now/s" if name == "now" else "/s", justify="right")
    for action, reason in _sorted_outcomes(periods):
        row = [f"{printable(action.encode())} {printable(reason.encode())}"]
        for name, period in shown.items():
            if name != "now":
                row.append(f"{period.counts.outcomes.get((action, reason), 0):,}")
            row.append(_rate(period.rates.get((action, reason), 0)))
        table.add_row(*row)
    row = ["all"]
    for name, period in shown.items():
        row += [] if name == "now" else [f"{period.counts.requests:,}"]
        row.append(_rate(period.rate))
    table.add_row(*row, style="bold")
    return table


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
            f"{counts.greylisted / counts.requests:.1%} greylisted",
            f"{counts.first_passes:,} passed for the first time"
            + (f" after {waited} on average" if waited else ""),
            f"{counts.auto_whitelisted_clients:,} clients auto-whitelisted",
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
    head = f"store {printable(store.name.encode())}"
    head += f", {_bytes(size)}" if size else ""
    if store.seconds:
        median, slowest = statistics.median(store.seconds), max(store.seconds)
        head += f"; answers from here in {_milliseconds(median)}, at most {_milliseconds(slowest)}"
    yield head
    if store.fault:
        yield f"  {printable(store.fault.encode())}"
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


def _name_tables(view: Overview, most: int) -> Iterator[RenderableType]:
    """Return tables of the clients and recipients with the most waiting mail."""
    from rich.table import Table

    tally = view.store.tally
    if tally is None:
        return
    if tally.hidden or view.settings.privacy:
        yield "no names of waiting mail: with --privacy the store contains only hashes"
        return

    def table(title: str, counted: FrequentNames, shown_name: Callable[[bytes], bytes]) -> Table:
        shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        shown.add_column("waiting", justify="right")
        shown.add_column(title, overflow="ellipsis", no_wrap=True, max_width=60)
        for name, number in counted.largest(most):
            shown.add_row(f"{number:,}", printable(shown_name(name)))
        return shown

    clients = table("client", tally.clients, lambda name: with_prefix_length(name, view.settings))
    recipients = table("recipient", tally.recipients, lambda name: name)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row(clients, recipients)
    yield grid
    if error := max(tally.clients.max_error, tally.recipients.max_error):
        yield f"(approximate: each count may be too small by {error:,})"


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
