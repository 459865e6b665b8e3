"""The stored records of triplets, clients and identities. Times are in seconds since 1970."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.config.settings import Settings


SINGLE_NETWORK_AGE_FACTOR = 7
"""How many times ``--identity-age`` an identity needs whose mail all came from one network.

Anyone with one address can retry for a day; a provider sends from several networks.
"""


class RememberedRecords(NamedTuple):
    """The texts stored under a request's keys; None where no record exists or none was read.

    This and the records below are tuples, because each request creates them.
    """

    triplet: bytes | None = None
    client: bytes | None = None
    others: Mapping[bytes, bytes | None] = MappingProxyType({})
    """The texts of identities, their triplets and correspondences, by key."""

    @classmethod
    def under(cls, keys: Sequence[bytes], texts: Sequence[bytes | None]) -> RememberedRecords:
        """Return the records with the ``texts`` stored under ``keys``, as of ``keys_to_read``."""
        if len(keys) <= 2:
            return cls(texts[0], texts[1] if len(texts) > 1 else None)
        return cls(texts[0], texts[1], dict(zip(keys, texts, strict=True)))


class Triplet(NamedTuple):
    """The record of a triplet."""

    first_seen: int
    last_seen: int
    passed_at: int | None = None
    """When it passed for the first time; None if it has not, or in a record without this field."""
    released_at: int | None = None
    """When ``greyd release`` let its next attempt pass; None without that.

    In the record it follows the numbers, where versions that do not know it ignore it: for them the
    triplet waits for its delay.
    """

    def dump(self) -> bytes:
        """Return the record's text."""
        if self.released_at is not None:
            return b"%b;released=%d" % (self._replace(released_at=None).dump(), self.released_at)
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
        released_at = _released_at(text) if b";" in text else None
        return cls(first_seen, last_seen, others[1] if len(others) > 1 else None, released_at)


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
    """The record of an identity: its successes, which are its successful retries and clean mails.

    ``network`` and ``network_count`` are missing in older records.
    """

    successes: int
    """Counted at most once an hour."""
    last_counted: int
    first_counted: int
    network: int = 0
    """A checksum of the client network of the first success; 0 if it is unknown."""
    network_count: int = 0
    """1 if all successes came from one network, 2 for several, 0 if it is unknown."""

    def dump(self) -> bytes:
        """Return the record's text."""
        if not self.network_count:
            return b"%d,%d,%d" % self[:3]
        return b"%d,%d,%d,%d,%d" % self

    @classmethod
    def load(cls, text: bytes) -> Identity | None:
        """Return the record in ``text``; None if it is damaged."""
        numbers = _numbers(text)
        if len(numbers) < 3:
            return None
        successes, last_counted, first_counted, *networks = numbers
        if len(networks) < 2:
            return cls(successes, last_counted, first_counted)
        return cls(successes, last_counted, first_counted, *networks[:2])

    def with_success(self, now: int, network: int) -> Identity:
        """Return the record with one more success; the first one sets ``first_counted``.

        Args:
            now: the time.
            network: a checksum of the client's network.
        """
        if not self.successes:
            return Identity(1, now, now, network, 1)
        if not self.network_count:
            return Identity(self.successes + 1, now, self.first_counted, network, 1)
        count = self.network_count if network == self.network else 2
        return Identity(self.successes + 1, now, self.first_counted, self.network, count)

    def is_auto_whitelisted(self, settings: Settings) -> bool:
        """Whether the identity passes at once.

        It needs enough successes, over a long enough time, and from at least two networks. Without
        the second network it needs ``SINGLE_NETWORK_AGE_FACTOR`` times as long.
        """
        needed_age_seconds = settings.identity_age_seconds
        if self.network_count < 2:
            needed_age_seconds *= SINGLE_NETWORK_AGE_FACTOR
        age_seconds = self.last_counted - self.first_counted
        return (
            0 < settings.auto_whitelist_identities <= self.successes
            and age_seconds >= needed_age_seconds
        )


# A record with a number of more than 15 digits is invalid: cut off, it would be another number.
_NUMBERS = re.compile(rb"-?[0-9]{1,15}(?:,-?[0-9]{1,15})*(?!,?-?[0-9])")


_RELEASED = re.compile(rb"[0-9,-]+;released=([0-9]{1,15})(?![0-9])")


def _released_at(text: bytes) -> int | None:
    """Return the time of the release in a triplet's record; None without one."""
    released = _RELEASED.match(text)
    return int(released[1]) if released else None


def _numbers(text: bytes) -> list[int]:
    """Return the numbers at the beginning of a record; text after them is ignored."""
    numbers = _NUMBERS.match(text)
    return [int(number) for number in numbers[0].split(b",")] if numbers else []
