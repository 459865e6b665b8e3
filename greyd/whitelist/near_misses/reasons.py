"""Why an entry nearly matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from greyd.rules.address import Address


class NearMiss(NamedTuple):
    """An entry that nearly matches."""

    file: str
    line: int
    text: bytes
    why: str
    """What keeps it from matching."""


class ClientNames(NamedTuple):
    """A client, and what comes with it beside its name and address."""

    name: bytes
    """As Postfix has confirmed it; ``unknown`` where it has not."""
    address: Address | None
    other_names: tuple[bytes, ...] = ()
    """That the address has in DNS, and that do not count."""
    helo: bytes = b""
    sender: bytes = b""


class Reason(NamedTuple):
    """Why an entry does not match."""

    rank: int
    """The more likely reason has the smaller one."""
    text: str


WRITTEN, UNCONFIRMED, OTHER_THING, PATTERN, RELATED, NEIGHBOUR, TYPO = range(7)


def display_name(name: bytes) -> str:
    """Return a name as text, shortened."""
    return name[:100].decode("ascii", "backslashreplace")
