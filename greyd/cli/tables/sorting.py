"""Sorts the rows of a table by its columns (``--sort``), in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
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
        help="Sort by this column, e.g. client, or -client for descending order.",
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
        rows.sort(key=self.key, reverse=self.descending)

    def key(self, row: Row) -> Any:
        """Return the key by which ``sorted`` sorts a row, in reverse if ``descending``."""
        value = self.column.order_of(row)
        is_number = isinstance(value, int | float) and self.column.kind in _ZERO_IS_A_VALUE
        if not (value or is_number):
            return (-1 if self.descending else 9, 0)
        # Numbers before texts, should a column have both.
        if isinstance(value, str):
            return (1, value)
        return (2 if isinstance(value, bytes) else 0, value)


@dataclass(frozen=True, slots=True)
class SharedOrder:
    """The order of a command's tables: those that have the column are sorted by it."""

    column: str
    """The column's name for ``--sort``."""
    descending: bool = False

    def sorted(self, columns: Sequence[TableColumn[Row]], rows: Iterable[Row]) -> list[Row]:
        """Return the rows of a table in this order; as they are if the table lacks the column."""
        found = next((each for each in columns if each.sort_name == self.column), None)
        return sorted_rows(rows, SortOrder(found, self.descending) if found else None)


def parse_shared_sort(text: str, names: Sequence[str]) -> SharedOrder:
    """Return the order that ``--sort`` describes, for a command that prints several tables.

    Raises:
        CommandError: no table has a column of this name; the message names the existing ones.
    """
    name = _column_name(text)
    if name in names:
        return SharedOrder(name, text.strip().startswith("-"))
    raise _no_column(text, names, "--sort")


def parse_sort(
    text: str, columns: Sequence[TableColumn[Row]], option: str = "--sort"
) -> SortOrder[Row]:
    """Return the order that ``--sort`` describes: the name of a column, or ``-`` and its name.

    Raises:
        CommandError: no column has this name; the message names the existing ones.
    """
    name = _column_name(text)
    for column in columns:
        if name and name in (column.sort_name, column.card_label.replace(" ", "-")):
            return SortOrder(column, text.strip().startswith("-"))
    raise _no_column(text, [each.sort_name for each in columns if each.sort_name], option)


def _column_name(text: str) -> str:
    return "-".join(text.strip().lstrip("-").lower().replace("_", " ").replace("-", " ").split())


def _no_column(text: str, names: Sequence[str], option: str) -> CommandError:
    return CommandError(
        f"{option}={printable_text(text)}: expected a column, or -COLUMN for descending order;"
        f" the columns are {', '.join(names)}"
    )


def sorted_rows(rows: Iterable[Row], order: SortOrder[Row] | None) -> list[Row]:
    """Return rows in an order; without one, as they are."""
    found = list(rows)
    if order is not None:
        order.sort(found)
    return found


class FirstRows(Generic[Row]):
    """Keeps the first ``limit`` rows of an order, however many are added.

    At most ``2 * limit + 1000`` rows are in memory at a time. When they are reached, they are
    sorted, and those above the limit are dropped, which is quicker than a heap.
    """

    def __init__(self, order: SortOrder[Row], limit: int) -> None:
        """Create it for at most ``limit`` rows; at least one."""
        self._order = order
        self._limit = limit
        self._rows: list[tuple[Any, Row]] = []
        self._last: Any = None
        """The key of the last row that is kept; None as long as there are fewer than the limit."""
        self.count = 0
        """How many rows were added."""

    def add(self, row: Row) -> None:
        """Add a row."""
        self.count += 1
        key = self._order.key(row)
        if self._last is not None and not (
            key > self._last if self._order.descending else key < self._last
        ):
            return
        self._rows.append((key, row))
        if len(self._rows) >= 2 * self._limit + 1000:
            self._shrink()

    def _shrink(self) -> None:
        self._rows.sort(key=itemgetter(0), reverse=self._order.descending)
        del self._rows[self._limit :]
        if len(self._rows) == self._limit:
            self._last = self._rows[-1][0]

    def rows(self) -> list[Row]:
        """Return the first rows in their order."""
        self._shrink()
        return [row for _, row in self._rows]
