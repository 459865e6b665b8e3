"""Percentiles by the nearest rank."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = TypeVar("Value", int, float)


def percentiles(counts: Mapping[Value, float], percents: Iterable[int]) -> dict[int, Value]:
    """Return percentiles of values by the nearest rank.

    The p-th percentile is the smallest value that at least p per cent of the values do not exceed.

    Args:
        counts: the number of occurrences of each value; at least one must occur.
        percents: the wanted percentiles, from 1 to 100.

    Returns:
        The value for each of ``percents``.
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
