"""Renders tables as lines: aligned columns on a wide terminal or in a pipe, else cards."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Generic

from greyd.cli.tables.cell_text import NO_VALUE, format_value
from greyd.cli.tables.column import Kind, Meaning, Row
from greyd.cli.tables.layout import GAP, Layout, arrange
from greyd.cli.tables.shorten import (
    cell_width,
    shorten_address,
    shorten_middle,
    shorten_path,
    wrap_words,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console, RenderableType

    from greyd.cli.tables.column import TableColumn

Line = list[tuple[str, str]]
"""A line of output: pieces of text, each with its style in rich's notation."""

HEAD_STYLE = "bold"
_CARD_INDENT = "  "
_LABELLED = (Kind.NUMBER, Kind.DURATION, Kind.TIME, Kind.DUE, Kind.CLOCK)
"""The kinds that have a label even at the beginning of a card."""


@dataclass(frozen=True, slots=True)
class _Cell:
    text: str
    style: str


class TableWriter(Generic[Row]):
    """Prints the rows of a table one group at a time, below a head that is printed once."""

    def __init__(
        self,
        columns: Sequence[TableColumn[Row]],
        console: Console,
        *,
        now: float | None = None,
        is_total: Callable[[Row], bool] | None = None,
        fill: bool = False,
    ) -> None:
        """Create a writer.

        Args:
            columns: the columns.
            console: the output; ``is_terminal`` and ``width`` decide the layout.
            now: the time for relative times, in seconds since 1970; None for the clock's.
            is_total: whether a row is a sum, which is printed in bold; None for none.
            fill: whether wider rows may come in later groups; the columns then use the full width.
        """
        self._columns = columns
        self._console = console
        self._width = console.width if console.is_terminal else None
        self._now = time.time() if now is None else now
        self._is_total = is_total
        self._fill = fill
        self._layout: Layout | None = None

    def write(self, rows: Iterable[Row]) -> None:
        """Print rows below those that are already printed."""
        cells = [self._cells(row) for row in rows]
        texts = [[cell.text for cell in row] for row in cells]
        if not cells:
            return
        if self._layout is None:
            self._layout = arrange(self._columns, texts, self._width, fill=self._fill)
            if not self._layout.as_cards and any(column.head for column in self._columns):
                print_line(self._console, self._head(self._layout))
        for row in cells:
            for line in self._row(row, self._layout):
                print_line(self._console, line)

    def end(self) -> None:
        """Name the columns that did not fit, below the rows."""
        # A message on standard error comes after the table, also in a pipe.
        self._console.file.flush()
        if self._layout is None or not (missing := self._layout.left_out):
            return
        names = ", ".join(map(self._unique_name, missing))
        note = (
            f"left out at {self._layout.total_width} columns: {names};"
            f" {self._layout.full_width} columns show all"
        )
        for text in wrap_words(note, self._layout.total_width or len(note)):
            print_line(self._console, [(text, Meaning.SECONDARY.value)])

    def _unique_name(self, at: int) -> str:
        """Return the head of a column, or its label if another column has the same head."""
        column = self._columns[at]
        is_unique = [each.head for each in self._columns].count(column.head) == 1
        return column.head if is_unique else column.card_label or column.head

    def _cells(self, row: Row) -> list[_Cell]:
        now = None if self._width is None else self._now
        bold = " bold" if self._is_total is not None and self._is_total(row) else ""
        return [
            _Cell(
                format_value(column.value(row), column.kind, now),
                f"{column.meaning_of(row).value}{bold}".strip(),
            )
            for column in self._columns
        ]

    def _head(self, layout: Layout) -> Line:
        cells = [[_Cell(column.head, HEAD_STYLE)] for column in self._columns]
        return next(self._aligned(cells, layout))

    def _row(self, row: Sequence[_Cell], layout: Layout) -> Iterator[Line]:
        if layout.as_cards:
            return self._card(row, layout.total_width or 0)
        cells = [
            [] if width is None else _fitted(cell, column.kind, width, layout)
            for cell, column, width in zip(row, self._columns, layout.widths, strict=True)
        ]
        return self._aligned(cells, layout)

    def _aligned(self, cells: Sequence[Sequence[_Cell]], layout: Layout) -> Iterator[Line]:
        """Yield the lines of a row, whose cells may have several lines."""
        columns = [
            (lines, width, column.is_right_aligned)
            for lines, width, column in zip(cells, layout.widths, self._columns, strict=True)
            if width is not None
        ]
        for parts in zip_longest(*(lines for lines, _, _ in columns)):
            line: Line = []
            blanks = 0
            for part, (_, width, is_right) in zip(parts, columns, strict=True):
                cell = part or _Cell("", "")
                rest = max(width - cell_width(cell.text), 0)
                blanks += rest if is_right else 0
                if cell.text:
                    line += [(" " * blanks, ""), (cell.text, cell.style)]
                    blanks = 0
                else:
                    blanks += 0 if is_right else width
                    rest = 0
                blanks += GAP + (0 if is_right else rest)
            yield line

    def _card(self, row: Sequence[_Cell], total_width: int) -> Iterator[Line]:
        """Yield the lines of a card: the values with their labels, packed into lines."""
        line: Line = []
        used = 0
        for at, (cell, column) in enumerate(zip(row, self._columns, strict=True)):
            if cell.text in (NO_VALUE, "") and at:
                continue
            label = column.card_label if at or column.kind in _LABELLED else ""
            pieces = _labelled(cell, column.kind, label, total_width - len(_CARD_INDENT))
            for number, piece in enumerate(pieces):
                width = sum(cell_width(text) for text, _ in piece)
                if line and (number or used + GAP + width > total_width):
                    yield line
                    line, used = [(_CARD_INDENT, "")], len(_CARD_INDENT)
                elif line:
                    line.append((" " * GAP, ""))
                    used += GAP
                line += piece
                used += width
        yield line


