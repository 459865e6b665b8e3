"""A simulated server: the server's own policy with other settings, at another time.

Only the policy's surroundings differ: a store in memory, an observer that keeps the last decision,
and a collector whose evidence is known already.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from greyd.policy.observers import Observer, Observers
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.rules.address import Address, parse_address
from greyd.rules.evidence import NO_EVIDENCE
from greyd.rules.keys import Keys, request_keys
from greyd.rules.reasons import Category, Reason
from greyd.rules.records import Client, Identity, Triplet
from greyd.store.contract import TransactionalStore
from greyd.whitelist.matcher import Whitelists

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.policy.events import DecisionEvent
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request
    from greyd.rules.transaction import Answer, Rule
    from greyd.store.contract import DoneCallback
    from greyd.whitelist.entries import WhitelistEntry

_KNOWN_FOR_SECONDS = 86400
"""What was known when the log began is assumed to have begun so long before."""

KNOWN_BEFORE = frozenset(
    reason for reason in Reason if reason.category in (Category.KNOWN, Category.AUTO_WHITELISTED)
)
"""Reasons that depend on what a server remembers."""


class SimulatedServer:
    """One server, in simulated time."""

    def __init__(self, settings: Settings, whitelists: Whitelists) -> None:
        """Start with an empty store."""
        # Plain keys lead to the same decisions as hashes, only faster.
        settings = replace(settings, test_time=True, privacy=False, privacy_key=None)
        self.settings = settings
        self._store = _SimulatedStore()
        self._observer = _LastReason()
        self._known = _KnownEvidence()
        collector = self._known if settings.needs_evidence else None
        self._policy = Policy(
            settings, whitelists, self._store, Observers(self._observer), collector
        )

    def decide(self, request: Request, now: int, evidence: Evidence) -> Reason:
        """Return the decision on a request.

        Args:
            request: as Postfix sends it, with ``now`` as its ``policy_test_time``.
            now: the time, in epoch seconds.
            evidence: what is known of the client.
        """
        self._known.evidence = evidence
        self._store.now = now
        self._policy.answer(request, PendingReply(_ignore))
        return self._observer.reason

    def learn_outbound(self, request: Request, now: int) -> None:
        """Learn from outbound mail of a local user."""
        user = request._replace(policy_context=b"outbound", sasl_username=b"user")
        self.decide(user, now, NO_EVIDENCE)

    # What was known before ----------------------------------------------------------------------

    def remembers(self, request: Request, reason: Reason, evidence: Evidence) -> bool:
        """Return whether the store has an entry by which a request can pass for this reason."""
        address, keys = self._keys(request, evidence)
        if address is None or keys is None:
            return True
        wanted = {
            Reason.CLIENT_AWL: keys.client,
            Reason.IDENTITY_AWL: keys.identity,
            Reason.CORRESPONDENT: keys.correspondence,
        }.get(reason, keys.triplet)
        return not wanted or wanted in self._store.records

    def assume_known(self, request: Request, reason: Reason, now: int, evidence: Evidence) -> None:
        """Store what a server must have known that let a request pass for this reason."""
        _, keys = self._keys(request, evidence)
        if keys is None:
            return
        settings, records, began = self.settings, self._store.records, now - _KNOWN_FOR_SECONDS
        lives = now + settings.max_age_seconds
        known: dict[bytes, bytes] = {}
        if reason is Reason.CLIENT_AWL:
            known[keys.client] = Client(max(settings.auto_whitelist_clients, 1), now).dump()
        elif reason is Reason.IDENTITY_AWL:
            times = max(settings.auto_whitelist_identities, 1)
            known[keys.identity] = Identity(times, now, now - settings.identity_age_seconds).dump()
        elif reason is Reason.CORRESPONDENT:
            known[keys.correspondence] = b"%d" % began
        else:
            began = min(began, now - settings.longest_delay_seconds)
            passed = Triplet(began, now - 1, now - 1).dump()
            known = {keys.triplet: passed, keys.identity_triplet: passed}
        for key, value in known.items():
            if key:
                records.setdefault(key, (value, lives))

    def _keys(self, request: Request, evidence: Evidence) -> tuple[Address | None, Keys | None]:
        address = parse_address(request.client_address or b"")
        if address is None:
            return None, None
        sender, recipient = request.sender or b"", request.recipient or b""
        return address, request_keys(address, sender, recipient, self.settings, evidence)


def _ignore(_: bytes | None) -> None:
    """Drop the reply: the observer keeps the reason."""


class _KnownEvidence:
    """A collector that returns evidence that is known already."""

    evidence: Evidence = NO_EVIDENCE

    def collect(
        self, _request: Request, _address: Address, found: Callable[[Evidence], None]
    ) -> None:
        found(self.evidence)

    def close(self) -> None:
        """Do nothing: no query is under way."""


class CachingWhitelists(Whitelists):
    """Whitelists that cache their matches: a log repeats clients and recipients."""

    def __init__(self, lists: Whitelists) -> None:
        super().__init__(lists.clients, lists.recipients, lists.override, lists.complete)
        self._by_client = lru_cache(50_000)(super().match_client)
        self._by_recipient = lru_cache(50_000)(super().match_recipient)

    def match_client(self, name: bytes, address: Address | None) -> WhitelistEntry | None:
        """Return the entry that lets a client pass."""
        return self._by_client(name, address)

    def match_recipient(self, recipient: bytes) -> WhitelistEntry | None:
        """Return the entry that lets mail to a recipient pass."""
        return self._by_recipient(recipient)


class _LastReason(Observer):
    """Keeps the last decision's reason; an internal error ends the simulation."""

    def __init__(self) -> None:
        self.reason = Reason.INTERNAL_ERROR

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        for event in events:
            self.reason = event.reason

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:  # noqa: ARG002 - raised
        raise error


class _SimulatedStore(TransactionalStore):
    """A store in memory; each time it has doubled, expired entries are removed."""

    _MIN_ENTRIES = 10_000

    def __init__(self) -> None:
        self.now = 0
        self.records: dict[bytes, tuple[bytes, int]] = {}
        """Values, and when they expire."""
        self._max_entries = self._MIN_ENTRIES

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:
        records, now = self.records, self.now
        # The rules check the times themselves, so expired entries need not be left out here.
        found = [records.get(key) for key in keys]
        answer, changes = rule([each and each[0] for each in found])
        for key, value, ttl_seconds in changes:
            records[key] = (value, now + ttl_seconds)
        if len(records) > self._max_entries:
            self._remove_expired()
        done(answer, None)

    def _remove_expired(self) -> None:
        self.records = {key: each for key, each in self.records.items() if each[1] >= self.now}
        self._max_entries = max(2 * len(self.records), self._MIN_ENTRIES)
