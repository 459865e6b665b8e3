"""A report as one page with charts, to be looked at from a file or put on a web server.

Plain HTML and SVG with nothing from elsewhere and no script, which its Content-Security-Policy
tells the browser too. MarkupSafe escapes all that is shown.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd import __version__
from greyd.cli.report.command import reasons
from greyd.cli.report.counts import DELAY_BORDERS, Slot
from greyd.cli.report.kinds import DecisionKind
from greyd.config.durations import format_duration, format_percentage
from greyd.escaping import printable
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.cli.report.counts import Lost, Number, Report

_MAX_BARS = 100
_STEPS = (900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 7 * 86400, 28 * 86400)
_WIDTH, _HEIGHT = 960, 240
_LINES = 4
_MAX_LABELS = 5
_MAX_OUTCOMES = 50

_STACK = (
    DecisionKind.WAITED, DecisionKind.KNOWN, DecisionKind.AUTO_WHITELISTED,
    DecisionKind.WHITELISTED, DecisionKind.OTHER, DecisionKind.NEW, DecisionKind.EARLY,
)  # fmt: skip
"""From the bottom: what passed, and upon it what was greylisted."""
_IN_WORDS = {
    DecisionKind.WAITED: "passed after its delay",
    DecisionKind.KNOWN: "known triplet",
    DecisionKind.AUTO_WHITELISTED: "auto-whitelisted",
    DecisionKind.WHITELISTED: "whitelisted",
    DecisionKind.OTHER: "other",
    DecisionKind.NEW: "first contact",
    DecisionKind.EARLY: "retried too early",
}

_STYLE = Markup("""
:root { color-scheme: light dark; --ground: #fbfbf9; --card: #fff; --ink: #1f2328; \
--soft: #636b74; --line: #0002; --waited: #1f6f50; --known: #57a37f; \
--auto_whitelisted: #3f7fb5; --whitelisted: #9dbfdc; --other: #9a9a9a; \
--new: #d9822b; --early: #f2bf77; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --card: #1d2125; --ink: #e4e6e8; \
--soft: #9aa3ad; --line: #fff2; --waited: #2f9d73; --known: #7cc9a3; \
--auto_whitelisted: #5a9fd8; --whitelisted: #33597a; --other: #777; \
--new: #e0913f; --early: #8a6230; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 0 auto; padding: 1rem; \
background: var(--ground); color: var(--ink); }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 0 0 .6rem; font-size: 1.15rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } small { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; \
padding: 1rem; margin: 1rem 0; }
.tiles { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; margin: 1rem 0; }
@media (min-width: 34rem) { .tiles { grid-template-columns: repeat(3, 1fr); } }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; \
padding: .6rem .9rem; }
.tile b { display: block; font-size: 1.25rem; font-weight: 600; line-height: 1.3; }
.tile span { color: var(--soft); font-size: .875rem; }
.columns { display: grid; gap: 1rem 2rem; margin-top: 1.2rem; }
@media (min-width: 50rem) { .columns { grid-template-columns: 1fr 1fr; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); \
vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th { font-weight: 600; font-size: .875rem; color: var(--soft); }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.name { overflow-wrap: anywhere; min-width: 8rem; }
td.bar { width: 40%; min-width: 5rem; vertical-align: middle; }
.bar svg { height: .8rem; }
svg { display: block; width: 100%; }
.chart { display: grid; grid-template-columns: auto minmax(0, 1fr); column-gap: .6rem; }
.chart svg { height: 14rem; }
.scale, .axis { color: var(--soft); font-size: .8rem; line-height: 1; display: flex; \
justify-content: space-between; }
.scale { flex-direction: column; text-align: right; margin: -.4rem 0; }
.axis { grid-column: 2; padding-top: .5rem; white-space: nowrap; }
@media (max-width: 40rem) { .axis span:nth-child(even):not(:last-child), .mails tr:first-child { \
display: none; } .mails td { display: block; border: 0; padding: 0; } \
.mails td:last-child { border-bottom: 1px solid var(--line); padding: 0 0 .4rem; \
margin-bottom: .4rem; } }
.grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.back { fill: transparent; } g:hover .back { fill: var(--line); }
.keys { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .8rem 0 0; font-size: .875rem; }
.keys svg { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem; \
vertical-align: -.05rem; }
.waited { fill: var(--waited); } .known { fill: var(--known); }
.auto_whitelisted { fill: var(--auto_whitelisted); }
.whitelisted { fill: var(--whitelisted); } .other { fill: var(--other); }
.new { fill: var(--new); } .early { fill: var(--early); }
""")

_PAGE = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '{hash}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>Greylisting, {span}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>Greylisting</h1>
<p class="soft">{span}</p>
</header>
<main>
{sections}</main>
<footer>
<p class="soft">Made by greyd {version} on {date}.</p>
</footer>
</body>
</html>
""")


