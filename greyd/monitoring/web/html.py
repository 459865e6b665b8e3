"""The HTML and SVG elements of greyd's pages. MarkupSafe escapes their text."""

from __future__ import annotations

from enum import Enum
from itertools import chain
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Column(Enum):
    """The kinds of a table's columns; the values are CSS classes."""

    NAME = "name"
    NUMBER = "n"
    BAR = "bar"


def section(title: str, *contents: Iterable[Markup]) -> Iterator[Markup]:
    """Yield the parts of a section. The parts are rendered one by one, as the caller iterates."""
    yield Markup("<section>\n<h2>{}</h2>\n").format(title)
    yield from chain.from_iterable(contents)
    yield Markup("</section>\n")


def paragraph(text: str) -> Iterator[Markup]:
    """Yield a paragraph."""
    yield Markup("<p>{}</p>\n").format(text)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], columns: Sequence[Column]
) -> Iterator[Markup]:
    """Yield a table row by row; if all headings are empty, it has no row of headings."""
    yield Markup('<div class="scroll"><table>\n')
    if any(head):
        yield _row("th", head, columns)
    for cells in rows:
        yield _row("td", cells, columns)
    yield Markup("</table></div>\n")


def _row(tag: str, cells: Sequence[str], columns: Sequence[Column]) -> Markup:
    return Markup("<tr>{}</tr>\n").format(
        join(
            Markup('<{} class="{}">{}</{}>').format(tag, column.value, cell, tag)
            for column, cell in zip(columns, cells, strict=True)
        )
    )


def rectangle(css_class: str, x: float, y: float, width: float, height: float) -> Markup:
    """Return a rectangle of an SVG image."""
    return Markup('<rect class="{}" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>').format(
        css_class, x, y, width, height
    )


def join(parts: Iterable[Markup]) -> Markup:
    """Return several parts as one."""
    return Markup("").join(parts)


def format_number(number: float) -> str:
    """Return a whole number with commas between the thousands."""
    return f"{round(number):,}"
