"""The types of a transaction on a store: a rule reads records and returns changes to store."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Remembered = Sequence[bytes | None]

Answer = TypeVar("Answer")

if TYPE_CHECKING:
    Rule = Callable[[Remembered], tuple[Answer, Sequence["Change"]]]


class Change(NamedTuple):
    """A record to store under ``key``, which expires ``ttl_seconds`` after it was written.

    A tuple, because most requests create one or more.
    """

    key: bytes
    value: bytes
    ttl_seconds: int


class Record(NamedTuple):
    """A stored entry, as commands read it. A tuple, because a scan creates one for each entry."""

    key: bytes
    value: bytes
    ttl_seconds: int | None
    """Seconds until the record expires; None for never, which greyd itself does not store."""
    foreign_type: str = ""
    """Redis's name for the type of an entry that is not a string, e.g. ``hash`` or ``list``. The
    value of such an entry is empty, and rules ignore the entry. Empty for all others.
    """
