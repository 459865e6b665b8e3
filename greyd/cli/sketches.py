"""Counts many names in bounded memory: exactly while they are few, then approximately.

Each class shows whether its counts are exact: ``is_exact``, or a ``max_error`` of 0.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_SAMPLE = 100_000
"""The maximum number of hashes in a ``DistinctCounter``."""
MAX_TOTALS = 50_000
"""The maximum number of names in a ``LargestTotals``."""
MAX_FREQUENT_NAMES = 20_000
"""The maximum number of names in a ``FrequentNames``."""


@dataclass(frozen=True, slots=True)
class DistinctCount:
    """The number of different values."""

    count: int
    is_exact: bool


class DistinctCounter:
    """Counts different values: exactly while they are few, then from a sample (Wegman 1984).

    The sample contains the hashes that end in a certain number of zero bits. Whenever the sample
    exceeds its limit, that number grows by one.
    """

    def __init__(self, max_sample: int | None = None) -> None:
        self._max_sample = max_sample or MAX_SAMPLE
        self._mask = 0
        self._sample: set[int] = set()

    def add_all(self, values: Iterable[bytes]) -> None:
        """Count values; the counter ignores those that it has counted before."""
        hashes = set(map(hash, values))
        self._sample |= self._thin(hashes) if self._mask else hashes
        while len(self._sample) > self._max_sample:
            self._mask = self._mask * 2 + 1
            self._sample = self._thin(self._sample)

    def _thin(self, hashes: set[int]) -> set[int]:
        mask = self._mask
        return {each for each in hashes if not each & mask}

    def result(self) -> DistinctCount:
        """Return the number of different values."""
        return DistinctCount(len(self._sample) * (self._mask + 1), is_exact=not self._mask)


@dataclass(slots=True)
class Total:
    """The sums of one name."""

    name: bytes
    count: int = 0
    seconds: int = 0
    longest_seconds: int = 0


class LargestTotals:
    """Adds up totals by name; at the limit of names, drops the half with the smallest totals."""

    def __init__(self, max_totals: int | None = None) -> None:
        self._max_totals = max_totals or MAX_TOTALS
        self._totals: dict[bytes, Total] = {}
        self.is_exact = True
        """False once a name has been dropped."""

    def add(self, name: bytes, *, count: int = 1, seconds: int = 0) -> None:
        """Add a count and seconds to the totals of a name."""
        total = self._totals.get(name)
        if total is None:
            if len(self._totals) >= self._max_totals:
                self._totals = {each.name: each for each in self.largest(self._max_totals // 2)}
                self.is_exact = False
            total = self._totals[name] = Total(name)
        total.count += count
        total.seconds += seconds
        total.longest_seconds = max(total.longest_seconds, seconds)

    def largest(self, number: int) -> list[Total]:
        """Return the largest totals, sorted by seconds, then by count."""
        return heapq.nlargest(
            number, self._totals.values(), key=lambda each: (each.seconds, each.count, each.name)
        )


class FrequentNames:
    """Counts the most frequent names, with a known maximum error (Misra and Gries 1982).

    At the limit of names, the algorithm lowers all counts by one for each new name. This variant
    lowers all counts by their median at once, which removes half of the names.
    """

    def __init__(self, max_names: int | None = None) -> None:
        self._max_names = max_names or MAX_FREQUENT_NAMES
        self._counts: Counter[bytes] = Counter()
        self.max_error = 0
        """The most by which a count may be too small."""

    def add(self, name: bytes) -> None:
        """Count a name once more."""
        self._counts[name] += 1
        if len(self._counts) > self._max_names:
            self._lower_counts()

    def _lower_counts(self) -> None:
        median = sorted(self._counts.values())[len(self._counts) // 2]
        self._counts = Counter(
            {name: count - median for name, count in self._counts.items() if count > median}
        )
        self.max_error += median

    def largest(self, number: int) -> list[tuple[bytes, int]]:
        """Return the most frequent names with their counts, the highest count first."""
        return heapq.nlargest(number, self._counts.items(), key=lambda each: (each[1], each[0]))
