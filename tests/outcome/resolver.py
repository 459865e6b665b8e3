"""The simulated resolver: lookups for clients, which are reported when they end, and probes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from greyd.dns.fair_share import client_networks
from greyd.dns.lookup import DnsAnswer, DnsError, Lookup, RecordType
from greyd.dns.resolver import EndedLookup
from tests.outcome.zone import Fault, list_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from greyd.rules.address import Address
    from tests.outcome.clock import SimulatedClock
    from tests.outcome.zone import SimulatedDns

TIMEOUT_SECONDS = 2.1
"""When c-ares gives up, with greyd's time-outs: 0.3, 0.6 and 1.2 s."""


class SimulatedResolver(Lookup):
    """Does what greyd's resolver does for the collector and the monitor of sources."""

    def __init__(self, dns: SimulatedDns, clock: SimulatedClock) -> None:
        self._dns = dns
        self._clock = clock
        self._pending: set[asyncio.Task[DnsAnswer]] = set()
        self.on_lookup_ended: Callable[[EndedLookup], None] | None = None

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name, for a probe."""
        outage = self._dns.outage(name)
        if outage is not None and outage.fault is Fault.SILENT:
            await asyncio.sleep(TIMEOUT_SECONDS)
            raise DnsError("no answer")
        return self._dns.answer(name, record_type)

    def for_client(self, address: Address) -> Lookup:
        """Return a lookup whose end is reported for a client's network."""
        return _ClientLookup(self, client_networks(address).network)

    async def query_for_client(
        self, network: Hashable, name: bytes, record_type: RecordType
    ) -> DnsAnswer:
        """Look up a name; the lookup continues if the caller is cancelled."""
        outage = self._dns.outage(name)
        if outage is None or outage.fault is not Fault.SILENT:
            return await self._lookup(network, name, record_type)
        task = asyncio.ensure_future(self._lookup(network, name, record_type))
        self._pending.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[DnsAnswer]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()

    async def _lookup(self, network: Hashable, name: bytes, record_type: RecordType) -> DnsAnswer:
        started = self._clock.elapsed
        reason = ""
        try:
            return await self.query(name, record_type)
        except DnsError as error:
            reason = str(error)
            raise
        finally:
            if self.on_lookup_ended is not None:
                seconds = self._clock.elapsed - started
                ended = EndedLookup(list_of(name), name, network, not reason, seconds, reason)  # type: ignore[arg-type]
                self.on_lookup_ended(ended)

    # Probes -------------------------------------------------------------------------------------

    def for_probes(self) -> Lookup:
        """Return a lookup whose end is not reported."""
        return self

    async def is_answering(self) -> bool:
        """Return whether the name servers answer anything."""
        try:
            await self.query(b"com", RecordType.A)
        except DnsError:
            return False
        return True

    def forget_list(self, zone: str) -> None:
        """Do nothing: answers are not cached."""

    def forget_failures(self) -> None:
        """Do nothing: failures are not cached."""


class _ClientLookup(Lookup):
    def __init__(self, resolver: SimulatedResolver, network: Hashable) -> None:
        self._resolver = resolver
        self._network = network

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        return await self._resolver.query_for_client(self._network, name, record_type)
