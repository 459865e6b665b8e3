"""The stored records of triplets, clients and identities. Times are in seconds since 1970."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from greyd.config.settings import Settings


class RememberedRecords(NamedTuple):
    """The texts stored under a request's keys; None where no record exists or none was read.

    The fields are those of ``Keys``, in the same order. This and the records below are tuples,
    because each request creates them.
    """

    triplet: bytes | None = None
    client: bytes | None = None
    identity_triplet: bytes | None = None
    identity: bytes | None = None
    correspondence: bytes | None = None


class Triplet(NamedTuple):
    """The record of a triplet."""

    first_seen: int
    last_seen: int
    passed_at: int | None = None
    """When it passed for the first time; None if it has not, or in a record without this field."""

    def dump(self) -> bytes:
        """Return the record's text."""
        if self.passed_at is not None:
            return b"%d,%d,%d" % (self.first_seen, self.last_seen, self.passed_at)
        if self.last_seen != self.first_seen:
            return b"%d,%d" % (self.first_seen, self.last_seen)
        return b"%d" % self.first_seen

    @classmethod
    def load(cls, text: bytes) -> Triplet | None:
        """Return the record in ``text``; None if it is damaged."""
        numbers = _numbers(text)
        if not numbers:
            return None
        first_seen, *others = numbers
        last_seen = others[0] if others else first_seen
        return cls(first_seen, last_seen, others[1] if len(others) > 1 else None)


class Client(NamedTuple):
    """The record of a client: its number of successful retries, counted at most once an hour."""

    successes: int
    last_counted: int

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d" % (self.successes, self.last_counted)

    @classmethod
    def load(cls, text: bytes) -> Client | None:
        """Return the record in ``text``; None if it is damaged."""
        numbers = _numbers(text)
        if len(numbers) < 2:
            return None
        successes, last_counted, *_ = numbers
        return cls(successes, last_counted)

    def with_success(self, now: int) -> Client:
        """Return the record with one more success."""
        return Client(self.successes + 1, now)


class Identity(NamedTuple):
    """The record of an identity: its number of successful retries, and the first counted one."""

    successes: int
    last_counted: int
    first_counted: int

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d,%d" % (self.successes, self.last_counted, self.first_counted)

    @classmethod
    def load(cls, text: bytes) -> Identity | None:
        """Return the record in ``text``; None if it is damaged."""
        numbers = _numbers(text)
        if len(numbers) < 3:
            return None
        successes, last_counted, first_counted, *_ = numbers
        return cls(successes, last_counted, first_counted)

    def with_success(self, now: int) -> Identity:
        """Return the record with one more success; the first one sets ``first_counted``."""
        return Identity(self.successes + 1, now, self.first_counted if self.successes else now)

    def is_auto_whitelisted(self, settings: Settings) -> bool:
        """Whether the identity passes at once: it has enough successes, over a long enough time."""
        age_seconds = self.last_counted - self.first_counted
        return (
            0 < settings.auto_whitelist_identities <= self.successes
            and age_seconds >= settings.identity_age_seconds
        )


# A record with a number of more than 15 digits is invalid: cut off, it would be another number.
_NUMBERS = re.compile(rb"-?[0-9]{1,15}(?:,-?[0-9]{1,15})*(?!,?-?[0-9])")


def _numbers(text: bytes) -> list[int]:
    """Return the numbers at the beginning of a record; text after them is ignored."""
    numbers = _NUMBERS.match(text)
    return [int(number) for number in numbers[0].split(b",")] if numbers else []
