"""Draws the charts of a report's page in SVG: decisions over time as stacked bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd.cli.report.kinds import DecisionKind
from greyd.monitoring.web.html import format_number, join, rectangle
from greyd.plurals import noun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from greyd.cli.report.times.time_slots import TimeSlot

_WIDTH, _HEIGHT = 960, 240
_LINES = 4
_MAX_LABELS = 5

_STACK = {
    DecisionKind.WAITED: "passed after its delay",
    DecisionKind.KNOWN: "known triplet",
    DecisionKind.AUTO_WHITELISTED: "auto-whitelisted",
    DecisionKind.WHITELISTED: "exempt",
    DecisionKind.OTHER: "other",
    DecisionKind.NEW: "first contact",
    DecisionKind.EARLY: "retried too early",
}
"""The names of the kinds in a bar, from the bottom: first passes, then greylisting."""


def chart(
    title: str, bars: Sequence[TimeSlot], names: Sequence[str], labels: Sequence[str]
) -> Iterator[Markup]:
    """Yield the HTML of a bar chart.

    Args:
        title: the description for screen readers.
        bars: the counts to draw, one bar for each slot.
        names: a name for each bar, which its tooltip shows with the counts.
        labels: the labels of the horizontal axis, at equal distances.
    """
    highest = _round_up(max(1, *(sum(bar.counts) for bar in bars)))
    step = _WIDTH / len(bars)
    drawn = [
        _bar(bar, name, place * step, step, highest)
        for place, (bar, name) in enumerate(zip(bars, names, strict=True))
    ]
    heights = [_HEIGHT * line / _LINES for line in range(_LINES + 1)]
    lines = [
        Markup('<line class="grid" x1="0" x2="{}" y1="{y:g}" y2="{y:g}"/>').format(_WIDTH, y=y)
        for y in heights
    ]
    scale = [format_number(highest * line / _LINES) for line in range(_LINES, -1, -1)]
    yield Markup(
        '<div class="chart">\n<div class="scale">{}</div>\n'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">\n'
        "{}{}</svg>\n"
        '<div class="axis">{}</div>\n</div>\n'
    ).format(_spans(scale), _WIDTH, _HEIGHT, title, join(lines), join(drawn), _spans(labels))


def legend(slots: Iterable[TimeSlot]) -> Iterator[Markup]:
    """Yield the legend of a chart, with only the kinds that occur in the slots."""
    occurring = {kind for slot in slots for kind in DecisionKind if slot.counts[kind]}
    keys = (
        Markup(
            '<span><svg viewBox="0 0 1 1"><rect class="{}" width="1" height="1"/></svg>{}</span>'
        ).format(kind.key, words)
        for kind, words in _STACK.items()
        if kind in occurring
    )
    yield Markup('<p class="keys">{}</p>\n').format(join(keys))


def some_labels(labels: Sequence[str]) -> list[str]:
    """Select labels for the axis: the first, the last, and some between them."""
    count = min(_MAX_LABELS, len(labels))
    if count < 2:
        return list(labels)
    return [labels[place * (len(labels) - 1) // (count - 1)] for place in range(count)]


def cell_bar(part: float, whole: float, css_class: str) -> Markup:
    """Return a bar for a table's cell, which shows ``part`` as a share of ``whole``."""
    width = 100 * part / whole if whole else 0
    return Markup('<svg viewBox="0 0 100 1" preserveAspectRatio="none">{}</svg>').format(
        rectangle(css_class, 0, 0, width, 1)
    )


def _bar(bar: TimeSlot, name: str, left: float, step: float, highest: int) -> Markup:
    gap = min(2.0, step * 0.2)
    total = sum(bar.counts)
    words = [f"{name}: {format_number(total)} {noun(total, 'request')}"]
    parts = []
    top: float = _HEIGHT
    for kind, kind_words in _STACK.items():
        if count := bar.counts[kind]:
            height = count / highest * _HEIGHT
            top -= height
            words.append(f"{kind_words}: {format_number(count)}")
            parts.append(rectangle(kind.key, left + gap / 2, top, step - gap, height))
    back = rectangle("back", left, 0, step, _HEIGHT)
    return Markup("<g><title>{}</title>{}{}</g>\n").format("\n".join(words), back, join(parts))


def _round_up(highest: int) -> int:
    """Round up to a number that the grid lines divide into round parts."""
    power = 1
    while True:
        for round_number in (4, 8, 12, 20):
            if round_number * power >= highest:
                return round_number * power
        power *= 10


def _spans(texts: Iterable[str]) -> Markup:
    return join(Markup("<span>{}</span>").format(text) for text in texts)
