"""Declares the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Row = TypeVar("Row")

Value = str | bytes | int | float | None
"""The value of a cell; None for an empty one. A text is shown unchanged in any kind of column."""


class Kind(Enum):
    """What a column contains: it decides how values are formatted, aligned and shortened."""

    TEXT = "text"
    """A text; it wraps between words."""
    NAME = "name"
    """A host or a reason: keeps its beginning and its end."""
    PATH = "path"
    """A file, perhaps with a line's number: keeps its end."""
    ADDRESS = "address"
    """A mail address: keeps its beginning and its domain."""
    NETWORK = "network"
    """A client's address or network."""
    VERDICT = "verdict"
    """A state or an action in a few words: never shortened."""
    NUMBER = "number"
    """A number: never shortened, aligned right."""
    DURATION = "duration"
    """Seconds, shown in their two largest units."""
    TIME = "relative time"
    """Seconds since 1970; 0 for none. On a terminal "in 4 min" or "3 h ago", else the time."""
    DUE = "due time"
    """Seconds since 1970; 0 for none. On a terminal "in 4 min", or "now" if it is over."""
    CLOCK = "clock"
    """Seconds since 1970; 0 for none. Always shown as date and time."""


class Meaning(Enum):
    """What a colour stands for; the values are styles of rich."""

    PLAIN = ""
    GOOD = "green"
    """Passed, running, as it should be."""
    WAITING = "yellow"
    """Waits, or needs attention."""
    BAD = "red"
    """Probably spam, blocked, or failed."""
    SECONDARY = "dim"
    """Less important than the rest."""


MIN_WIDTHS = {
    Kind.TEXT: 20, Kind.NAME: 14, Kind.PATH: 14, Kind.ADDRESS: 14, Kind.NETWORK: 15
}  # fmt: skip
"""The minimum widths of the kinds that can be shortened, in terminal cells."""

_RIGHT = (Kind.NUMBER, Kind.DURATION)


# Without slots: Python 3.11 can't call TableColumn[int] of a frozen class with slots.
@dataclass(frozen=True)
class TableColumn(Generic[Row]):
    """A column of a table of rows of type ``Row``."""

    head: str
    kind: Kind
    value: Callable[[Row], Value]
    """Returns the value of a row."""
    label: str | None = None
    """The word before the value in a card; None: the head. Empty: none, for a card's first line."""
    meaning: Meaning | Callable[[Row], Meaning] = Meaning.PLAIN
    """The colour, or a function that returns that of a row."""
    priority: int = 1
    """How early the column is left out if the terminal is narrow: highest first, 1 never."""
    min_width: int | None = None
    """The width to which it may shrink, in cells; None: that of its kind."""
    right: bool | None = None
    """Whether it is aligned right; None: as its kind."""
    order: Callable[[Row], Value] | None = None
    """Returns what ``--sort`` compares; None: the value."""

    @property
    def sort_name(self) -> str:
        """The name of the column for ``--sort``."""
        return "-".join(self.head.lower().split())

    @property
    def is_right_aligned(self) -> bool:
        """Whether the values are aligned right."""
        return self.kind in _RIGHT if self.right is None else self.right

    @property
    def card_label(self) -> str:
        """The word before the value in a card; may be empty."""
        return self.head if self.label is None else self.label

    @property
    def shrunken_width(self) -> int | None:
        """The width to which the column may shrink, in cells; None if it can't."""
        if self.kind not in MIN_WIDTHS:
            return None
        return MIN_WIDTHS[self.kind] if self.min_width is None else self.min_width

    def order_of(self, row: Row) -> Value:
        """Return what ``--sort`` compares."""
        return (self.order or self.value)(row)

    def meaning_of(self, row: Row) -> Meaning:
        """Return the meaning that a row's colour shows."""
        return self.meaning if isinstance(self.meaning, Meaning) else self.meaning(row)
