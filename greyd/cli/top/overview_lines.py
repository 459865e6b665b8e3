"""The lines above the list of ``greyd top``: servers, store, and the decisions of the last hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from greyd.cli.tables.shorten import shorten_middle, wrap_words
from greyd.config.durations import format_breakable_duration
from greyd.escaping import printable_text
from greyd.monitoring.stats import START
from greyd.rules.entries import TRIPLET_STATES, EntryKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.stats.overview import Overview
    from greyd.cli.top.live_data import LiveData
    from greyd.monitoring.stats_client import FetchedStats

MAX_SERVER_LINES = 4
_MAX_WRAPPED = 2
_BLOCKS = "▁▂▃▄▅▆▇█"
_NONE = "·"
_CELL_COUNTS = (60, 30, 20, 15, 12, 10, 6)
"""The possible numbers of columns of the last hour: divisors of its minutes."""

_LABEL_WIDTH = 11
_COUNT_WIDTH = 7
_JUST_STARTED_SECONDS = 120


def overview_lines(data: LiveData, width: int, bar_count: int, *, charts: bool) -> list[Text]:
    """Return the lines of servers and store, and with ``charts`` of the last hour."""
    lines = [*_server_lines(data, width), *_store_lines(data, width)]
    if charts:
        lines += _chart_lines(data.view, width)
        lines += _bar_lines(data.view, width, bar_count)
    return lines


def _wrapped(text: str, width: int, style: str = "") -> Iterator[Text]:
    """Yield the lines of a text, at most two; what does not fit ends in an ellipsis."""
    lines = wrap_words(text, width)
    if len(lines) > _MAX_WRAPPED:
        rest = " ".join(lines[_MAX_WRAPPED - 1 :])
        lines[_MAX_WRAPPED - 1 :] = [shorten_middle(rest, width)]
    for line in lines:
        yield Text(line, style)


# Servers and store --------------------------------------------------------------------------------


def _server_lines(data: LiveData, width: int) -> Iterator[Text]:
    heard = data.view.heard
    if not data.addresses:
        yield from _wrapped(
            "--metrics=0: no server to ask; showing only the store", width, "yellow"
        )
        return
    if not heard:
        yield Text("asking the servers …", "dim")
        return
    # A server with a fault comes first, and is never among those that are only counted.
    ordered = sorted(heard, key=lambda each: each.stats is not None and each.stats.ready)
    shown = ordered if len(ordered) <= MAX_SERVER_LINES else ordered[: MAX_SERVER_LINES - 1]
    for each in shown:
        text, style = _describe_server(each, data)
        yield from _wrapped(text, width, style)
    if rest := ordered[len(shown) :]:
        failed = sum(each.stats is None or not each.stats.ready for each in rest)
        state = f"{failed} of them with a fault" if failed else "all ready"
        yield Text(f"… and {len(rest)} more servers, {state}", "red" if failed else "dim")


def _describe_server(heard: FetchedStats, data: LiveData) -> tuple[str, str]:
    """Return a server's state and the style of its line."""
    stats = heard.stats
    if stats is None:
        pause = format_breakable_duration(data.pause)
        return f"{heard.address.url}: {heard.fault} (asking again every {pause})", "bold red"
    host = printable_text(stats.host) or heard.address.url
    mode = printable_text(stats.mode)
    state = "ready" if stats.ready else "NOT READY: its store does not answer"
    parts = [state, f"mode {mode}"]
    # In whole minutes: seconds would change with each refresh.
    up = format_breakable_duration(stats.up_seconds // 60 * 60)
    parts.append("just started" if stats.up_seconds < _JUST_STARTED_SECONDS else f"up {up}")
    if (now := data.view.now.get(heard.address.url)) is not None and now.seconds:
        parts.append(f"{now.requests / now.seconds:.1f} requests/s")
    counts = stats.periods[START]
    failed = counts.outcomes.get(("pass", "internal error"), 0)
    for name, number in (("store errors", counts.store_errors), ("internal errors", failed)):
        if number:
            parts.append(f"{name}: {number:,}")
    off = [printable_text(zone) for zone, is_up in stats.dns_sources.items() if not is_up]
    if off:
        parts.append(f"DNS out of order: {', '.join(off)}")
    style = "bold red" if not stats.ready else "yellow" if mode != "on" or off else ""
    return f"{host}: {', '.join(parts)}", style


def _store_lines(data: LiveData, width: int) -> Iterator[Text]:
    store = data.view.store
    name = printable_text(store.name)
    if store.fault:
        yield from _wrapped(f"store: {printable_text(store.fault)}", width, "bold red")
        if store.tally is None:
            return
    if (tally := store.tally) is None:
        yield Text(shorten_middle(f"scanning {name} …", width), "dim")
        return
    counts = ", ".join(
        f"{tally.number(EntryKind.TRIPLET, state):,} {state.value}" for state in TRIPLET_STATES
    )
    part = "" if tally.complete else " so far"
    yield from _wrapped(f"{counts}{part}; {name}", width)


# The last hour ------------------------------------------------------------------------------------


def _chart_lines(view: Overview, width: int) -> Iterator[Text]:
    minutes = [each.minutes for each in view.figures if each.minutes]
    if not minutes:
        return
    for label, style, series in (
        ("greylisted", "yellow", [each.greylisted for each in minutes]),
        ("passed", "green", [each.passed for each in minutes]),
    ):
        counts = [sum(values) for values in zip(*series, strict=True)]
        line = Text(f"{label:<{_LABEL_WIDTH}}{sum(counts):>{_COUNT_WIDTH},} ")
        room = width - len(line.plain)
        cells, minutes_per_cell = _cells(counts, room)
        line.append(sparkline(cells), style)
        what = "a minute" if minutes_per_cell == 1 else f"in {minutes_per_cell} min"
        top = f" ≤{max(cells):,} {what}"
        if any(cells) and len(cells) + len(top) <= room:
            line.append(top, "dim")
        yield line


def _cells(counts: Sequence[int], room: int) -> tuple[list[int], int]:
    """Add up the minutes so that they fit, and return the number of minutes in each sum."""
    note = len(" ≤1,234 a minute")
    fitting = [each for each in _CELL_COUNTS if each <= max(room - note, _CELL_COUNTS[-1])]
    step = len(counts) // fitting[0]
    return [sum(counts[start : start + step]) for start in range(0, len(counts), step)], step


def sparkline(values: Sequence[int]) -> str:
    """Return a column of an eighth to eight eighths for each value, and a dot for 0."""
    highest = max(values, default=0)
    return "".join(
        _BLOCKS[min(value * len(_BLOCKS) // highest, len(_BLOCKS) - 1)] if value else _NONE
        for value in values
    )


def _bar_lines(view: Overview, width: int, count: int) -> Iterator[Text]:
    """Yield a bar for each of the most frequent outcomes of the last hour."""
    hour = view.periods().get("hour")
    outcomes = {} if hour is None else hour.counts.outcomes
    happened = sorted(
        ((number, *outcome) for outcome, number in outcomes.items() if number), reverse=True
    )
    if not happened or not count:
        return
    shown = happened if len(happened) <= count else happened[: count - 1]
    for number, action, reason in shown:
        label = shorten_middle(printable_text(f"{action} {reason}"), 22)
        line = Text(f"{label:<22}{number:>{_COUNT_WIDTH},} ")
        length = (width - len(line.plain)) * number // happened[0][0]
        line.append("█" * max(length, 1), "yellow" if action == "greylist" else "green")
        yield line
    if rest := happened[len(shown) :]:
        total = sum(number for number, _, _ in rest)
        yield Text(f"… and {len(rest)} more outcomes: {total:,}"[:width], "dim")
