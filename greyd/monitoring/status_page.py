"""The page at ``/`` of the metrics port, for who has no Grafana: what happens, and who waits.

Plain HTML and SVG, made here, with nothing from elsewhere. Whoever may read the port may read the
page, so it names nobody unless ``--status-details`` says so. MarkupSafe escapes all that is shown.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd import __version__
from greyd.config.durations import format_duration, format_percentage
from greyd.escaping import percent_encode
from greyd.monitoring.counter_history import (
    AUTO_WHITELISTED,
    PASSES,
    REQUESTS,
    STORE_ASKED,
    STORE_ERRORS,
    STORE_SECONDS,
    WAITED,
    CountedPeriod,
)
from greyd.monitoring.store_summary import EARLY_BORDERS, LATE_BORDERS, MAX_WAITING, StoreSummary
from greyd.rules.entries import GIVEN_UP_SECONDS
from greyd.rules.reasons import GREYLIST, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greyd.config.settings import Settings

BAR_SECONDS = 15 * 60
BARS = 96
"""A day of them."""

MAX_NETWORKS = 20
"""Networks that are named whose mail never came back."""

_SERIES = {reason: (REQUESTS, *reason.outcome) for reason in Reason}
_ALL = list(_SERIES.values())
_GREYLISTED = [series for reason, series in _SERIES.items() if reason.action == GREYLIST]

_STYLE = Markup("""\
:root { color-scheme: light dark; --line: #8884; --soft: #777; --pass: #3a7d5c; --grey: #c98a1b; \
--bad: #b3261e; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { margin: 0; } h2 { margin: 2rem 0 .5rem; font-size: 1.2rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.state { border-left: .4rem solid var(--pass); padding: .3rem .8rem; margin: 1rem 0; }
.state.warn { border-color: var(--grey); } .state.bad { border-color: var(--bad); }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); \
vertical-align: top; }
th { font-weight: 600; } .n { text-align: right; font-variant-numeric: tabular-nums; \
white-space: nowrap; }
td.name { overflow-wrap: anywhere; min-width: 7rem; }
svg { display: block; width: 100%; height: 8rem; border-bottom: 1px solid var(--line); }
.axis { display: flex; justify-content: space-between; }
.pass { fill: var(--pass); } .grey { fill: var(--grey); }
.key::before { content: "■ "; } .key.pass { color: var(--pass); } .key.grey { color: var(--grey); }
""")

_BAR = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')

_Parts = Iterable[Markup]

_BEGINNING = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{refresh}">
<title>greyd on {host}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>greyd</h1>
<p class="soft">version {version} on {host}, up {up}; a first contact waits {delay}; mode {mode}</p>
</header>
<main>
<p class="state {level}">{state}</p>
""")

_END = Markup("""\
</main>
<footer>
<p class="soft">{date}. <a href="/metrics">/metrics</a> for Prometheus, \
<a href="/stats.json">/stats.json</a>, \
<a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>.</p>
</footer>
</body>
</html>
""")


@dataclass(frozen=True, kw_only=True)
class StatusView:
    """What is shown."""

    settings: Settings
    """With the mode in force."""
    store_name: str
    store_away: bool
    up_seconds: float
    hour: CountedPeriod
    day: CountedPeriod
    bars: Sequence[CountedPeriod]
    """The day, in steps of ``BAR_SECONDS``."""
    whitelist_entries: Mapping[str, float]
    summary: StoreSummary | None
    summary_age_seconds: float
    """How old it is."""
    clock: float


def render(view: StatusView) -> bytes:
    """Return the page, as UTF-8."""
    return b"".join(parts(view))


def parts(view: StatusView) -> Iterator[bytes]:
    """Return the page in small parts, each of which is made when it is asked for."""
    for part in _parts(view):
        yield part.encode()


def _parts(view: StatusView) -> Iterator[Markup]:
    level, state = _state(view)
    yield _BEGINNING.format(
        style=_STYLE,
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
    yield from _store(view)
    yield _END.format(date=time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(view.clock)))


