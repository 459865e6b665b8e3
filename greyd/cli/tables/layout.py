"""Decides how the columns of a table share the width of a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from greyd.cli.tables.column import Kind
from greyd.cli.tables.shorten import cell_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.cli.tables.column import TableColumn

GAP = 2
"""Blanks between two columns."""

MAX_CARD_WIDTH = 60
"""Below this width, in cells, a table that does not fit becomes cards instead of losing columns."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is shown."""

    widths: tuple[int | None, ...]
    """The width of each column in cells; None for a column that is left out."""
    total_width: int | None
    """The width of the terminal in cells; None for a pipe, which has no limit."""
    as_cards: bool = False
    full_width: int = 0
    """The width at which all columns fit."""

    @property
    def left_out(self) -> list[int]:
        """The positions of the columns that are left out."""
        return [at for at, width in enumerate(self.widths) if width is None]


def arrange(
    columns: Sequence[TableColumn[Any]],
    texts: Iterable[Sequence[str]],
    total_width: int | None,
    *,
    fill: bool = False,
) -> Layout:
    """Return the layout of a table.

    Args:
        columns: the columns.
        texts: the texts of each row.
        total_width: the width of the terminal in cells; None for a pipe.
        fill: whether columns that can be shortened use the full width, for rows that come later.
    """
    natural = [cell_width(column.head) for column in columns]
    for row in texts:
        for at, text in enumerate(row):
            width = len(text) if text.isascii() and "\n" not in text else _widest_line(text)
            natural[at] = max(natural[at], width)
    if total_width is None:
        return Layout(tuple(natural), None)
    least = [
        width if column.shrunken_width is None
        else min(width, max(column.shrunken_width, cell_width(column.head)))
        for column, width in zip(columns, natural, strict=True)
    ]  # fmt: skip
    full_width = _sum(least)
    shown = list(range(len(columns)))
    # A table of figures is read by comparing its rows, which cards prevent.
    is_narrow = total_width < MAX_CARD_WIDTH and not _is_of_figures(columns)
    if full_width > total_width and is_narrow:
        return Layout(tuple(natural), total_width, as_cards=True)
    # The last of the least important columns first.
    for at in sorted(shown, key=lambda each: (columns[each].priority, each), reverse=True):
        if _sum(least[each] for each in shown) <= total_width or columns[at].priority <= 1:
            break
        shown.remove(at)
    if _sum(least[each] for each in shown) > total_width:
        return Layout(tuple(natural), total_width, as_cards=True)
    widths = _share(
        {at: least[at] for at in shown},
        {
            at: total_width if fill and columns[at].shrunken_width is not None else natural[at]
            for at in shown
        },
        total_width,
    )
    return Layout(tuple(map(widths.get, range(len(columns)))), total_width, full_width=full_width)


def _is_of_figures(columns: Sequence[TableColumn[Any]]) -> bool:
    return all(each.kind in (Kind.NUMBER, Kind.DURATION) for each in columns[1:])


def _widest_line(text: str) -> int:
    return max(map(cell_width, text.split("\n")))


def _sum(widths: Iterable[int]) -> int:
    """Return the width of columns with the gaps between them."""
    total = [width + GAP for width in widths]
    return sum(total) - GAP if total else 0


def _share(least: dict[int, int], most: dict[int, int], total_width: int) -> dict[int, int]:
    """Return the widths, between least and most, that leave the narrowest as wide as possible."""
    widths = dict(least)
    room = total_width - _sum(widths.values())
    while room > 0:
        growing = [at for at in widths if widths[at] < most[at]]
        if not growing:
            break
        narrowest = min(growing, key=lambda at: (widths[at], at))
        widths[narrowest] += 1
        room -= 1
    return widths
