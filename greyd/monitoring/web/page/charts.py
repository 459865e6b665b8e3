"""Draws the requests of a day and of a week as stacked bars, in SVG.

Each kind of decision is one path, because a rectangle for each part of each bar would make the page
several times as large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd.config.durations import format_percentage
from greyd.monitoring.web.html import format_number, join
from greyd.plurals import counted
from greyd.terminal import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.monitoring.activity.week import ActivitySlot

_STEP_WIDTH, _GAP, _HEIGHT = 10, 1, 240
_LINES = 4
_LABELS = 5

KINDS = {
    "waited": "passed after its delay",
    "passed": "passed at once",
    "new": "first contact, greylisted",
    "early": "retried too early, greylisted",
    "faults": "not decided, because of a fault",
}
"""The parts of a bar from the bottom, by the field of ``ActivitySlot``."""

_CLASSES = {"waited": "waited", "passed": "known", "new": "new", "early": "early",
            "faults": "fault"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChartSpan:
    """The period of a chart, and how its axis shows the time."""

    words: str
    """The period in words, e.g. "the last 24 hours"."""
    step_words: str
    """A step in words, e.g. "15 minutes"."""
    step_seconds: int
    axis_format: str
    """The labels of the time axis, for strftime."""
    bar_format: str
    """The start of a bar, for strftime."""


def chart(span: ChartSpan, steps: Sequence[ActivitySlot]) -> Iterator[Markup]:
    """Yield a figure with axes and a legend, or a sentence if there is nothing to draw."""
    if not any(each.requests for each in steps):
        yield Markup("<p>No requests in {}.</p>\n").format(span.words)
        return
    highest = _round_up(max(each.requests for each in steps))
    width = _STEP_WIDTH * len(steps)
    yield Markup(
        '<figure><figcaption>Requests in {}</figcaption>\n<div class="chart">\n'
        '<div class="scale" aria-hidden="true">{}</div>\n'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">\n'
    ).format(
        span.step_words,
        _spans([format_number(highest * line / _LINES) for line in range(_LINES, -1, -1)]),
        width,
        _HEIGHT,
        _description(span, steps),
    )
    for line in range(_LINES + 1):
        yield Markup('<line class="grid" x1="0" x2="{}" y1="{y:g}" y2="{y:g}"/>\n').format(
            width, y=_HEIGHT * line / _LINES
        )
    yield from _paths(steps, highest)
    yield from (_tooltip(span, place, each) for place, each in enumerate(steps))
    yield Markup('</svg>\n<div class="axis" aria-hidden="true">{}</div>\n</div>\n').format(
        _spans(_labels(span, steps))
    )
    yield _legend(steps)
    yield Markup("</figure>\n")


def _paths(steps: Sequence[ActivitySlot], highest: int) -> Iterator[Markup]:
    if gaps := _gaps(steps):
        yield Markup('<path class="gap" d="{}"/>\n').format(gaps)
    tops = [float(_HEIGHT)] * len(steps)
    for kind, css_class in _CLASSES.items():
        parts = []
        for place, step in enumerate(steps):
            if count := getattr(step, kind):
                height = count / highest * _HEIGHT
                tops[place] -= height
                parts.append(_bar(place, tops[place], height, _GAP))
        if parts:
            yield Markup('<path class="{}" d="{}"/>\n').format(css_class, "".join(parts))


def _bar(place: int, top: float, height: float, gap: int) -> str:
    width = _STEP_WIDTH - gap
    return f"M{place * _STEP_WIDTH} {top:.1f}h{width}v{height:.1f}h-{width}z"


def _gaps(steps: Sequence[ActivitySlot]) -> str:
    """Return the path of the steps in which the server did not run."""
    return "".join(
        _bar(place, 0, _HEIGHT, 0) for place, step in enumerate(steps) if not step.seconds
    )


def _tooltip(span: ChartSpan, place: int, step: ActivitySlot) -> Markup:
    words = [f"{format_time(span.bar_format, step.start)}: {_amount(step)}"]
    words += [
        f"{text}: {format_number(count)}"
        for kind, text in KINDS.items()
        if (count := getattr(step, kind))
    ]
    return Markup('<g><title>{}</title><path class="back" d="{}"/></g>\n').format(
        "\n".join(words), _bar(place, 0, _HEIGHT, 0)
    )


def _amount(step: ActivitySlot) -> str:
    return counted(step.requests, "request") if step.seconds else "greyd did not run"


def _description(span: ChartSpan, steps: Sequence[ActivitySlot]) -> str:
    """Return what the chart shows, for screen readers."""
    total = sum(each.requests for each in steps)
    greylisted = sum(each.greylisted for each in steps)
    most = max(steps, key=lambda each: each.requests)
    return (
        f"{counted(total, 'request')} in {span.words},"
        f" {format_percentage(greylisted, total)} of them greylisted; the most in {span.step_words}"
        f" were {format_number(most.requests)}, at {format_time(span.bar_format, most.start)}."
    )


def _labels(span: ChartSpan, steps: Sequence[ActivitySlot]) -> list[str]:
    """Return the labels of the time axis, at equal distances; the last one is the present."""
    last = len(steps) - 1
    places = [place * last // (_LABELS - 1) for place in range(_LABELS - 1)]
    return [*(format_time(span.axis_format, steps[each].start) for each in places), "now"]


def _legend(steps: Sequence[ActivitySlot]) -> Markup:
    shown = [
        (_CLASSES[kind], text) for kind, text in KINDS.items()
        if any(getattr(each, kind) for each in steps)
    ]  # fmt: skip
    if any(not each.seconds for each in steps):
        shown.append(("gap", "greyd did not run, or its counts are lost"))
    return Markup('<p class="keys">{}</p>\n').format(
        join(
            Markup(
                '<span><svg viewBox="0 0 1 1" aria-hidden="true"><rect class="{}" width="1"'
                ' height="1"/></svg>{}</span>'
            ).format(css_class, text)
            for css_class, text in shown
        )
    )


def _round_up(highest: int) -> int:
    """Round up to a number that the grid lines divide into whole, round parts."""
    power = 1
    while True:
        for round_number in (4, 8, 12, 20):
            if round_number * power >= highest:
                return round_number * power
        power *= 10


def _spans(texts: Sequence[str]) -> Markup:
    return join(Markup("<span>{}</span>").format(text) for text in texts)
