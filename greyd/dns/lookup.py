"""The interface of DNS lookups: record types, answers and errors.

Names are bytes in lower case without a dot at the end. ``greyd.dns.resolver`` implements the
interface; it is imported only where an option needs DNS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from greyd.errors import GreydError

if TYPE_CHECKING:
    from greyd.rules.address import Address


class DnsError(GreydError):
    """A lookup failed, so nothing is known; the text says why."""


class RecordType(Enum):
    """The record types that greyd asks for."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    PTR = "PTR"
    TXT = "TXT"

    # Record types are part of each cache key, and Enum's own hash is slow.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """The records of one type that a name has."""

    values: tuple[bytes, ...] = ()
    """A, AAAA: packed addresses (4, 16 bytes). MX, PTR: names, sorted by preference for MX; a null
    MX (RFC 7505) is one empty name. TXT: the strings of each record, joined. Names in MX and PTR
    records that are invalid in the DNS are left out.
    """
    exists: bool = True
    """False if there is no such name (NXDOMAIN); a name without such records has no values."""


class Lookup(Protocol):
    """Queries the DNS."""

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name, following CNAMEs.

        An invalid name (an empty label, a label over 63 bytes, over 253 bytes in all, unprintable
        bytes) is answered as nonexistent, without a query.

        Raises:
            DnsError: time-out, SERVFAIL, REFUSED, too many lookups and the like.
        """

    def for_client(self, _address: Address) -> Lookup:
        """Return a lookup whose queries count towards a client's share."""
        return self


class DisabledLookup(Lookup):
    """Fails all queries without sending any."""

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:  # noqa: ARG002 - a Lookup's
        """Fail."""
        raise DnsError("not asked")


class LookupResult(Enum):
    """How a lookup ended; the values are labels of a metric."""

    ANSWERED = "answered"
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    FAILED = "failed"
    """SERVFAIL, REFUSED, an unreachable server, a malformed or oversized response."""
    TIMEOUT = "timeout"
    TOO_MANY = "too many"
    """Never sent: the limit of lookups, or of the client's share, was reached."""
