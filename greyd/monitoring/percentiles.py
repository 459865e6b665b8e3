"""Percentiles by the nearest rank."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = TypeVar("Value", int, float)


def percentiles(counts: Mapping[Value, float], percents: Iterable[int]) -> dict[int, Value]:
    """Return percentiles of values: the least value that so many per cent do not exceed.

    Args:
        counts: how often each value occurs; at least one does.
        percents: which percentiles, from 1 to 100.

    Returns:
        The values by per cent.
    """
    values = sorted(counts)
    ranks = list(accumulate(counts[value] for value in values))
    return {
        percent: next(
            value
            for value, rank in zip(values, ranks, strict=True)
            if rank * 100 >= percent * ranks[-1]
        )
        for percent in percents
    }
