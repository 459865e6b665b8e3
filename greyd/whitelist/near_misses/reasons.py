"""Near misses and the reasons for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greyd.rules.address import Address


@dataclass(frozen=True, slots=True)
class NearMiss:
    """An entry that nearly matches."""

    file: str
    line: int
    text: bytes
    why: str
    """Why it does not match."""


@dataclass(frozen=True, slots=True)
class ClientAttributes:
    """The names and addresses that a client comes with."""

    name: bytes
    """The name that Postfix has confirmed; ``unknown`` without one."""
    address: Address | None
    other_names: tuple[bytes, ...] = ()
    """The address's further names in DNS, which are not confirmed."""
    helo: bytes = b""
    sender: bytes = b""


class Likelihood(IntEnum):
    """How likely it is that the author meant this client or recipient; the likeliest first."""

    NOTATION = 0
    """The entry means it, but is written in a way that does not match."""
    UNCONFIRMED_NAME = 1
    OTHER_ATTRIBUTE = 2
    """The entry matches an attribute that whitelists ignore."""
    SIMILAR_PATTERN = 3
    RELATED_NAME = 4
    NEIGHBOUR = 5
    TYPO = 6


@dataclass(frozen=True, slots=True)
class MismatchReason:
    """Why an entry does not match."""

    likelihood: Likelihood
    text: str


def display_name(name: bytes) -> str:
    """Return a name as text, shortened."""
    return name[:100].decode("ascii", "backslashreplace")
