"""Near misses and their reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.rules.address import Address


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A whitelist entry that nearly matches."""

    file: str
    line: int
    text: bytes
    why: str
    """The reason why it does not match."""


@dataclass(frozen=True, slots=True)
class ClientAttributes:
    """The attributes of a client with which entries are compared."""

    name: bytes
    """The name that resolves back to the client's address; ``unknown`` without one."""
    address: Address | None
    other_names: tuple[bytes, ...] = ()
    """Further names in the PTR records of the address, which do not resolve back to it."""
    helo: bytes = b""
    sender: bytes = b""
    unanswered_names: tuple[bytes, ...] = ()
    """Further names in the PTR records of which DNS did not say whether they resolve back."""


class Likelihood(IntEnum):
    """The kinds of near misses, in the order of how likely the author meant the client."""

    NOTATION = 0
    """The entry names the client or recipient in a notation that does not match."""
    UNCONFIRMED_NAME = 1
    OTHER_ATTRIBUTE = 2
    """The entry matches an attribute that whitelists ignore."""
    SIMILAR_PATTERN = 3
    RELATED_NAME = 4
    NEIGHBOUR = 5
    TYPO = 6


@dataclass(frozen=True, slots=True)
class MismatchReason:
    """The reason why an entry does not match, for a message."""

    likelihood: Likelihood
    text: str


def display_name(name: bytes) -> str:
    """Return the first 100 bytes of a name as text for a message."""
    return name[:100].decode("ascii", "backslashreplace")
