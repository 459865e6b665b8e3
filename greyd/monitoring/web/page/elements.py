"""The tables of the status page: with a caption, and readable on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from greyd.config.durations import format_duration
from greyd.monitoring.activity.counter_history import DAY_SECONDS, HOUR_SECONDS, MINUTE_SECONDS
from greyd.monitoring.web.html import Column, join, rectangle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
_MAX_NARROW_COLUMNS = 3


def named_rows(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], columns: Sequence[Column]
) -> Iterator[Markup]:
    """Yield a table whose first column names its rows.

    Args:
        caption: says what the table shows.
        head: the headings; if all are empty, there is no row of headings.
        rows: the cells.
        columns: the kinds of the columns.
    """
    # A narrow screen has no room for the bars beside several numbers.
    kind = "wide" if len(columns) > _MAX_NARROW_COLUMNS else "few"
    yield Markup('<table class="{}">\n<caption>{}</caption>\n').format(kind, caption)
    if any(head):
        yield _heading(head, columns)
    for name, *cells in rows:
        yield Markup('<tr><th scope="row">{}</th>{}</tr>\n').format(
            name,
            join(
                Markup('<td class="{}">{}</td>').format(column.value, cell)
                for column, cell in zip(columns[1:], cells, strict=True)
            ),
        )
    yield Markup("</table>\n")


def stacked_rows(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], columns: Sequence[Column]
) -> Iterator[Markup]:
    """Yield a table whose cells are stacked on a narrow screen, each with its heading."""
    yield Markup('<table class="stack">\n<caption>{}</caption>\n').format(caption)
    yield _heading(head, columns)
    for cells in rows:
        yield Markup("<tr>{}</tr>\n").format(
            join(
                Markup('<td class="{}" data-label="{}">{}</td>').format(column.value, name, cell)
                for column, name, cell in zip(columns, head, cells, strict=True)
            )
        )
    yield Markup("</table>\n")


def bar(css_class: str, part: float, whole: float) -> Markup:
    """Return a bar for a cell, which shows ``part`` as a share of ``whole``."""
    width = 100 * part / whole if whole else 0
    return Markup(
        '<svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(rectangle(css_class, 0, 0, width, 1))


def _heading(head: Sequence[str], columns: Sequence[Column]) -> Markup:
    return Markup("<tr>{}</tr>\n").format(
        join(
            Markup('<th scope="col" class="{}">{}</th>').format(column.value, name)
            for column, name in zip(columns, head, strict=True)
        )
    )


def last(seconds: float) -> str:
    """Return the name of a period that ends now, e.g. "last hour" or "last 25 min"."""
    for length, name in ((HOUR_SECONDS, "last hour"), (DAY_SECONDS, "last day")):
        # The history has a sample each minute.
        if abs(seconds - length) <= MINUTE_SECONDS:
            return name
    return f"last {format_duration(seconds)}"
