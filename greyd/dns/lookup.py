"""DNS as the rest of greyd sees it: a question, its answer, and that there may be none.

Names are octets in lower case, without a dot at the end. Nothing here asks: ``greyd.dns.resolver``
does, and is imported only where an option needs it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from greyd.rules.address import Address


class DnsError(Exception):
    """There is no answer to be had, now: nothing is known. The text says why."""


class RecordType(Enum):
    """What can be asked for; the values are the record types' names."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    PTR = "PTR"
    TXT = "TXT"

    # Kinds are part of each key of the cache, and Enum's own hash is slow.
    __hash__ = object.__hash__


class DnsAnswer(NamedTuple):
    """What a name has under one kind."""

    values: tuple[bytes, ...] = ()
    """A, AAAA: packed addresses (4, 16 octets). MX, PTR: names, lower case, without the last dot;
    MX by preference, and a null MX (RFC 7505) is one empty name. TXT: a record's strings joined.
    Names in PTR and MX records that can't stand in DNS are left out.
    """
    exists: bool = True
    """False: there is no such name (NXDOMAIN). One without such records has no values."""


class Lookup(Protocol):
    """Something that can be asked."""

    async def query(self, name: bytes, kind: RecordType) -> DnsAnswer:
        """Ask for records; CNAMEs are followed.

        A name that can't stand in DNS (an empty label, a label over 63 octets, over 253 octets in
        all, something that is not printable) is answered as not existing, without asking.

        Raises:
            DnsError: time-out, SERVFAIL, REFUSED, too many lookups under way and the like.
        """

    def for_client(self, _address: Address) -> Lookup:
        """Return what asks for a client, whose share of the lookups it has."""
        return self


class DisabledLookup(Lookup):
    """Is never asked, and knows nothing."""

    async def query(self, name: bytes, kind: RecordType) -> DnsAnswer:  # noqa: ARG002 - a Lookup's
        """Say so."""
        raise DnsError("not asked")


class LookupResult(Enum):
    """How a lookup ended, as it is counted."""

    ANSWERED = "answered"
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    FAILED = "failed"
    """SERVFAIL, REFUSED, nonsense, nobody there, too large."""
    TIMEOUT = "timeout"
    TOO_MANY = "too many"
    """Not asked: as many lookups as may be are under way, of all or of the client's share."""
