"""A bounded cache of DNS answers, with a reserved part for answers that several networks share."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from greyd.dns.lookup import DnsAnswer, RecordType

if TYPE_CHECKING:
    from greyd.dns.fair_share import ShareKey

MAX_CACHED_ANSWERS = 20_000
"""Answers that are remembered; the one not used for longest goes."""

MAX_CACHED_BYTES = 32 * 1024 * 1024
"""What they may take together."""

UNSHARED_DIVISOR = 4
"""One in so many of them is for answers that one client network alone has asked for. They have more
only where there is room: so no stranger drives out what others share.
"""

OVERHEAD_BYTES = 400  # what a remembered answer takes beside its name and values, about


class CachedAnswer(NamedTuple):
    """What is remembered of a question."""

    answer: DnsAnswer | None
    """None: there was none to be had."""
    failure: str
    expires_at: float
    raw_bytes: int
    network: ShareKey | None = None
    """Of the client that it was asked for first."""


Question = tuple[bytes, RecordType]


class _LruAnswers:
    """Answers, that not used for longest first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Question, CachedAnswer] = OrderedDict()
        self.raw_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, question: Question) -> CachedAnswer | None:
        entry = self._entries.get(question)
        if entry is not None:
            self._entries.move_to_end(question)
        return entry

    def put(self, question: Question, entry: CachedAnswer) -> None:
        self._entries[question] = entry
        self.raw_bytes += entry.raw_bytes

    def pop(self, question: Question) -> None:
        if entry := self._entries.pop(question, None):
            self.raw_bytes -= entry.raw_bytes

    def forget_oldest(self) -> None:
        self.raw_bytes -= self._entries.popitem(last=False)[1].raw_bytes


class AnswerCache:
    """All answers: those that several client networks have asked for, and the others."""

    def __init__(self) -> None:
        self._shared, self._unshared = _LruAnswers(), _LruAnswers()

    def get(self, question: Question, network: ShareKey) -> CachedAnswer | None:
        """Return an answer for a client network."""
        if entry := self._shared.get(question):
            return entry
        entry = self._unshared.get(question)
        if entry is not None and entry.network != network:
            self._unshared.pop(question)
            self._shared.put(question, entry)
        return entry

    def put(self, question: Question, entry: CachedAnswer) -> None:
        """Remember an answer in place of the one before, and forget what is too much."""
        answers = self._unshared if self._shared.get(question) is None else self._shared
        answers.pop(question)
        answers.put(question, entry)
        while (
            len(self._shared) + len(self._unshared) > MAX_CACHED_ANSWERS
            or self._shared.raw_bytes + self._unshared.raw_bytes > MAX_CACHED_BYTES
        ):
            self._fullest.forget_oldest()

    @property
    def _fullest(self) -> _LruAnswers:
        """Of the two the one that has more than its part."""
        unshared = self._unshared
        has_more = (
            len(unshared) > MAX_CACHED_ANSWERS // UNSHARED_DIVISOR
            or unshared.raw_bytes > MAX_CACHED_BYTES // UNSHARED_DIVISOR
        )
        return unshared if has_more or not self._shared else self._shared