def _state(view: StatusView) -> tuple[str, str]:
    settings = view.settings
    if view.store_away:
        meanwhile = "passes ungreylisted" if settings.passes_without_store else "is deferred"
        return "bad", f"The store is away: mail {meanwhile} until it is back."
    if settings.mode == "learn":
        return "warn", "Learning: all mail passes, and is remembered."
    if settings.mode == "off":
        return "warn", "Switched off: all mail passes, and nothing is remembered."
    return "good", "Greylisting, and the store answers."


# Sections ---------------------------------------------------------------------------------------


def _section(title: str, *contents: _Parts) -> Iterator[Markup]:
    yield Markup("<section>\n<h2>{}</h2>\n").format(title)
    for content in contents:
        yield from content
    yield Markup("</section>\n")


def _decisions(view: StatusView) -> _Parts:
    hour, day = view.hour, view.day
    total = day.sum(_ALL)
    rows = [
        [
            Markup('{} <span class="soft">{}</span>').format(reason.in_words, reason.text),
            _number(hour.counts[series]),
            _number(day.counts[series]),
            format_percentage(day.counts[series], total),
        ]
        for reason, series in _SERIES.items()
        if reason.is_usual or day.counts[series]
    ]
    rows.append(["all", _number(hour.sum(_ALL)), _number(total), format_percentage(total, total)])
    head = [
        "decision",
        f"last {format_duration(hour.seconds)}",
        f"last {format_duration(day.seconds)}",
        "share",
    ]
    return _section("Decided", _chart(view.bars), _table(head, rows))


def _chart(bars: Sequence[CountedPeriod]) -> Iterator[Markup]:
    """Draw the day: what passed, and upon it what was greylisted."""
    most = max(1, *(bar.sum(_ALL) for bar in bars))
    width, height, step = 960, 120, 960 / len(bars)
    yield Markup(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="Decisions in'
        ' the last day, a bar for 15 minutes">'
    ).format(width, height)
    for place, bar in enumerate(bars):
        greylisted = bar.sum(_GREYLISTED)
        passed = bar.sum(_ALL) - greylisted
        top: float = height
        for kind, count in (("pass", passed), ("grey", greylisted)):
            tall = count / most * height
            top -= tall
            if count:
                yield _BAR.format(kind, place * step, top, step - 1, tall)
    yield Markup(
        "</svg>\n"
        '<p class="axis soft"><span>a day ago</span><span>now</span></p>\n'
        '<p><span class="key pass">passed</span> <span class="key grey">greylisted</span>;'
        " the highest bar is {} in 15 minutes</p>\n"
    ).format(_number(most))


def _returned(view: StatusView) -> _Parts:
    day = view.day
    first, passed = day.counts[_SERIES[Reason.NEW]], day.counts[PASSES,]
    wait = format_duration(day.counts[WAITED,] / passed) if passed else "–"
    rows = [
        ["first contacts", _number(first)],
        ["passed after they had waited", _number(passed)],
        ["how long they waited, on average", wait],
        ["clients that became auto-whitelisted", _number(day.counts[AUTO_WHITELISTED,])],
    ]
    lost = _text(
        f"In the last {format_duration(day.seconds)} {format_percentage(passed, first)} of"
        " the first contacts have come back. Those that never do are nearly always spam."
        if first
        else "No first contacts yet."
    )
    return _section("Came back", lost, _table(["", f"last {format_duration(day.seconds)}"], rows))


def _waiting(view: StatusView) -> _Parts:
    summary = view.summary
    if summary is None:
        return _section("Waits", _text("The store has not been looked through yet."))
    early = _classes(summary.early, EARLY_BORDERS, "passes in {} or less", "passes later")
    late = _classes(summary.late, LATE_BORDERS, "may pass, for {} or less", "may pass, for longer")
    return _section(
        "Waits",
        _table([f"{_number(sum(summary.early))} wait: a retry", "triplets"], early),
        _table([f"{_number(sum(summary.late))} never returned, so far", "triplets"], late),
        _seen(view, summary),
    )


