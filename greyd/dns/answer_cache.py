"""A bounded LRU cache of DNS answers that no single client network can fill.

The cache has two parts. A new answer enters the unshared part. When a second client network asks
for it, the answer moves to the shared part. A full cache evicts from the unshared part first, until
that part holds only ``1 / UNSHARED_DIVISOR`` of the limits.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from greyd.dns.fair_share import ShareKey
    from greyd.dns.lookup import DnsAnswer, RecordType

MAX_CACHED_ANSWERS = 20_000

MAX_CACHED_BYTES = 32 * 1024 * 1024

UNSHARED_DIVISOR = 4
"""A full cache keeps ``1 / UNSHARED_DIVISOR`` of its limits for answers that only one network has
asked for. So the queries of one client cannot evict the answers that other clients share.
"""


class Question(NamedTuple):
    """A DNS question: name and record type. A tuple, because it is the key of the cache."""

    name: bytes
    record_type: RecordType


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """The answer to a question, or the reason why the lookup failed."""

    answer: DnsAnswer | None
    """None if the lookup failed."""
    failure: str = ""
    """The reason, if the lookup failed."""
    expires_at: float = 0
    """When the answer expires, by the resolver's monotonic clock, in seconds."""
    size_bytes: int = 0
    network: ShareKey | None = None
    """The network of the first client that asked the question."""


class AnswerCache:
    """Caches answers. Expired answers stay until they are replaced or evicted."""

    def __init__(self) -> None:
        self._shared, self._unshared = _LruAnswers(), _LruAnswers()

    def get(self, question: Question, network: ShareKey) -> CachedAnswer | None:
        """Return the answer to a question, even if it has expired; None if it is not cached.

        If another network was the first to ask the question, the answer becomes a shared one.
        """
        if entry := self._shared.get(question):
            return entry
        entry = self._unshared.get(question)
        if entry is not None and entry.network != network:
            self._unshared.pop(question)
            self._shared.put(question, entry)
        return entry

    def put(self, question: Question, entry: CachedAnswer) -> None:
        """Store an answer in place of an older one, then evict answers until both limits hold."""
        answers = self._unshared if self._shared.get(question) is None else self._shared
        answers.pop(question)
        answers.put(question, entry)
        while (
            len(self._shared) + len(self._unshared) > MAX_CACHED_ANSWERS
            or self._shared.size_bytes + self._unshared.size_bytes > MAX_CACHED_BYTES
        ):
            self._part_to_shrink.evict_oldest()

    def remove_below(self, suffix: bytes) -> None:
        """Remove the answers about all names that end with ``suffix``."""
        for part in (self._shared, self._unshared):
            part.remove_below(suffix)

    @property
    def _part_to_shrink(self) -> _LruAnswers:
        unshared = self._unshared
        exceeds_its_part = (
            len(unshared) > MAX_CACHED_ANSWERS // UNSHARED_DIVISOR
            or unshared.size_bytes > MAX_CACHED_BYTES // UNSHARED_DIVISOR
        )
        return unshared if exceeds_its_part or not self._shared else self._shared


class _LruAnswers:
    """Answers in the order of their last use, and their total size in bytes."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Question, CachedAnswer] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question) -> CachedAnswer | None:
        entry = self._entries.get(question)
        if entry is not None:
            self._entries.move_to_end(question)
        return entry

    def put(self, question: Question, entry: CachedAnswer) -> None:
        self._entries[question] = entry
        self.size_bytes += entry.size_bytes

    def pop(self, question: Question) -> None:
        if entry := self._entries.pop(question, None):
            self.size_bytes -= entry.size_bytes

    def evict_oldest(self) -> None:
        _, entry = self._entries.popitem(last=False)
        self.size_bytes -= entry.size_bytes

    def remove_below(self, suffix: bytes) -> None:
        for question in [each for each in self._entries if each.name.endswith(suffix)]:
            self.pop(question)