def _labelled(cell: _Cell, kind: Kind, label: str, width: int) -> Iterator[Line]:
    """Yield the lines of a card's item: a label and a value."""
    head = f"{label} " if label else ""
    if kind is Kind.TEXT:
        lines = wrap_words(f"{head}{cell.text}", width)
        for number, text in enumerate(lines):
            if number == 0 and head and text.startswith(head):
                yield [(head, Meaning.SECONDARY.value), (text[len(head) :], cell.style)]
            else:
                yield [(text, cell.style)]
        return
    text = _shortened(cell.text, kind, width - cell_width(head))
    yield [(head, Meaning.SECONDARY.value), (text, cell.style)]


def _fitted(cell: _Cell, kind: Kind, width: int, layout: Layout) -> list[_Cell]:
    """Return the lines of a cell in a column of this width."""
    if kind is Kind.TEXT and (layout.total_width is not None or "\n" in cell.text):
        lines = (
            cell.text.split("\n")
            if layout.total_width is None
            else wrap_words(cell.text, width)
        )  # fmt: skip
        return [_Cell(line, cell.style) for line in lines]
    if layout.total_width is None:
        return [cell]
    return [_Cell(_shortened(cell.text, kind, width), cell.style)]


def _shortened(text: str, kind: Kind, width: int) -> str:
    return _SHORTENERS.get(kind, shorten_middle)(text, width)


_SHORTENERS = {Kind.ADDRESS: shorten_address, Kind.PATH: shorten_path}


def plain_text(line: RenderableType) -> tuple[str, str] | None:
    """Return the text of a line and its style, if the whole line has one style; else None."""
    if isinstance(line, str):
        return line, ""
    from rich.text import Text

    return (line.plain, str(line.style)) if isinstance(line, Text) and not line.spans else None


def print_line(console: Console, line: Line) -> None:
    """Print a line as it is; without its styles if the console has no colours."""
    # rich takes fifty times as long, and a pipe may take a million lines.
    if console.color_system is None:
        console.file.write("".join(text for text, _ in line) + "\n")
        return
    from rich.text import Text

    console.print(Text.assemble(*line), no_wrap=True, overflow="ignore", crop=False)


def render_table(
    columns: Sequence[TableColumn[Row]],
    rows: Iterable[Row],
    console: Console,
    *,
    now: float | None = None,
    is_total: Callable[[Row], bool] | None = None,
) -> None:
    """Print a whole table; the arguments are those of ``TableWriter``."""
    writer = TableWriter(columns, console, now=now, is_total=is_total)
    writer.write(rows)
    writer.end()
