"""The records that are stored: triplets, clients and identities, as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from greyd.config.settings import Settings


# Records ----------------------------------------------------------------------------------------


class Triplet(NamedTuple):
    """What is remembered of a triplet."""

    first_seen: int
    last_seen: int
    passed_at: int | None = None

    def dump(self) -> bytes:
        """Return the record's text."""
        if self.passed_at is not None:
            return b"%d,%d,%d" % (self.first_seen, self.last_seen, self.passed_at)
        if self.last_seen != self.first_seen:
            return b"%d,%d" % self[:2]
        return b"%d" % self.first_seen

    @classmethod
    def load(cls, text: bytes) -> Triplet | None:
        """Read a record; None for one that can't be read."""
        numbers = _numbers(text)
        if not numbers:
            return None
        first = numbers[0]
        last = numbers[1] if len(numbers) > 1 else first
        return cls(first, last, numbers[2] if len(numbers) > 2 else None)


class Client(NamedTuple):
    """What is remembered of a client: how often it came back as it should."""

    successes: int
    last_counted: int

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d" % self

    @classmethod
    def load(cls, text: bytes) -> Client | None:
        """Read a record; None for one that can't be read."""
        numbers = _numbers(text)
        return cls(numbers[0], numbers[1]) if len(numbers) > 1 else None

    def once_more(self, now: int) -> Client:
        """Return it with one success more."""
        return Client(self.successes + 1, now)


class Identity(NamedTuple):
    """What is remembered of an identity: how often it came back, and over which time."""

    successes: int
    last_counted: int
    first_counted: int

    def dump(self) -> bytes:
        """Return the record's text."""
        return b"%d,%d,%d" % self

    @classmethod
    def load(cls, text: bytes) -> Identity | None:
        """Read a record; None for one that can't be read."""
        numbers = _numbers(text)
        return cls(*numbers[:3]) if len(numbers) > 2 else None

    def once_more(self, now: int) -> Identity:
        """Return it with one success more; one without any begins now."""
        return Identity(self.successes + 1, now, self.first_counted if self.successes else now)

    def has_earned_its_pass(self, settings: Settings) -> bool:
        """Whether it has kept its word often enough, and over days."""
        days = self.last_counted - self.first_counted
        return (
            0 < settings.auto_whitelist_identities <= self.successes
            and days >= settings.identity_age_seconds
        )


# A number of more digits is none: cut off it would be another one.
_NUMBERS = re.compile(rb"-?[0-9]{1,15}(?:,-?[0-9]{1,15})*(?!,?-?[0-9])")


def _numbers(text: bytes) -> list[int]:
    """Return the leading numbers of a record; what a newer version has added is left out."""
    numbers = _NUMBERS.match(text)
    return [int(number) for number in numbers[0].split(b",")] if numbers else []
