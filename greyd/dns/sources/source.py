"""The state machine of a source of evidence: a DNS list, or the resolver.

::

    UP ── several failures in a row, over several networks ──▶ CHECKING
    UP, CHECKING ── the probe finds a fault ──▶ OFF
    CHECKING, OFF ── the probe finds none ──▶ UP
    CHECKING ── an answer ──▶ UP

Only lists that are ``UP`` are queried for clients; the resolver is queried unless it is ``OFF``.
Only a probe can turn a source off, and a probe queries only the list's own test entries, so no
client can turn a source off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from greyd.dns.lists.families import family_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from greyd.dns.sources.faults import SourceFault

MIN_FAILURES = 3
"""Number of failures in a row after which a source is probed."""

MIN_NETWORKS = 2
"""With failures of at least this many client networks, the source is not queried during a probe."""

MAX_KEPT = 4
"""Maximum number of different networks, and of domains, to keep of the failures."""

PROOF_SECONDS = 30.0
"""Listings count for this long after a probe that found no fault."""
MIN_PROOF_SECONDS = 2.0
MAX_LISTINGS_PER_PROOF = 5
"""After this many listings the next one needs a new probe, if the last is older than
``MIN_PROOF_SECONDS``: a list that begins to list everything does so often, and each good sender
that it lists meanwhile waits for the list's delay.
"""


class SourceState(Enum):
    """The states of a source."""

    UP = "up"
    CHECKING = "checking"
    """Queries of several client networks have failed in a row, and a probe is under way."""
    OFF = "off"
    """Out of order."""


@dataclass(slots=True)
class Source:
    """A source and its state. The time is that of a monotonic clock, in seconds."""

    name: str
    """The zone as shown, or ``RESOLVER``."""
    state: SourceState = SourceState.UP
    fault: SourceFault | None = None
    """The fault of the last probe, if it found one."""
    off_since: float | None = None
    failed_probe_count: int = 0
    """The number of probes in a row that found a fault."""
    answered_at: float = float("-inf")
    """The time of the last answer to a client's lookup."""
    min_domains: int = 1
    """Minimum number of registered domains among the failures before a probe."""
    failure_count: int = 0
    """The number of failures since the last answer."""
    networks: set[Hashable] = field(default_factory=set)
    """Some client networks that had these failures."""
    domains: set[bytes] = field(default_factory=set)
    """Some registered domains that these lookups were about."""

    @property
    def is_up(self) -> bool:
        """Whether the source is queried for clients."""
        return self.state is SourceState.UP

    def answered(self, now: float) -> None:
        """Record an answer to a client's lookup, whatever its content."""
        self.answered_at = now
        if self.failure_count:
            self._forget_failures()
        if self.state is SourceState.CHECKING:
            self.state = SourceState.UP

    def failed(self, network: Hashable, domain: bytes) -> bool:
        """Record a lookup without an answer; return whether the source should be probed."""
        self.failure_count += 1
        if len(self.networks) < MAX_KEPT:
            self.networks.add(network)
        if len(self.domains) < MAX_KEPT:
            self.domains.add(domain)
        if (
            self.state is not SourceState.UP
            or self.failure_count < MIN_FAILURES
            or len(self.domains) < self.min_domains
        ):
            return False
        if len(self.networks) >= MIN_NETWORKS:
            self.state = SourceState.CHECKING
        return True

    def probed(self, fault: SourceFault | None, now: float) -> None:
        """Record the result of a probe; ``fault`` is None if the source is in order."""
        self.fault = fault
        self._forget_failures()
        if fault is None:
            self.failed_probe_count, self.off_since = 0, None
            self.state = SourceState.UP
        else:
            self.failed_probe_count += 1
            self.off_since = now if self.off_since is None else self.off_since
            self.state = SourceState.OFF

    def _forget_failures(self) -> None:
        self.failure_count = 0
        self.networks.clear()
        self.domains.clear()


@dataclass(slots=True)
class ListSource(Source):
    """A DNS list, and what its probes have shown."""

    lists_addresses: bool = True
    """Whether it is a list of addresses (--dnsbl, --dnswl)."""
    lists_domains: bool = False
    """Whether it is a list of domains (--rhsbl)."""
    has_test_entry: bool = False
    """Whether the test entry must exist: the operator says so, or a probe has found it."""
    asks_ipv6: bool = False
    """Whether an IPv6 client has been listed: then probes include the IPv6 test addresses."""
    proven_at: float = float("-inf")
    """When a probe found the list in order; for IPv6 only if that probe covered it."""
    listing_count: int = 0
    """The number of listings since then."""

    def is_proven(self, now: float) -> bool:
        """Whether a listing counts now, without another probe."""
        if not self.is_up:
            return False
        age_seconds = now - self.proven_at
        if self.listing_count < MAX_LISTINGS_PER_PROOF:
            return age_seconds <= PROOF_SECONDS
        return age_seconds <= MIN_PROOF_SECONDS

    def probed(self, fault: SourceFault | None, now: float) -> None:
        """Record the result of a probe; without a fault, listings count for a while."""
        # Without super(): a dataclass with slots is another class than the one in its methods.
        Source.probed(self, fault, now)
        if fault is None:
            self.proven_at, self.listing_count = now, 0


def list_source(name: str, *, addresses: bool, domains: bool) -> ListSource:
    """Return the source for a zone, in the state ``UP``."""
    return ListSource(
        name,
        lists_addresses=addresses,
        lists_domains=domains,
        has_test_entry=family_of(name).has_test_entry,
    )
