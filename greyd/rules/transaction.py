"""A transaction on a store: the records that a rule reads, and the changes that it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Remembered = Sequence[bytes | None]

Answer = TypeVar("Answer")

if TYPE_CHECKING:
    Rule = Callable[[Remembered], tuple[Answer, Sequence["Change"]]]


class Change(NamedTuple):
    """A record to store under ``key``, for ``ttl_seconds`` from the moment of writing.

    It is a tuple, because each request creates some.
    """

    key: bytes
    value: bytes
    ttl_seconds: int


class Record(NamedTuple):
    """One stored entry, as commands read it. It is a tuple, because a scan creates millions."""

    key: bytes
    value: bytes
    ttl_seconds: int | None
    """Seconds until the record expires; None: never; greyd itself stores no such record."""
    foreign_type: str = ""
    """Redis's name for the type of what is there, where it is no text (``hash``, ``list`` …): then
    the value is empty, and no rule sees the entry."""