def render(found: Report, now: float) -> bytes:
    """Return the page, as UTF-8."""
    sections = [
        _tiles(found),
        _over_time(found),
        _by_hour(found),
        _decisions(found),
        _delays(found),
        _first_contacts(found),
        _lost(found),
        _groups(found),
        _pools(found),
        _approximations(found),
    ]
    page = _PAGE.format(
        hash="sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode(),
        style=_STYLE,
        span=_span(found),
        sections=Markup("").join(sections),
        version=__version__,
        date=format_timestamp(now),
    )
    return page.encode()


def _span(found: Report) -> str:
    if not found.first:
        return "from a log without dates"
    return f"{format_timestamp(found.first)} to {format_timestamp(found.last)}"


# Sections -----------------------------------------------------------------------------------------


def _section(title: str, *parts: Markup) -> Markup:
    return Markup("<section>\n<h2>{}</h2>\n{}</section>\n").format(title, Markup("").join(parts))


def _text(text: str) -> Markup:
    return Markup("<p>{}</p>\n").format(text)


def _tiles(found: Report) -> Markup:
    delays, contacts = found.delays, found.first_contacts
    tiles = [
        (_number(found.requests), "requests"),
        (format_percentage(found.greylisted(), found.requests), "of them greylisted"),
        (_about(found.clients), "clients"),
        (_number(contacts.count), "first contacts"),
        (format_percentage(contacts.never, contacts.count), "of them never came back"),
        (format_duration(delays.percentiles[50]) if delays else "–", "median wait"),
    ]
    return Markup('<div class="tiles">\n{}</div>\n').format(
        Markup("").join(
            Markup('<div class="tile"><b>{}</b><span>{}</span></div>\n').format(*tile)
            for tile in tiles
        )
    )


def _over_time(found: Report) -> Markup:
    if not found.slots:
        return Markup("")
    step, bars = found.over_time(_MAX_BARS, _STEPS)
    form = "%a %Y-%m-%d" if step >= 86400 else "%a %m-%d %H:%M"
    names = [time.strftime(form, time.localtime(bar.start)) for bar in bars]
    short = "%Y-%m-%d" if step >= 86400 else "%m-%d" if step > 3600 else "%m-%d %H:%M"
    labels = [time.strftime(short, time.localtime(bar.start)) for bar in bars]
    title = f"Decisions over time, in steps of {format_duration(step)}"
    return _section(title, _chart(title, bars, names, _some(labels)), _legend(found))


def _by_hour(found: Report) -> Markup:
    if not found.slots:
        return Markup("")
    bars = [Slot(0, counts) for counts in found.by_hour()]
    names = [f"{hour:02}:00 to {hour + 1:02}:00" for hour in range(24)]
    labels = ["0", "6", "12", "18", "24 h"]
    title = "By hour of the day"
    return _section(title, _chart(title, bars, names, labels), _legend(found))


