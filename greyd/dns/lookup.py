"""The interface of DNS lookups: record types, answers and errors.

Names are bytes in lower case without a dot at the end. ``greyd.dns.resolver`` implements the
interface; greyd imports it only if an option needs DNS.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from greyd.errors import GreydError

if TYPE_CHECKING:
    from greyd.rules.address import Address


class DnsError(GreydError):
    """A lookup failed: the records are unknown. The text is the reason."""


class UnqueryableNameError(DnsError):
    """A valid name contains bytes that c-ares can't send; no query failed."""


class RecordType(Enum):
    """The record types that greyd queries."""

    A = "A"
    AAAA = "AAAA"
    MX = "MX"
    PTR = "PTR"
    TXT = "TXT"

    # Record types are part of each cache key, and Enum's own hash is a slow Python function.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """The records of one type that a name has."""

    values: tuple[bytes, ...] = ()
    """One value for each record. A, AAAA: the packed address (4, 16 bytes). MX: the host name, in
    the order of preference; a null MX (RFC 7505) is one empty name. PTR: the name. TXT: the
    record's strings, joined. MX and PTR records with invalid names are left out.
    """
    exists: bool = True
    """False if the name does not exist (NXDOMAIN). An existing name may still have no values."""


class Lookup(Protocol):
    """Queries the DNS."""

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name, following CNAMEs.

        An invalid name does not exist; no query is sent for it. Invalid are an empty label, a label
        of more than 63 bytes, a name of more than 253 bytes, and unprintable bytes.

        Raises:
            UnqueryableNameError: the name has bytes other than letters, digits and ``_.*/-``.
            DnsError: the lookup failed, e.g. by a time-out, SERVFAIL, REFUSED or too many lookups.
        """

    def for_client(self, _address: Address) -> Lookup:
        """Return a lookup whose queries count towards the share of a client's network."""
        return self


async def has_records(lookup: Lookup, name: bytes, *record_types: RecordType) -> bool:
    """Return whether a name has records of any of these types; query one after the other.

    Nearly every name has records of the first type, so the others are rarely needed.

    Raises:
        DnsError: a query failed, and the others found no records.
    """
    failure: DnsError | None = None
    for record_type in record_types:
        try:
            if (await lookup.query(name, record_type)).values:
                return True
        except DnsError as error:
            failure = error
    if failure is not None:
        raise failure
    return False


class DisabledLookup(Lookup):
    """Fails all queries without sending any."""

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:  # noqa: ARG002 - a Lookup's
        """Raise a ``DnsError``."""
        raise DnsError("not asked")


class LookupResult(Enum):
    """The result of a lookup; the values are labels of the metric ``greyd_dns_lookups_total``."""

    ANSWERED = "answered"
    NXDOMAIN = "nxdomain"
    NODATA = "nodata"
    FAILED = "failed"
    """SERVFAIL, REFUSED, an unreachable server, or a malformed or oversized response."""
    TIMEOUT = "timeout"
    TOO_MANY = "too many"
    """Not sent, mostly because too many lookups were queued or in flight."""
