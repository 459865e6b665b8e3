"""Renders the result of ``greyd tune`` as one HTML page with a plot, without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd.cli.report.page_style import page
from greyd.cli.tune.text import LIMITS, shown_outcomes, verdict_lines
from greyd.config.durations import format_duration, format_percentage
from greyd.monitoring.web.html import (
    Column,
    format_number,
    join,
    paragraph,
    rectangle,
    section,
    table,
)
from greyd.terminal import format_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.cli.tune.outcome import Outcome
    from greyd.cli.tune.tuning import Tuning

_WIDTH, _HEIGHT = 960, 400
_DOT_WIDTH, _DOT_HEIGHT = 10, 14
_COLUMNS = (Column.NAME, *(Column.NUMBER,) * 6)


def render(tuning: Tuning, now: float) -> bytes:
    """Return the page in UTF-8; it shows ``now`` (Unix time) as the time of its creation."""
    replay = tuning.replay
    span = f"{format_timestamp(replay.first)} to {format_timestamp(replay.last)}"
    verdict = [part for line in verdict_lines(tuning) for part in paragraph(line)]
    rows = [_row(each, tuning) for each in shown_outcomes(tuning)]
    heads = ("settings", "delayed", "median", "total wait", "lost", "spam let in", "kept out")
    sections = [
        *section("What to set", verdict),
        *section("Waiting against spam", _plot(tuning)),
        *section(
            "Settings that no other beats",
            table(heads, rows, _COLUMNS),
            paragraph(LIMITS),
        ),
    ]
    return page(span, join(sections), format_timestamp(now))


def _row(outcome: Outcome, tuning: Tuning) -> tuple[str, ...]:
    mark = " (best choice)" if outcome is tuning.chosen else ""
    median = outcome.median_seconds
    return (
        outcome.point.text + mark,
        format_percentage(outcome.waited + outcome.lost, outcome.passed),
        "" if median is None else format_duration(median),
        format_duration(outcome.wait_seconds),
        format_number(outcome.lost),
        format_number(outcome.let_in),
        format_number(outcome.kept_out),
    )


def _plot(tuning: Tuning) -> Iterator[Markup]:
    """Yield a plot of all outcomes: spam to the right, waiting upwards."""
    outcomes, best = tuning.outcomes, {id(each) for each in tuning.best}
    highest_wait = max(each.cost_seconds for each in outcomes) or 1
    highest_spam = max(each.let_in for each in outcomes) or 1
    kinds: dict[str, list[Outcome]] = {
        "other": [each for each in outcomes if id(each) not in best],
        "waited": list(tuning.best),
        "new": [outcomes[0]],
        "auto_whitelisted": [tuning.chosen] if tuning.chosen else [],
    }
    dots = []
    for css_class, members in kinds.items():
        for each in members:
            left = each.let_in / highest_spam * (_WIDTH - _DOT_WIDTH)
            top = (1 - each.cost_seconds / highest_wait) * (_HEIGHT - _DOT_HEIGHT)
            title = (
                f"{each.point.text}: total wait {format_duration(each.wait_seconds)},"
                f" lost {each.lost:,}, spam let in {each.let_in:,}"
            )
            dot = rectangle(css_class, left, top, _DOT_WIDTH, _DOT_HEIGHT)
            dots.append(Markup("<g><title>{}</title>{}</g>\n").format(title, dot))
    lines = [
        Markup('<line class="grid" x1="0" x2="{}" y1="{y:g}" y2="{y:g}"/>').format(_WIDTH, y=y)
        for y in (0, _HEIGHT / 2, _HEIGHT)
    ]
    scale = [format_duration(highest_wait), format_duration(highest_wait / 2), "0"]
    axis = ["0", "spam let in", format_number(highest_spam)]
    yield Markup(
        '<div class="chart">\n<div class="scale">{}</div>\n'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
        ' aria-label="Total wait against spam let in, by settings">\n{}{}</svg>\n'
        '<div class="axis">{}</div>\n</div>\n'
    ).format(_spans(scale), _WIDTH, _HEIGHT, join(lines), join(dots), _spans(axis))
    yield _keys(is_chosen=tuning.chosen is not None)


def _keys(*, is_chosen: bool) -> Markup:
    """Return the legend of the plot."""
    names = {"new": "today", "waited": "unbeaten in waiting and spam", "other": "other settings"}
    if is_chosen:
        names = {"auto_whitelisted": "best choice", **names}
    keys = join(
        Markup(
            '<span><svg viewBox="0 0 1 1"><rect class="{}" width="1" height="1"/></svg>{}</span>'
        ).format(css_class, name)
        for css_class, name in names.items()
    )
    return Markup('<p class="keys">{}</p>\n').format(keys)


def _spans(texts: Sequence[str]) -> Markup:
    return join(Markup("<span>{}</span>").format(text) for text in texts)
