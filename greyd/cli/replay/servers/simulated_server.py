"""A simulated server: the real server's policy, run with given settings in simulated time.

Around the policy are a store in memory, an observer that keeps the last decision, and a collector
that returns evidence collected before.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from greyd.cli.replay.servers.known_before import (
    is_in_use,
    known_records,
    lifetime_seconds,
    passing_keys,
)
from greyd.policy.observers import Observer, Observers
from greyd.policy.pending_reply import PendingReply
from greyd.policy.policy import Policy
from greyd.rules.address import Address, parse_address
from greyd.rules.evidence import NO_EVIDENCE
from greyd.rules.keys import Keys, request_keys
from greyd.rules.reasons import Reason
from greyd.rules.site_rules.sender_proof import SenderProof
from greyd.store.contract import TransactionalStore
from greyd.whitelist.matcher import Whitelists

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from greyd.config.settings import Settings
    from greyd.policy.events import DecisionEvent
    from greyd.rules.evidence import Evidence
    from greyd.rules.request import Request
    from greyd.rules.transaction import Answer, Change, Rule
    from greyd.store.contract import DoneCallback
    from greyd.whitelist.entries import WhitelistEntry


class SimulatedServer:
    """A server in simulated time, with its own store."""

    def __init__(self, settings: Settings, whitelists: Whitelists) -> None:
        """Start with an empty store."""
        # Plain keys give the same decisions as hashed keys, but faster.
        settings = replace(settings, test_time=True, privacy=False, privacy_key=None)
        self.settings = settings
        self.whitelists = whitelists
        self._store = _SimulatedStore()
        self._observer = _LastReason()
        self._known = _KnownFacts()
        collector = self._known if settings.needs_evidence else None
        self._policy = Policy(
            settings, whitelists, self._store, Observers(self._observer), collector
        )
        self._policy.sender_check = self._known

    def decide(self, request: Request, now: int, evidence: Evidence) -> Reason:
        """Return the decision on a request.

        Args:
            request: as Postfix sends it, with ``now`` as its ``policy_test_time``.
            now: the simulated Unix time.
            evidence: the evidence about the client; its exemption may be a sender whitelist entry.
        """
        self._known.set(evidence)
        self._store.now = now
        self._policy.answer(request, PendingReply(_ignore))
        return self._observer.reason

    def learn_outbound(self, request: Request, now: int) -> None:
        """Store the correspondence of a local user's outbound mail."""
        # The log has no login, so the sender is used instead.
        user = request._replace(policy_context=b"outbound", sasl_username=request.sender)
        self.decide(user, now, NO_EVIDENCE)

    def changes_of_outbound(self, request: Request, now: int) -> Sequence[Change]:
        """Store the correspondence of outbound mail, and return the changes that this makes."""
        self._store.last_changes = ()
        self.learn_outbound(request, now)
        return self._store.last_changes

    # Entries from before the log ----------------------------------------------------------------

    def remembers(self, request: Request, reason: Reason, now: int, evidence: Evidence) -> bool:
        """Return whether the store has the entry with which a request can pass for ``reason``."""
        keys = self._keys(request, evidence)
        if keys is None:
            return True
        wanted = passing_keys(keys, reason)
        return not wanted or any(self._has(key, keys, now) for key in wanted)

    def assume_known(
        self, request: Request, reason: Reason, first: int, now: int, evidence: Evidence
    ) -> None:
        """Store the entry that a server must have had to let a request pass for ``reason``.

        Args:
            request: the request.
            reason: the reason in the log.
            first: the Unix time when the log begins, and when the entry was as it is stored.
            now: the simulated Unix time.
            evidence: the evidence about the client.
        """
        keys = self._keys(request, evidence)
        if keys is None:
            return
        lives = first + lifetime_seconds(keys, self.settings)
        for key, value in known_records(self.settings, keys, reason, first).items():
            if not self._has(key, keys, now):
                self._store.records[key] = (value, lives)

    def _has(self, key: bytes, keys: Keys, now: int) -> bool:
        """Whether the store has a record under a key that the rules still use."""
        found = self._store.records.get(key)
        return found is not None and is_in_use(key, found[0], keys, self.settings, now)

    def _keys(self, request: Request, evidence: Evidence) -> Keys | None:
        address = parse_address(request.client_address or b"")
        if address is None:
            return None
        sender, recipient = request.sender or b"", request.recipient or b""
        return request_keys(address, sender, recipient, self.settings, evidence)


