"""A widget of lines that sends only the cells that have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style
    from rich.text import Text

    Cells = list[tuple[str, Style | None]]


class LineBuffer(Widget):
    """Shows lines of text; ``set_lines`` refreshes only what differs from the lines before."""

    def __init__(self) -> None:
        super().__init__()
        self._cells: list[Cells] = []

    def set_lines(self, lines: Sequence[Text]) -> None:
        """Replace all lines."""
        before, self._cells = self._cells, [self._cells_of(line) for line in lines]
        if len(before) != len(self._cells):
            self.refresh()
            return
        changed = []
        for y, (old, new) in enumerate(zip(before, self._cells, strict=True)):
            if (span := _changed_span(old, new)) is not None:
                start, end = span
                changed.append(Region(start, y, end - start, 1))
        if changed:
            self.refresh(*changed)

    def _cells_of(self, line: Text) -> Cells:
        return [
            (character, style)
            for text, style, _ in line.render(self.app.console)
            for character in text
            if character != "\n"
        ]

    def render_line(self, y: int) -> Strip:
        """Return a line as Textual draws it."""
        width = self.size.width
        if y >= len(self._cells):
            return Strip.blank(width)
        segments = [Segment(character, style) for character, style in self._cells[y]]
        return Strip(segments).simplify().adjust_cell_length(width)


def _changed_span(old: Cells, new: Cells) -> tuple[int, int] | None:
    """Return the first changed column and the one after the last; None if nothing has changed.

    Where a character takes more than one cell, the whole line counts as changed.
    """
    if old == new:
        return None
    longest = max(len(old), len(new))
    if any(cell_len(character) != 1 for cells in (old, new) for character, _ in cells):
        return 0, 2 * longest
    blank = (" ", None)
    padded = [cells + [blank] * (longest - len(cells)) for cells in (old, new)]
    changed = [x for x in range(longest) if padded[0][x] != padded[1][x]]
    return (changed[0], changed[-1] + 1) if changed else None
