"""Defines an opened import source, and its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import tzinfo

    from greyd.cli.importing.items import ImportItem, SourceWarning
    from greyd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """The command line's options for the source."""

    settings: Settings
    """The settings for another greyd's store: key prefix and password."""
    delay_seconds: int
    """The source's greylisting delay."""
    zone: tzinfo | None
    """The time zone of dates without an offset; None: this machine's."""


@dataclass(frozen=True, slots=True)
class ImportSource:
    """An opened import source, with its entries in batches."""

    name: str
    batches: AsyncIterator[Iterable[ImportItem]]
    entry_count: int | None = None
    """The number of entries; None if unknown."""
    warnings: Callable[[], Sequence[SourceWarning]] = tuple
    """Returns the warnings about the source; call it after the last batch."""


async def single_batch(items: Iterable[ImportItem]) -> AsyncIterator[Iterable[ImportItem]]:
    """Return all items as one batch, which may be a generator."""
    yield items
