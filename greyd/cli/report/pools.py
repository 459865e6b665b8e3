"""Finds providers that retry from several networks."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greyd.cli.report.log_report import SenderPool

if TYPE_CHECKING:
    from greyd.cli.report.candidates.provider_names import ProviderNameCollector
    from greyd.cli.report.clients import ClientGroups
    from greyd.cli.report.lost_mail import PendingTriplet

MAX_POOLS = 50_000


@dataclass(slots=True)
class _PoolTotals:
    mails: int = 0
    max_networks: int = 0
    passed: int = 0
    longest_seconds: int = 0


class PoolCounter:
    """Counts, for each provider, the mails that came from several of its networks."""

    def __init__(
        self, clients: ClientGroups, names: ProviderNameCollector, retry_window_seconds: int
    ) -> None:
        self._clients = clients
        self._names = names
        self._retry_window_seconds = retry_window_seconds
        self._pools: dict[bytes, _PoolTotals] = {}
        self.is_exact = True
        """False once a pool had to be left out."""

    def add_passed(self, pending: PendingTriplet, networks: int, seconds: int) -> None:
        """Count a mail that passed ``seconds`` after its first attempt."""
        # A pass after the retry window belongs to a later mail.
        if seconds <= self._retry_window_seconds and (pool := self._pool_of(pending, networks)):
            pool.passed += 1
            pool.longest_seconds = max(pool.longest_seconds, seconds)
            for each in pending.all():
                self._names.add(each.client_name, each.client_address)

    def add_lost(self, pending: PendingTriplet, networks: int) -> None:
        """Count a mail that never came back."""
        self._pool_of(pending, networks)

    def largest(self, number: int) -> list[SenderPool]:
        """Return up to ``number`` pools, those with the most mails first."""
        pools = [
            SenderPool(name, each.mails, each.max_networks, each.passed, each.longest_seconds)
            for name, each in self._pools.items()
        ]
        return heapq.nlargest(number, pools, key=lambda each: (each.mails, each.name))

    def _pool_of(self, pending: PendingTriplet, networks: int) -> _PoolTotals | None:
        """Add a mail to its pool, and return the pool's totals; None if it belongs to no pool."""
        # A client without a confirmed name may have proved its identity by SPF.
        domains = {
            self._clients.organisation(each.client_name) or each.identity for each in pending.all()
        }
        if len(domains) > 1 or domains == {b""}:
            # Not one provider, whose servers have names in its domain: spam comes from anywhere.
            return None
        domain = domains.pop()
        if domain not in self._pools and len(self._pools) >= MAX_POOLS:
            self.is_exact = False
            return None
        pool = self._pools.setdefault(domain, _PoolTotals())
        pool.mails += 1
        pool.max_networks = max(pool.max_networks, networks)
        return pool
