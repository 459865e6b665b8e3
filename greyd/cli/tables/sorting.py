"""Sorts the rows of a table by its columns (``--sort``), in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Generic

import typer

from greyd.cli.errors import CommandError
from greyd.cli.tables.column import Kind, Row
from greyd.escaping import printable_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from greyd.cli.tables.column import TableColumn

Sort = Annotated[
    str | None,
    typer.Option(
        "--sort", metavar="COLUMN",
        help="Sort by this column, e.g. client, or in descending order by -client.",
    ),
]  # fmt: skip
"""The annotation of a ``--sort`` option."""

_ZERO_IS_A_VALUE = (Kind.NUMBER, Kind.DURATION)


@dataclass(frozen=True, slots=True)
class SortOrder(Generic[Row]):
    """The order of rows by one column; rows without a value come last."""

    column: TableColumn[Row]
    descending: bool = False

    def sort(self, rows: list[Row]) -> None:
        """Sort rows in place; rows with the same value keep their order."""
        present = [row for row in rows if not self._is_missing(row)]
        missing = [row for row in rows if self._is_missing(row)]
        present.sort(key=self._key, reverse=self.descending)
        rows[:] = present + missing

    def _key(self, row: Row) -> Any:
        value = self.column.order_of(row)
        # Numbers before texts, should a column have both.
        return (
            (1, value) if isinstance(value, str) else (2 if isinstance(value, bytes) else 0, value)
        )

    def _is_missing(self, row: Row) -> bool:
        value = self.column.order_of(row)
        is_number = isinstance(value, int | float) and self.column.kind in _ZERO_IS_A_VALUE
        return not (value or is_number)


def parse_sort(
    text: str, columns: Sequence[TableColumn[Row]], option: str = "--sort"
) -> SortOrder[Row]:
    """Return the order that ``--sort`` describes: the name of a column, or ``-`` and its name.

    Raises:
        CommandError: no column has this name; the message names those that there are.
    """
    name = "-".join(text.strip().lstrip("-").lower().replace("_", " ").replace("-", " ").split())
    for column in columns:
        if name and name in (column.sort_name, column.card_label.replace(" ", "-")):
            return SortOrder(column, text.strip().startswith("-"))
    names = ", ".join(column.sort_name for column in columns if column.sort_name)
    raise CommandError(
        f"{option}={printable_text(text)}: expected a column, or -COLUMN for descending order;"
        f" the columns are {names}"
    )


def sorted_rows(rows: Iterable[Row], order: SortOrder[Row] | None) -> list[Row]:
    """Return rows in an order; without one, as they are."""
    found = list(rows)
    if order is not None:
        order.sort(found)
    return found


class FirstRows(Generic[Row]):
    """Keeps the first ``limit`` rows of an order, however many are added.

    At most twice as many rows are in memory at a time: when they are reached, the rows are sorted
    and the second half is dropped, which takes about as long as a heap.
    """

    def __init__(self, order: SortOrder[Row], limit: int) -> None:
        """Create it for at most ``limit`` rows; at least one."""
        self._order = order
        self._limit = limit
        self._rows: list[Row] = []
        self.count = 0
        """How many rows were added."""

    def add(self, row: Row) -> None:
        """Add a row."""
        self.count += 1
        self._rows.append(row)
        if len(self._rows) >= 2 * self._limit:
            self._shrink()

    def _shrink(self) -> None:
        self._order.sort(self._rows)
        del self._rows[self._limit :]

    def rows(self) -> list[Row]:
        """Return the first rows in their order."""
        self._shrink()
        return list(self._rows)