def _classes(
    counts: Sequence[int], borders: Sequence[int], text: str, beyond: str
) -> list[list[str]]:
    names = [*(text.format(format_duration(border)) for border in borders), beyond]
    return [[name, _number(count)] for name, count in zip(names, counts, strict=True)]


def _seen(view: StatusView, summary: StoreSummary) -> _Parts:
    whole = "all" if summary.complete else "only a part of the"
    return _text(
        f"Seen {format_duration(view.summary_age_seconds)} ago in {whole} entries of the store"
        f" ({_number(summary.looked_at)})."
    )


def _details(view: StatusView) -> Iterator[Markup]:
    summary = view.summary
    if summary is None:
        return
    if view.settings.privacy:
        yield from _section("Who", _text("With --privacy the store knows no names."))
        return
    waiting = (
        [
            _bytes(each.names.network),
            _bytes(each.names.sender),
            _bytes(each.names.recipient),
            _clock(each.first_seen),
            _clock(each.last_seen),
            _clock(each.passes_at),
        ]
        for each in sorted(summary.waiting, reverse=True)
    )
    gone = (
        [_bytes(network), _number(count)]
        for network, count in summary.given_up.most_common(MAX_NETWORKS)
    )
    head = ["client network", "sender", "recipient", "first seen", "last seen", "passes from"]
    yield from _section(f"Who waits (the newest {MAX_WAITING})", _table(head, waiting, names=3))
    yield from _section(
        f"Who never came back (for {format_duration(GIVEN_UP_SECONDS)} or longer)",
        _table(["client network", "triplets"], gone),
    )


def _store(view: StatusView) -> _Parts:
    hour, day = view.hour, view.day
    asked = hour.counts[STORE_ASKED, "transact"]
    took = f"{1000 * hour.counts[STORE_SECONDS, 'transact'] / asked:.1f} ms" if asked else "–"
    errors = (STORE_ERRORS, "transact")
    rows = [
        ["store", view.store_name],
        ["it takes, on average of the last hour", took],
        ["it failed, in the last hour", _number(hour.counts[errors])],
        ["it failed, in the last day", _number(day.counts[errors])],
        ["whitelisted clients", _number(view.whitelist_entries["clients"])],
        ["whitelisted recipients", _number(view.whitelist_entries["recipients"])],
    ]
    if summary := view.summary:
        rows += [
            ["triplets that have passed", _number(summary.passed)],
            ["clients that have come back", _number(summary.clients)],
            ["of them auto-whitelisted", _number(summary.auto_whitelisted)],
        ]
        if summary.unreadable:
            rows.append(["entries that no rule can read", _number(summary.unreadable)])
    return _section("Store and whitelists", _table(["", ""], rows))


# Parts ------------------------------------------------------------------------------------------


def _text(text: str) -> _Parts:
    return [Markup("<p>{}</p>\n").format(text)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], names: int = 1) -> Iterator[Markup]:
    """Return a table; its first columns are names, the others numbers."""
    yield Markup('<div class="scroll"><table>\n')
    if any(head):
        yield _row("th", head, names)
    for cells in rows:
        yield _row("td", cells, names)
    yield Markup("</table></div>\n")


def _row(tag: str, cells: Sequence[str], names: int) -> Markup:
    kinds = ["name" if place < names else "n" for place in range(len(cells))]
    shown = [
        Markup('<{} class="{}">{}</{}>').format(tag, kind, cell, tag)
        for kind, cell in zip(kinds, cells, strict=True)
    ]
    return Markup("<tr>{}</tr>\n").format(Markup("").join(shown))


def _number(number: float) -> str:
    return f"{round(number):,}"


def _bytes(text: bytes) -> str:
    return percent_encode(text).decode() or "<>"


def _clock(when: int) -> str:
    try:
        return time.strftime("%m-%d %H:%M", time.localtime(when))
    except (OverflowError, ValueError, OSError):
        # A record may hold a time that no calendar has.
        return f"@{when:.0f}"
