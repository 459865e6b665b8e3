"""The queries of probes, which bypass the cache and the shares of the clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiodns
import pycares

from greyd.dns.lists.zones import queried_name
from greyd.dns.lookup import DnsAnswer, DnsError, Lookup, LookupResult
from greyd.dns.responses import (
    QUERYABLE_NAME,
    CnameRedirect,
    LookupOutcome,
    error_outcome,
    read_response,
)

if TYPE_CHECKING:
    from greyd.dns.channels import DnsChannels
    from greyd.dns.lists.zones import ListZones
    from greyd.dns.lookup import RecordType

MAX_PROBE_CNAMES = 3
"""Maximum number of further queries per probe, one for each answer that ends in a CNAME."""

MAX_PROBE_TTL_SECONDS = 60.0

RESOLVER_QUESTIONS = ((".", "NS"), ("com", "NS"))
"""The questions that any resolver can answer. Two, because some resolvers refuse the first."""


class ProbeLookup(Lookup):
    """Queries the name servers anew each time."""

    def __init__(self, channels: DnsChannels, zones: ListZones) -> None:
        """Create a lookup that sends its queries through ``channels``."""
        self._channels = channels
        self._zones = zones

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name, see ``greyd.dns.lookup.Lookup``."""
        target = queried_name(name, self._zones.zone_of(name))
        for _ in range(1 + MAX_PROBE_CNAMES):
            outcome = await self._query(target, record_type)
            if not isinstance(outcome, CnameRedirect):
                return _answer(name, record_type, outcome)
            target = outcome.target
        raise DnsError(f"{record_type.value} of {name.decode('ascii')}: too many CNAMEs")

    async def _query(self, name: bytes, record_type: RecordType) -> LookupOutcome | CnameRedirect:
        if not QUERYABLE_NAME.fullmatch(name):
            raise DnsError("a name that can't be queried")
        try:
            response = await self._channels.query_uncached(name.decode("ascii"), record_type.value)
        except (pycares.AresError, aiodns.error.DNSError) as error:
            return error_outcome(error, MAX_PROBE_TTL_SECONDS)
        return read_response(response, name, record_type, MAX_PROBE_TTL_SECONDS)

    async def is_answered(self, name: str, record_type: str) -> bool:
        """Return whether any server gives any response other than SERVFAIL or REFUSED."""
        try:
            await self._channels.query_uncached(name, record_type)
        except (pycares.AresError, aiodns.error.DNSError) as error:
            return not error_outcome(error, MAX_PROBE_TTL_SECONDS).is_server_failure
        return True


def _answer(name: bytes, record_type: RecordType, outcome: LookupOutcome) -> DnsAnswer:
    if outcome.result in (LookupResult.FAILED, LookupResult.TIMEOUT):
        raise DnsError(f"{record_type.value} of {name.decode('ascii')}: {outcome.failure}")
    return DnsAnswer(outcome.values, outcome.result is not LookupResult.NXDOMAIN)
