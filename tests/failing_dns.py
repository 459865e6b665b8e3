"""A resolver for quick tests whose lists fail, and which reports lookups as greyd's does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from greyd.dns.fair_share import client_networks
from greyd.dns.lookup import DnsAnswer, DnsError, Lookup, RecordType
from greyd.dns.resolver import EndedLookup
from tests.fake_dns import FakeDns, addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from greyd.rules.address import Address

WHOLE_DNS = ""
"""Stands for all names, in the place of a list."""

GIVING_UP_SECONDS = 2.1
"""When c-ares gives up, with greyd's time-outs: 0.3, 0.6 and 1.2 s."""


class Failure(Enum):
    """What a list or a resolver that is out of order answers to every question."""

    NOTHING = "nothing"
    SERVFAIL = "SERVFAIL"
    ERROR_CODE = "127.255.255.254"
    FOREIGN_ADDRESS = "192.0.2.1"
    LISTS_EVERYTHING = "127.0.0.2"
    NO_SUCH_NAME = "no such name"


@dataclass
class FailingDns(Lookup):
    """Answers as ``world`` does, except for what fails."""

    world: FakeDns
    zones: tuple[str, ...]
    """The lists."""
    failures: dict[str, Failure] = field(default_factory=dict)
    """By the name of a list, or ``WHOLE_DNS``."""
    slow_names: set[bytes] = field(default_factory=set)
    """The names that nobody answers for."""
    on_lookup_ended: Callable[[EndedLookup], None] | None = None
    _pending: set[asyncio.Task[DnsAnswer]] = field(default_factory=set)

    def for_client(self, address: Address) -> Lookup:
        """Return a lookup whose end is reported for a client's network."""
        return _ClientLookup(self, client_networks(address).network)

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Return the records of a name, without a report."""
        failure = self.failures.get(WHOLE_DNS) or self.failures.get(self.zone_of(name))
        if failure is Failure.NOTHING or name in self.slow_names:
            await asyncio.sleep(GIVING_UP_SECONDS)
            raise DnsError("no answer")
        if failure is Failure.SERVFAIL:
            raise DnsError("SERVFAIL")
        if failure is Failure.NO_SUCH_NAME:
            return DnsAnswer(exists=False)
        if failure is not None:
            return addresses(failure.value)
        return await self.world.query(name, record_type)

    def zone_of(self, name: bytes) -> str:
        """Return the list that a name is below; empty if there is none."""
        return next((each for each in self.zones if name.endswith(b"." + each.encode())), "")

    async def query_for(self, network: Hashable, name: bytes, record_type: RecordType) -> DnsAnswer:
        """Look up a name for a client; the lookup goes on if nobody waits for it any more."""
        task = asyncio.ensure_future(self._reported(network, name, record_type))
        self._pending.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[DnsAnswer]) -> None:
        self._pending.discard(task)
        if not task.cancelled():
            task.exception()

    async def _reported(self, network: Hashable, name: bytes, record_type: RecordType) -> DnsAnswer:
        now = asyncio.get_running_loop().time
        started_at, reason = now(), ""
        try:
            return await self.query(name, record_type)
        except DnsError as error:
            reason = str(error)
            raise
        finally:
            if self.on_lookup_ended is not None:
                zone, seconds = self.zone_of(name), now() - started_at
                self.on_lookup_ended(
                    EndedLookup(zone, name, network, not reason, seconds, reason)  # type: ignore[arg-type]
                )

    # A monitor's probes -------------------------------------------------------------------------

    def for_probes(self) -> Lookup:
        """Return this resolver: it keeps no answers."""
        return self

    async def is_answering(self) -> bool:
        """Return whether the name servers answer anything."""
        if WHOLE_DNS not in self.failures:
            return True
        await asyncio.sleep(GIVING_UP_SECONDS)  # Lookups may end meanwhile.
        return False

    def forget_failures(self) -> None:
        """Do nothing: it keeps no answers."""

    def forget_list(self, zone: str) -> None:
        """Do nothing: it keeps no answers."""


@dataclass
class _ClientLookup(Lookup):
    dns: FailingDns
    network: Hashable

    async def query(self, name: bytes, record_type: RecordType) -> DnsAnswer:
        return await self.dns.query_for(self.network, name, record_type)