def _ignore(_: bytes | None) -> None:
    """Drop the reply: the observer keeps the reason."""


class _KnownFacts:
    """An evidence collector and sender check that return the facts that they were given."""

    def __init__(self) -> None:
        self._evidence = NO_EVIDENCE
        self._is_proven = False

    def set(self, evidence: Evidence) -> None:
        """Set the evidence for the next request, and whether its whitelisted sender is proven."""
        self._is_proven = evidence.exemption is Reason.SENDER_WHITELIST
        self._evidence = replace(evidence, exemption=None) if self._is_proven else evidence

    def collect(
        self, _request: Request, _address: Address, found: Callable[[Evidence], None]
    ) -> None:
        found(self._evidence)

    def check(
        self,
        _request: Request,
        _address: Address,
        _domain: bytes,
        on_result: Callable[[bool], None],
    ) -> None:
        on_result(False)

    def prove(
        self, _request: Request, _address: Address, on_result: Callable[[SenderProof], None]
    ) -> None:
        on_result(SenderProof("spf" if self._is_proven else ""))

    def close(self) -> None:
        """Do nothing: the collector sends no queries."""


class CachingWhitelists(Whitelists):
    """Whitelists that cache their matches: a log repeats clients and recipients."""

    def __init__(self, lists: Whitelists) -> None:
        super().__init__(**{each.name: getattr(lists, each.name) for each in fields(lists)})
        self._by_client = lru_cache(50_000)(super().match_client)
        self._by_recipient = lru_cache(50_000)(super().match_recipient)

    def match_client(self, name: bytes, address: Address | None) -> WhitelistEntry | None:
        """Return the entry that lets a client pass; None if no entry matches."""
        return self._by_client(name, address)

    def match_recipient(self, recipient: bytes) -> WhitelistEntry | None:
        """Return the entry that lets mail to a recipient pass; None if no entry matches."""
        return self._by_recipient(recipient)


class _LastReason(Observer):
    """Keeps the reason of the last decision; raises internal errors, which ends the simulation."""

    def __init__(self) -> None:
        self.reason = Reason.INTERNAL_ERROR

    def decided(self, events: Sequence[DecisionEvent]) -> None:
        for event in events:
            self.reason = event.reason

    def internal_error(self, part: str, error: BaseException, outcome: str) -> None:  # noqa: ARG002 - raised
        raise error


class _SimulatedStore(TransactionalStore):
    """A store in memory; removes expired entries whenever the number of entries has doubled."""

    _MIN_ENTRIES = 10_000

    def __init__(self) -> None:
        self.now = 0
        self.records: dict[bytes, tuple[bytes, int]] = {}
        """By key: the value, and the Unix time when it expires."""
        self.last_changes: Sequence[Change] = ()
        """The changes of the last transaction."""
        self._max_entries = self._MIN_ENTRIES

    def begin(self, keys: Sequence[bytes], rule: Rule[Answer], done: DoneCallback) -> None:
        records, now = self.records, self.now
        # Expired entries may be returned: the rules themselves check the times.
        found = [records.get(key) for key in keys]
        answer, changes = rule([each and each[0] for each in found])
        self.last_changes = changes
        for key, value, ttl_seconds in changes:
            records[key] = (value, now + ttl_seconds)
        if len(records) > self._max_entries:
            self._remove_expired()
        done(answer, None)

    def _remove_expired(self) -> None:
        self.records = {key: each for key, each in self.records.items() if each[1] >= self.now}
        self._max_entries = max(2 * len(self.records), self._MIN_ENTRIES)