def _some(labels: Sequence[str]) -> list[str]:
    """Return some of the labels of a chart's bars: first, last, and what lies evenly between."""
    count = min(_MAX_LABELS, len(labels))
    if count < 2:
        return list(labels)
    return [labels[place * (len(labels) - 1) // (count - 1)] for place in range(count)]


def _chart(title: str, bars: Sequence[Slot], names: Sequence[str], labels: Sequence[str]) -> Markup:
    """Draw bars of all kinds, one upon another."""
    most = _ceiling(max(1, *(sum(bar.counts) for bar in bars)))
    step = _WIDTH / len(bars)
    drawn = [
        _bar(bar, name, place * step, step, most)
        for place, (bar, name) in enumerate(zip(bars, names, strict=True))
    ]
    heights = [_HEIGHT * line / _LINES for line in range(_LINES + 1)]
    lines = [
        Markup('<line class="grid" x1="0" x2="{}" y1="{y:g}" y2="{y:g}"/>').format(_WIDTH, y=y)
        for y in heights
    ]
    scale = [_number(most * line / _LINES) for line in range(_LINES, -1, -1)]
    return Markup(
        '<div class="chart">\n<div class="scale">{}</div>\n'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">\n'
        "{}{}</svg>\n"
        '<div class="axis">{}</div>\n</div>\n'
    ).format(
        _spans(scale), _WIDTH, _HEIGHT, title, Markup("").join(lines), Markup("").join(drawn),
        _spans(labels),
    )  # fmt: skip


def _bar(bar: Slot, name: str, left: float, step: float, most: int) -> Markup:
    gap = min(2.0, step * 0.2)
    told = [f"{name}: {_number(sum(bar.counts))} requests"]
    parts = []
    top: float = _HEIGHT
    for kind in _STACK:
        if count := bar.counts[kind]:
            tall = count / most * _HEIGHT
            top -= tall
            told.append(f"{_IN_WORDS[kind]}: {_number(count)}")
            parts.append(_rectangle(kind.key, left + gap / 2, top, step - gap, tall))
    back = _rectangle("back", left, 0, step, _HEIGHT)
    return Markup("<g><title>{}</title>{}{}</g>\n").format(
        "\n".join(told), back, Markup("").join(parts)
    )


def _rectangle(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
        kind, x, y, width, height
    )


def _ceiling(most: int) -> int:
    """Return a round number that is not less, and that the lines divide."""
    power = 1
    while True:
        for round_number in (4, 8, 12, 20):
            if round_number * power >= most:
                return round_number * power
        power *= 10


def _spans(texts: Iterable[str]) -> Markup:
    return Markup("").join(Markup("<span>{}</span>").format(text) for text in texts)


def _legend(found: Report) -> Markup:
    there = {kind for slot in found.slots for kind in DecisionKind if slot.counts[kind]}
    return Markup('<p class="keys">{}</p>\n').format(
        Markup("").join(
            Markup(
                '<span><svg viewBox="0 0 1 1"><rect class="{}" width="1" height="1"/></svg>{}'
                "</span>"
            ).format(kind.key, _IN_WORDS[kind])
            for kind in _STACK
            if kind in there
        )
    )


def _decisions(found: Report) -> Markup:
    rows = [
        [
            Markup("{} <small>{}</small>").format(printable(reason.encode()), action),
            _number(count),
            format_percentage(count, found.requests),
            _line(count, found.outcomes[0][1], "new" if action == "greylist" else "known"),
        ]
        for (action, reason), count in found.outcomes[:_MAX_OUTCOMES]
    ]
    return _section("Decisions", _table(["reason", "requests", "share", ""], rows, "naab"))


def _delays(found: Report) -> Markup:
    delays = found.delays
    if delays is None:
        return Markup("")
    tiles = [
        *((format_duration(value), f"{each} %") for each, value in delays.percentiles.items()),
        (format_duration(delays.longest), "longest"),
    ]
    shown = Markup('<div class="tiles">\n{}</div>\n').format(
        Markup("").join(
            Markup('<div class="tile"><b>{}</b><span>{}</span></div>\n').format(*tile)
            for tile in tiles
        )
    )
    names = [f"up to {format_duration(border)}" for border in DELAY_BORDERS]
    names.append(f"more than {format_duration(DELAY_BORDERS[-1])}")
    most, seen, rows = max(delays.classes), 0, []
    for name, count in zip(names, delays.classes, strict=True):
        seen += count
        if not seen or (seen == delays.count and not count):
            continue
        rows.append(
            [
                name,
                _number(count),
                format_percentage(seen, delays.count),
                _line(count, most, "waited"),
            ]
        )
    return _section(
        "How long mail waited",
        _text(
            f"{_number(delays.count)} mails passed for the first time after"
            f" {format_duration(delays.mean)} on average. So many per cent waited no longer than:"
        ),
        shown,
        _table(["waited", "mails", "so far", ""], rows, "naab"),
    )


def _first_contacts(found: Report) -> Markup:
    contacts = found.first_contacts
    late = format_duration(found.due_seconds)
    rows = [
        [
            name,
            _number(count),
            format_percentage(count, contacts.count),
            _line(count, contacts.count, kind),
        ]
        for name, count, kind in (
            ("passed after their wait", contacts.waited, "waited"),
            ("passed from another network, or by a list", contacts.otherwise, "auto_whitelisted"),
            (f"never came back, within {late} or more", contacts.never, "new"),
            (f"too young to tell: less than {late}", contacts.too_young, "other"),
        )
    ]
    return _section(
        "What became of first contacts",
        _text(
            f"{_number(contacts.count)} triplets of client network, sender and recipient were"
            " greylisted for the first time."
        ),
        _table(["", "triplets", "share", ""], rows, "naab"),
    )


def _lost(found: Report) -> Markup:
    if not found.lost:
        return Markup("")
    rows = [
        [
            Markup("{} → {}<br><small>{}[{}]</small>").format(
                printable(each.sender) or "<>",
                printable(each.recipient),
                printable(each.client_name) or "unknown",
                printable(each.client_address),
            ),
            Markup("{}<br><small>{}</small>").format(", ".join(_why(each)), _seen(each)),
        ]
        for each in found.lost
    ]
    domains = [[printable(name), _number(count)] for name, count in found.lost_domains]
    recipients = [
        [printable(name) or "<>", _number(count)] for name, count in found.lost_recipients
    ]
    return _section(
        "Never came back",
        _text(
            f"{_number(found.first_contacts.never)} triplets,"
            f" {_number(found.lost_verified)} of them from clients with a verified name. That is"
            " the spam kept out, and sometimes a lost mail; first those that may have been wanted."
        ),
        Markup('<div class="mails">{}</div>\n').format(
            _table(["mail", "why it may have been wanted"], rows, "nn")
        ),
        Markup('<div class="columns">{}{}</div>\n').format(
            _table(["domain of the client", "triplets"], domains, "na"),
            _table(["recipient", "triplets"], recipients, "na"),
        ),
    )


def _why(lost: Lost) -> list[str]:
    return [printable(hint.encode()) for hint in reasons(lost)] or ["–"]


def _seen(lost: Lost) -> str:
    tries = f"{lost.tries:,} tries, " if lost.tries > 1 else ""
    return f"{tries}last {format_timestamp(lost.last)}" if lost.last else f"{tries}no date"


def _groups(found: Report) -> Markup:
    waits = [
        [
            printable(each.name),
            _number(each.count),
            format_duration(each.seconds / each.count),
            format_duration(each.longest),
        ]
        for each in found.waits
    ]
    early = [[printable(each.name), _number(each.count)] for each in found.early]
    parts = Markup("")
    if waits:
        parts += _section(
            "Waited longest",
            _text("Candidates for whitelist_clients, by what they waited in all."),
            _table(["client", "mails", "on average", "longest"], waits, "naaa"),
        )
    if early:
        parts += _section("Came back too early", _table(["client", "retries"], early, "na"))
    return parts


def _pools(found: Report) -> Markup:
    if not found.pools:
        return Markup("")
    rows = [
        [
            printable(each.name),
            _number(each.mails),
            _number(each.most_networks),
            _number(each.passed),
            format_duration(each.longest) if each.longest else "–",
        ]
        for each in found.pools
    ]
    head = ["client", "mails", "networks, at most", "passed", "longest wait"]
    return _section(
        "Pools",
        _text(
            "They try again from other networks, and each of these waits anew; --identity knows"
            " them by their domain."
        ),
        _table(head, rows, "naaaa"),
    )


def _approximations(found: Report) -> Markup:
    if not found.approximations:
        return Markup("")
    return _section("Approximations", *(_text(f"{each}.") for each in found.approximations))


# Parts --------------------------------------------------------------------------------------------

_COLUMNS = {"n": "name", "a": "n", "b": "bar"}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], columns: str) -> Markup:
    """Return a table; each column is a name (n), an amount (a) or a bar (b)."""
    kinds = [_COLUMNS[each] for each in columns]
    lines = [_row("td", cells, kinds) for cells in rows]
    return Markup('<div class="scroll"><table>\n{}{}</table></div>\n').format(
        _row("th", head, kinds), Markup("").join(lines)
    )


def _row(tag: str, cells: Sequence[str], kinds: Sequence[str]) -> Markup:
    shown = [
        Markup('<{} class="{}">{}</{}>').format(tag, kind, cell, tag)
        for kind, cell in zip(kinds, cells, strict=True)
    ]
    return Markup("<tr>{}</tr>\n").format(Markup("").join(shown))


def _line(part: float, whole: float, kind: str) -> Markup:
    """Draw a bar in a table's cell."""
    width = 100 * part / whole if whole else 0
    return Markup('<svg viewBox="0 0 100 1" preserveAspectRatio="none">{}</svg>').format(
        _rectangle(kind, 0, 0, width, 1)
    )


def _number(number: float) -> str:
    return f"{round(number):,}"


def _about(number: Number) -> str:
    return _number(number.count) if number.exact else f"≈ {_number(round(number.count, -3))}"
